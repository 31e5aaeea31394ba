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
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/whirl-faas/whirl/agent"
	"github.com/whirl-faas/whirl/whisk"
)

// Config bounds what clients may cost.
type Config struct {
	Connections int           // open at once; more are closed at once
	Requests    int           // under way at once, logs apart; more are refused
	Logs        int           // collections under way at once; more are refused
	Read        time.Duration // of a request, the TLS handshake included
	Idle        time.Duration // of a connection between requests
	Write       time.Duration // of an answer, once there is one
	Patience    time.Duration // of a suspend or resume
	Stop        time.Duration // for requests under way, once Serve is to end
}

// Default returns bounds that suit an agent and its few callers.
func Default() Config {
	return Config{
		Connections: 256,
		Requests:    64,
		Logs:        128,
		Read:        5 * time.Second,
		Idle:        time.Minute,
		Write:       10 * time.Second,
		Patience:    30 * time.Second,
		Stop:        10 * time.Second,
	}
}

// Validate reports what makes no sense.
func (c Config) Validate() error {
	if c.Connections < 1 || c.Requests < 1 || c.Logs < 1 || c.Read <= 0 || c.Idle <= 0 || c.Write <= 0 || c.Patience <= 0 || c.Stop <= 0 {
		return whisk.Errorf(whisk.Invalid, "the bounds of an agent's HTTP surface must be positive")
	}
	return nil
}

// maxHeader bounds a request's line and headers.
const maxHeader = 16 << 10

// API serves one agent. It is an [http.Handler], or serves a listener by itself.
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
		logger:    logger.With("component", "agent http"),
		requests:  make(chan struct{}, config.Requests),
		logs:      make(chan struct{}, config.Logs),
	}, nil
}

// Serve answers what comes by the listener until ctx ends, and closes it. It
// returns when no request is under way any more, and nil unless the listener
// failed.
func (a *API) Serve(ctx context.Context, listener net.Listener) error {
	clients := clients{most: int64(a.config.Connections)}
	server := &http.Server{
		Handler:           a,
		ReadHeaderTimeout: a.config.Read,
		ReadTimeout:       a.config.Read,
		WriteTimeout:      a.config.Read + a.config.Write, // of what the server answers by itself
		IdleTimeout:       a.config.Idle,
		MaxHeaderBytes:    maxHeader,
		ConnState:         clients.count,
		ErrorLog:          slog.NewLogLogger(a.logger.Handler(), slog.LevelDebug),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
		patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.config.Stop)
		defer cancel()
		_ = server.Shutdown(patience) // Close ends what it has not
		<-failed
	}
	err = errors.Join(err, server.Close())
	clients.serving.Wait()
	return err
}

// clients counts connections.
type clients struct {
	most    int64
	open    atomic.Int64
	serving sync.WaitGroup
}

// count is the server's ConnState. It closes connections that come when there
// are enough.
func (c *clients) count(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		c.serving.Add(1)
		if c.open.Add(1) > c.most {
			_ = conn.Close() // the server notices, and comes back with StateClosed
		}
	case http.StateClosed, http.StateHijacked:
		c.open.Add(-1)
		c.serving.Done()
	}
}
