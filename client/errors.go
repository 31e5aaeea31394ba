// SPDX-License-Identifier: Apache-2.0

package client

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/whirl-faas/whirl/whisk"
)

// Error is a request that the server refused.
type Error struct {
	Status int    // of HTTP
	Text   string // OpenWhisk's "error", or the body where it is no such JSON
	Code   string // OpenWhisk's "code": the id of the transaction; "" if there is none
}

// Error returns the text, the status and the transaction id.
func (e *Error) Error() string {
	if e.Code == "" {
		return fmt.Sprintf("%s (status %d)", e.Text, e.Status)
	}
	return fmt.Sprintf("%s (status %d, code %s)", e.Text, e.Status, e.Code)
}

// Kind says what the caller can do about it, in the platform's own terms.
func (e *Error) Kind() whisk.Kind {
	switch e.Status {
	case http.StatusBadRequest, http.StatusUnsupportedMediaType, http.StatusUnprocessableEntity:
		return whisk.Invalid
	case http.StatusUnauthorized, http.StatusForbidden:
		return whisk.Denied
	case http.StatusNotFound:
		return whisk.NotFound
	case http.StatusConflict:
		return whisk.Conflict
	case http.StatusRequestEntityTooLarge:
		return whisk.TooLarge
	case http.StatusTooManyRequests:
		return whisk.Throttled
	case http.StatusServiceUnavailable:
		return whisk.Unavailable
	}
	return whisk.Internal
}

// PendingError says that the server accepted an activation which did not end
// while the call waited. Its record will be found under the id.
type PendingError struct {
	Activation whisk.ActivationID
}

// Error names the activation.
func (e *PendingError) Error() string {
	return fmt.Sprintf("activation %s has not finished yet", e.Activation)
}

// FailedError is an activation that ended badly, where only its result was asked for.
type FailedError struct {
	Activation whisk.ActivationID // "" if the server did not tell
	Status     int                // of HTTP: 502 if the action is to blame, 500 if the platform is
	Result     json.RawMessage    // usually {"error": ...}
}

// Error returns the result as it is.
func (e *FailedError) Error() string {
	return fmt.Sprintf("activation %s failed: %s", e.Activation, e.Result)
}

// refusal makes the error of an answer that refuses the request.
func refusal(got answer) error {
	if text, code, ok := platformError(got.body); ok {
		return &Error{Status: got.status, Text: text, Code: code}
	}
	text := strings.TrimSpace(string(got.body))
	if text == "" {
		text = http.StatusText(got.status)
	}
	return &Error{Status: got.status, Text: text}
}

// platformError reads {"error": text, "code": id}. An activation's own failure
// has no code; that is how OpenWhisk's clients tell them apart.
func platformError(body []byte) (text, code string, ok bool) {
	var fields struct {
		Error *string         `json:"error"`
		Code  json.RawMessage `json:"code"`
	}
	if json.Unmarshal(body, &fields) != nil || fields.Error == nil || fields.Code == nil {
		return "", "", false
	}
	// Servers of old sent a number.
	if json.Unmarshal(fields.Code, &code) != nil {
		code = string(fields.Code)
	}
	return *fields.Error, code, true
}
