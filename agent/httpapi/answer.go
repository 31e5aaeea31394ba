// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"net/http"
	"strings"
	"time"

	"github.com/whirl-faas/whirl/agent"
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
	Logs       logsJSON        `json:"logs"`
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

// logsJSON has what was not stored yet, or is lost.
type logsJSON struct {
	Waiting int    `json:"waiting"`
	Bytes   int64  `json:"bytes"`
	Dropped uint64 `json:"dropped"`
	Error   string `json:"error,omitempty"`
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
		Logs:       logsJSON{status.Logs.Waiting, int64(status.Logs.Bytes), status.Logs.Dropped, status.Logs.Away},
		Containers: make([]containerJSON, len(status.Containers)),
	}
	for i, c := range status.Containers {
		health.Containers[i] = describe(c)
	}
	x.Answer(http.StatusOK, health)
}

func describe(c agent.ContainerStatus) containerJSON {
	return containerJSON{
		ID: string(c.ID), State: c.State, Label: c.Label,
		Kind: c.Spec.Kind, Image: c.Spec.Image, Memory: int64(c.Spec.Memory),
		Controller: string(c.Lessee), LeaseEnd: c.LeaseEnd, Used: c.Used,
	}
}

// wantsJSON reports whether the client asked for it by name.
func (x *exchange) wantsJSON() bool {
	return strings.Contains(strings.Join(x.R.Header.Values("Accept"), ","), "application/json")
}
