// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Action is an action as the API shows it. In lists Exec has no kind and no
// code; the kind is in the annotation "exec".
type Action struct {
	Namespace   string             `json:"namespace"` // "ns" or "ns/package"
	Name        string             `json:"name"`
	Version     whisk.Version      `json:"version"`
	Publish     bool               `json:"publish"`
	Exec        Exec               `json:"exec"`
	Parameters  whisk.Parameters   `json:"parameters"`
	Annotations whisk.Parameters   `json:"annotations"`
	Limits      whisk.ActionLimits `json:"limits"`
	Updated     int64              `json:"updated"` // milliseconds since 1970
}

// Exec is how an action runs.
type Exec struct {
	Kind   string `json:"kind,omitempty"`
	Code   string `json:"code,omitempty"`   // text, or base64 if Binary
	Binary bool   `json:"binary,omitempty"` // told by the server, which looks at the code
	Main   string `json:"main,omitempty"`
	Image  string `json:"image,omitempty"`

	Components []string `json:"components,omitempty"` // of a sequence: "/namespace/[package/]name"
}

// ActionSpec is what to write. A nil field is left out of the request: on create
// the server takes its default, on update it keeps what there is.
type ActionSpec struct {
	Exec           *Exec            `json:"exec,omitempty"`
	Parameters     whisk.Parameters `json:"parameters,omitempty"`
	Annotations    whisk.Parameters `json:"annotations,omitempty"`
	DelAnnotations []string         `json:"delAnnotations,omitempty"`
	Limits         *LimitsSpec      `json:"limits,omitempty"`
	Version        string           `json:"version,omitempty"`
	Publish        *bool            `json:"publish,omitempty"`
}

// LimitsSpec are the limits to write; 0 leaves one out. Logs and Instances are
// pointers, because 0 means something there: 0 MB that no logs are collected.
type LimitsSpec struct {
	Timeout     int64  `json:"timeout,omitempty"` // milliseconds
	Memory      int64  `json:"memory,omitempty"`  // MB
	Logs        *int64 `json:"logs,omitempty"`    // MB
	Concurrency int    `json:"concurrency,omitempty"`
	Instances   *int   `json:"instances,omitempty"` // 0 lets nothing run
}

// CreateAction writes a new action; the error has status 409 if there is one of
// that name already. The name is "name" or "package/name", as everywhere here.
func (c *Client) CreateAction(ctx context.Context, name string, spec ActionSpec) (Action, error) {
	return c.putAction(ctx, name, spec, "false")
}

// UpdateAction changes an action, or makes it if there is none.
func (c *Client) UpdateAction(ctx context.Context, name string, spec ActionSpec) (Action, error) {
	return c.putAction(ctx, name, spec, "true")
}

func (c *Client) putAction(ctx context.Context, name string, spec ActionSpec, overwrite string) (action Action, err error) {
	r := actionRequest(http.MethodPut, name)
	r.query, r.body = url.Values{"overwrite": {overwrite}}, spec
	return action, c.call(ctx, r, &action)
}

// Action returns an action with its code.
func (c *Client) Action(ctx context.Context, name string) (action Action, err error) {
	return action, c.call(ctx, actionRequest(http.MethodGet, name), &action)
}

// ActionMetadata returns an action without its code.
func (c *Client) ActionMetadata(ctx context.Context, name string) (action Action, err error) {
	r := actionRequest(http.MethodGet, name)
	r.query = url.Values{"code": {"false"}}
	return action, c.call(ctx, r, &action)
}

// DeleteAction deletes an action and returns it as it was.
func (c *Client) DeleteAction(ctx context.Context, name string) (action Action, err error) {
	return action, c.call(ctx, actionRequest(http.MethodDelete, name), &action)
}

// Page selects a part of a list.
type Page struct {
	Limit int // 0 for as many as the server gives
	Skip  int
}

func (p Page) query() url.Values {
	return url.Values{"limit": {strconv.Itoa(p.Limit)}, "skip": {strconv.Itoa(p.Skip)}}
}

// Actions lists the namespace's actions, those in packages included, newest first.
func (c *Client) Actions(ctx context.Context, page Page) (actions []Action, err error) {
	r := request{method: http.MethodGet, path: []string{"actions"}, query: page.query()}
	return actions, c.call(ctx, r, &actions)
}

// CountActions counts the namespace's actions.
func (c *Client) CountActions(ctx context.Context) (int, error) {
	return c.count(ctx, "actions", url.Values{})
}

// count asks for {"<collection>": n}.
func (c *Client) count(ctx context.Context, collection string, query url.Values) (int, error) {
	query.Set("count", "true")
	var counts map[string]int
	r := request{method: http.MethodGet, path: []string{collection}, query: query}
	if err := c.call(ctx, r, &counts); err != nil {
		return 0, err
	}
	n, ok := counts[collection]
	if !ok {
		return 0, fmt.Errorf("the answer to %s has no count", r)
	}
	return n, nil
}

// Start invokes an action without waiting for it and returns the id under which
// its record will be found. Nil parameters send an empty object.
func (c *Client) Start(ctx context.Context, name string, params any) (whisk.ActivationID, error) {
	got, err := c.send(ctx, invokeRequest(name, params, url.Values{}))
	if err != nil {
		return "", err
	}
	if got.status != http.StatusAccepted {
		return "", refusal(got)
	}
	return acceptedID(got)
}

// Invoke runs an action and returns its record, however it ended; the record has
// no logs yet. A wait of 0 is the server's own, a minute as a rule. If the
// activation takes longer than the wait the error is a [*PendingError].
func (c *Client) Invoke(ctx context.Context, name string, params any, wait time.Duration) (Activation, error) {
	got, err := c.send(ctx, invokeRequest(name, params, blocking(wait)))
	if err != nil {
		return Activation{}, err
	}
	if err := unfinished(got); err != nil {
		return Activation{}, err
	}
	var activation Activation
	if err := json.Unmarshal(got.body, &activation); err != nil {
		return Activation{}, fmt.Errorf("decode the record of an activation of %s: %w", name, err)
	}
	if activation.ID == "" {
		return Activation{}, refusal(got)
	}
	return activation, nil
}

// Result runs an action and returns its result. If the activation ended badly
// the error is a [*FailedError], if it did not end in time a [*PendingError].
func (c *Client) Result(ctx context.Context, name string, params any, wait time.Duration) (json.RawMessage, error) {
	query := blocking(wait)
	query.Set("result", "true")
	got, err := c.send(ctx, invokeRequest(name, params, query))
	if err != nil {
		return nil, err
	}
	if err := unfinished(got); err != nil {
		return nil, err
	}
	if got.status != http.StatusOK {
		return nil, &FailedError{got.activation, got.status, got.body}
	}
	return got.body, nil
}

func actionRequest(method, name string) request {
	return request{method: method, path: append([]string{"actions"}, strings.Split(name, "/")...)}
}

func invokeRequest(name string, params any, query url.Values) request {
	r := actionRequest(http.MethodPost, name)
	r.query, r.body = query, params
	if params == nil {
		r.body = struct{}{}
	}
	return r
}

func blocking(wait time.Duration) url.Values {
	query := url.Values{"blocking": {"true"}}
	if wait > 0 {
		query.Set("timeout", strconv.FormatInt(max(wait.Milliseconds(), 1), 10))
	}
	return query
}

// unfinished returns the error of an answer that is not an activation's end:
// not finished in time, or not run at all.
func unfinished(got answer) error {
	switch got.status {
	case http.StatusOK:
		return nil
	case http.StatusAccepted:
		id, err := acceptedID(got)
		if err != nil {
			return err
		}
		return &PendingError{id}
	case http.StatusBadGateway, http.StatusInternalServerError:
		// A record or a result, unless the platform speaks for itself.
		if _, _, ok := platformError(got.body); !ok && json.Valid(got.body) {
			return nil
		}
	}
	return refusal(got)
}

func acceptedID(got answer) (whisk.ActivationID, error) {
	var accepted struct {
		ID whisk.ActivationID `json:"activationId"`
	}
	if err := json.Unmarshal(got.body, &accepted); err != nil || accepted.ID == "" {
		return "", fmt.Errorf("the server accepted an activation without telling its id: %.200s", got.body)
	}
	return accepted.ID, nil
}
