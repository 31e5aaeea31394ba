// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Activation is an activation's record as the API shows it. In plain lists it
// has a StatusCode and lacks Subject, Response and Logs.
type Activation struct {
	Namespace   string             `json:"namespace"`
	Name        string             `json:"name"`
	Version     whisk.Version      `json:"version"`
	Subject     string             `json:"subject"`
	ID          whisk.ActivationID `json:"activationId"`
	Start       int64              `json:"start"`       // milliseconds since 1970
	End         int64              `json:"end"`         // milliseconds since 1970; 0 if it has none
	Duration    int64              `json:"duration"`    // milliseconds
	Cause       whisk.ActivationID `json:"cause"`       // "" unless it is part of a sequence
	Response    Response           `json:"response"`    // zero in plain lists
	StatusCode  *whisk.Status      `json:"statusCode"`  // only in plain lists
	Logs        []string           `json:"logs"`        // may be written a moment after the record
	Annotations whisk.Parameters   `json:"annotations"` // "initTime" is there only if it was a cold start
	Publish     bool               `json:"publish"`     // always false
}

// Response is how an activation ended.
type Response struct {
	Success bool            `json:"success"`
	Status  string          `json:"status"` // the text of a [whisk.Status]
	Result  json.RawMessage `json:"result"`
	Size    int             `json:"size"` // of the result in characters
}

// ActivationQuery selects activations. The zero value selects the newest ones.
type ActivationQuery struct {
	Page
	Name        string    // "action" or "package/action"; "" for all
	Since, Upto time.Time // of the start, both inclusive; zero for no bound
	Full        bool      // whole records
}

// Activations lists activations, newest start first.
func (c *Client) Activations(ctx context.Context, q ActivationQuery) (activations []Activation, err error) {
	query := q.filter()
	maps.Copy(query, q.query())
	if q.Full {
		query.Set("docs", "true")
	}
	r := request{method: http.MethodGet, path: []string{"activations"}, query: query}
	return activations, c.call(ctx, r, &activations)
}

// CountActivations counts the activations that q selects; its page and Full do not matter.
func (c *Client) CountActivations(ctx context.Context, q ActivationQuery) (int, error) {
	return c.count(ctx, "activations", q.filter())
}

func (q ActivationQuery) filter() url.Values {
	query := url.Values{}
	if q.Name != "" {
		query.Set("name", q.Name)
	}
	if !q.Since.IsZero() {
		query.Set("since", strconv.FormatInt(q.Since.UnixMilli(), 10))
	}
	if !q.Upto.IsZero() {
		query.Set("upto", strconv.FormatInt(q.Upto.UnixMilli(), 10))
	}
	return query
}

// Activation returns a record. The error has status 404 as long as it is not written.
func (c *Client) Activation(ctx context.Context, id whisk.ActivationID) (activation Activation, err error) {
	return activation, c.call(ctx, activationRequest(id), &activation)
}

// ActivationResponse returns only how the activation ended.
func (c *Client) ActivationResponse(ctx context.Context, id whisk.ActivationID) (response Response, err error) {
	return response, c.call(ctx, activationRequest(id, "result"), &response)
}

// ActivationLogs returns only the lines that the activation wrote.
func (c *Client) ActivationLogs(ctx context.Context, id whisk.ActivationID) ([]string, error) {
	var body struct {
		Logs []string `json:"logs"`
	}
	err := c.call(ctx, activationRequest(id, "logs"), &body)
	return body.Logs, err
}

func activationRequest(id whisk.ActivationID, part ...string) request {
	return request{method: http.MethodGet, path: append([]string{"activations", string(id)}, part...)}
}
