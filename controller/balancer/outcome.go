// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/whirl-faas/whirl/whisk"
)

// OpenWhisk's texts, which users and their tools read.
const (
	textNoContainer   = "Failed to provision resources to run the action."
	textNoInstances   = "The namespace limit is less than or equal to 0."
	textNoCode        = "Action could not be fetched."
	textNoAction      = "Action could not be found or may have been deleted."
	textInitCrash     = "The action did not initialize and exited unexpectedly."
	textRunCrash      = "The action did not produce a valid response and exited unexpectedly."
	textMemory        = "The action exhausted its memory and was aborted."
	textInitFailed    = "The action failed during initialization"
	textRunInvalid    = "The action did not produce a valid JSON or JSON Array response"
	textContainerLost = "The platform lost the container that ran the activation."
	textShuttingDown  = "The platform is shutting down and ended the activation."
	textForwardLost   = "The activation was lost: the controller that ran it is out of reach."
)

func textInitLate(limit time.Duration) string {
	return fmt.Sprintf("The action exceeded its time limits of %d milliseconds during initialization.", limit.Milliseconds())
}

func textRunLate(limit time.Duration) string {
	return fmt.Sprintf("The action exceeded its time limits of %d milliseconds.", limit.Milliseconds())
}

func textNotStarted(waited time.Duration) string {
	return fmt.Sprintf("Activation processing is not initiated for %d ms", waited.Milliseconds())
}

func textTruncated(rep reply, limit whisk.Bytes) string {
	return fmt.Sprintf("The action produced a response that exceeded the allowed length: %d > %d bytes. The truncated response was: %s",
		rep.length, int64(limit), bytes.ToValidUTF8(rep.body, nil))
}

func textBadImage(image string) string {
	return fmt.Sprintf("Failed to pull container image '%s'.", image)
}

// runResponse is the response that the answer to /run stands for.
func runResponse(rep reply, limit whisk.Bytes) whisk.Response {
	if rep.truncated {
		response := whisk.ErrorResponse(whisk.ApplicationError, textTruncated(rep, limit))
		response.Size = int(rep.length)
		return response
	}
	body := bytes.TrimSpace(rep.body)
	size := utf8.RuneCount(rep.body)
	errorValue, valid := inspect(body)
	switch {
	case valid && rep.status == http.StatusOK && errorValue == nil:
		return whisk.Response{Status: whisk.Success, Result: body, Size: size}
	case valid && rep.status == http.StatusOK:
		return whisk.Response{Status: whisk.ApplicationError, Result: errorObject(errorValue), Size: size}
	case valid && errorValue != nil:
		return whisk.Response{Status: whisk.DeveloperError, Result: errorObject(errorValue), Size: size}
	}
	response := whisk.ErrorResponse(whisk.DeveloperError, withBody(textRunInvalid, rep.body))
	response.Size = size
	return response
}

// initResponse is the response that an answer to /init other than 200 stands for.
func initResponse(rep reply, limit whisk.Bytes) whisk.Response {
	if rep.truncated {
		response := whisk.ErrorResponse(whisk.DeveloperError, textTruncated(rep, limit))
		response.Size = int(rep.length)
		return response
	}
	size := utf8.RuneCount(rep.body)
	if errorValue, valid := inspect(bytes.TrimSpace(rep.body)); valid && errorValue != nil {
		return whisk.Response{Status: whisk.DeveloperError, Result: errorObject(errorValue), Size: size}
	}
	response := whisk.ErrorResponse(whisk.DeveloperError, withBody(textInitFailed, rep.body))
	response.Size = size
	return response
}

// inspect reports whether body is a JSON object or array, and returns the value
// of an object's field "error", nil if it has none. Of several the last counts,
// as for other JSON readers. It decodes nothing.
func inspect(body []byte) (errorValue json.RawMessage, valid bool) {
	if len(body) == 0 || body[0] != '{' && body[0] != '[' || tooDeep(body) || !gjson.ValidBytes(body) {
		return nil, false
	}
	// A key "error" may also be spelt with escapes. Without either there is no
	// need to walk the object.
	if body[0] == '[' || !bytes.Contains(body, []byte(`"error"`)) && !bytes.Contains(body, []byte(`\u`)) {
		return nil, true
	}
	gjson.ParseBytes(body).ForEach(func(key, value gjson.Result) bool {
		if key.Str == "error" {
			errorValue = json.RawMessage(value.Raw)
		}
		return true
	})
	return errorValue, true
}

// maxDepth is how deep a result may be nested: what encoding/json reads.
const maxDepth = 10_000

// tooDeep guards the recursive validator: a megabyte of brackets would cost it
// 64 MB of stack.
func tooDeep(body []byte) bool {
	if bytes.Count(body, []byte("["))+bytes.Count(body, []byte("{")) <= maxDepth {
		return false
	}
	depth, text := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case text && c == '\\':
			i++
		case c == '"':
			text = !text
		case text:
		case c == '[' || c == '{':
			if depth++; depth > maxDepth {
				return true
			}
		case c == ']' || c == '}':
			depth--
		}
	}
	return false
}

func errorObject(value json.RawMessage) json.RawMessage {
	return append(append([]byte(`{"error":`), value...), '}')
}

func withBody(text string, body []byte) string {
	if len(body) == 0 {
		return text + "."
	}
	return text + ": " + string(bytes.ToValidUTF8(body, []byte("\ufffd")))
}
