// SPDX-License-Identifier: Apache-2.0

// Package httpapi is an agent's small HTTP surface, beside its sessions:
//
//	GET /suspend/{container}    freezes a container
//	GET /resume/{container}     thaws it
//	GET /log/{container}?...    stores one run's output; it never travels back
//	GET /health                 containers, engine, capacity
//
// Nobody is served whom [Authorize] does not know. Requests have no body, and
// what is read of them, how long they may take and how many there may be at once
// are bounded, so that slow, hostile and many clients cost little.
//
// The listener is the caller's, and with it the address: it must be one that
// action containers cannot reach. docs/agent.md has examples.
package httpapi

import (
	"log/slog"
	"time"

	"github.com/whirl-faas/whirl/agent"
	"github.com/whirl-faas/whirl/surface"
	"github.com/whirl-faas/whirl/whisk"
)

// Config bounds what clients may cost.
type Config struct {
	surface.Bounds // Requests is of those that are not for a log

	Logs     int           // collections under way at once; more are refused
	Patience time.Duration // of a suspend or resume
}

// Default returns bounds that suit an agent and its few callers.
func Default() Config {
	return Config{Bounds: surface.Default(), Logs: 128, Patience: 30 * time.Second}
}

// Validate reports what makes no sense.
func (c Config) Validate() error {
	if c.Logs < 1 || c.Patience <= 0 {
		return whisk.Errorf(whisk.Invalid, "the bounds of an agent's HTTP surface must be positive")
	}
	return c.Bounds.Validate()
}

// API serves one agent. It is an [http.Handler], to be served by [surface.Serve].
type API struct {
	config    Config
	agent     *agent.Agent
	authorize Authorize
	logger    *slog.Logger
	requests  chan struct{} // a request that is not for a log holds one
	logs      chan struct{} // a collection holds one
}

// New returns the surface of an agent. There is none without an Authorize.
func New(config Config, a *agent.Agent, authorize Authorize, logger *slog.Logger) (*API, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if authorize == nil {
		return nil, whisk.Errorf(whisk.Invalid, "an agent's HTTP surface must know its callers")
	}
	return &API{
		config:    config,
		agent:     a,
		authorize: authorize,
		logger:    surface.Complaints(logger).With("component", "agent http"),
		requests:  make(chan struct{}, config.Requests),
		logs:      make(chan struct{}, config.Logs),
	}, nil
}
