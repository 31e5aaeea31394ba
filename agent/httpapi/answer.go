// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/whirl-faas/whirl/agent"
	"github.com/whirl-faas/whirl/whisk"
)

// summaryJSON says what became of a run's output.
type summaryJSON struct {
	Lines     int   `json:"lines"`
	Bytes     int64 `json:"bytes"`
	Truncated bool  `json:"truncated"`
}

type healthJSON struct {
	Node       string          `json:"node"`
	Healthy    bool            `json:"healthy"`
	Problem    string          `json:"problem,omitempty"`
	Engine     engineJSON      `json:"engine"`
	Capacity   capacityJSON    `json:"capacity"`
	Containers []containerJSON `json:"containers"`
}

type engineJSON struct {
	Driver  string    `json:"driver"`
	Answers bool      `json:"answers"`
	Error   string    `json:"error,omitempty"`
	Asked   time.Time `json:"asked,omitzero"`
}

// capacityJSON has memory in bytes.
type capacityJSON struct {
	Memory        int64 `json:"memory"`
	MemoryUsed    int64 `json:"memoryUsed"`
	Containers    int   `json:"containers"`
	MaxContainers int   `json:"maxContainers"`
}

type containerJSON struct {
	ID         string    `json:"id"`
	State      string    `json:"state"`
	Label      string    `json:"label,omitempty"`
	Kind       string    `json:"kind"`
	Image      string    `json:"image,omitempty"`
	Memory     int64     `json:"memory"`
	Controller string    `json:"controller,omitempty"`
	LeaseEnd   time.Time `json:"leaseEnd,omitzero"`
	Used       bool      `json:"used"`
}

func (x *exchange) health() {
	status := x.agent.Status()
	health := healthJSON{
		Node:    string(status.Node),
		Healthy: status.Problem == "",
		Problem: status.Problem,
		Engine:  engineJSON{status.Driver, status.Engine == "", status.Engine, status.Pinged},
		Capacity: capacityJSON{
			Memory: int64(status.Memory), MemoryUsed: int64(status.Used),
			Containers: len(status.Containers), MaxContainers: status.Most,
		},
		Containers: make([]containerJSON, len(status.Containers)),
	}
	for i, c := range status.Containers {
		health.Containers[i] = describe(c)
	}
	x.answer(http.StatusOK, health)
}

func describe(c agent.ContainerStatus) containerJSON {
	return containerJSON{
		ID: string(c.ID), State: c.State, Label: c.Label,
		Kind: c.Spec.Kind, Image: c.Spec.Image, Memory: int64(c.Spec.Memory),
		Controller: string(c.Lessee), LeaseEnd: c.LeaseEnd, Used: c.Used,
	}
}

// refuse answers with an error of the agent, or of ours.
func (x *exchange) refuse(err error) { x.fail(statusOf(err), err) }

// statusOf is the one place that maps kinds to statuses.
func statusOf(err error) int {
	switch whisk.KindOf(err) {
	case whisk.NotFound:
		return http.StatusNotFound
	case whisk.Denied:
		return http.StatusForbidden
	case whisk.Invalid:
		return http.StatusBadRequest
	case whisk.Throttled:
		return http.StatusTooManyRequests
	}
	return http.StatusInternalServerError
}

func (x *exchange) fail(status int, err error) {
	x.logger.Debug("request refused", "method", x.r.Method, "path", x.r.URL.Path, "status", status, "err", err)
	x.answer(status, struct {
		Error string `json:"error"`
	}{err.Error()})
}

// done answers that all went well, and nothing else.
func (x *exchange) done() {
	x.hurry()
	x.w.Header().Set("Cache-Control", "no-store")
	x.w.WriteHeader(http.StatusNoContent)
}

func (x *exchange) answer(status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		panic(err) // strings, numbers and times of this century always encode
	}
	x.hurry()
	header := x.w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	x.w.WriteHeader(status)
	_, _ = x.w.Write(append(body, '\n')) // a client that is gone needs no answer
}

// takeTime lets an answer come as late as its work ends, which has bounds of its
// own. A writer that knows no deadlines needs none.
func (x *exchange) takeTime() { _ = http.NewResponseController(x.w).SetWriteDeadline(time.Time{}) }

// hurry bounds how long the client may take to read the answer.
func (x *exchange) hurry() {
	_ = http.NewResponseController(x.w).SetWriteDeadline(time.Now().Add(x.config.Write))
}

// wantsJSON reports whether the client asked for it by name.
func (x *exchange) wantsJSON() bool {
	return strings.Contains(strings.Join(x.r.Header.Values("Accept"), ","), "application/json")
}
