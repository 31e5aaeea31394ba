// SPDX-License-Identifier: Apache-2.0

// Package httpapi is a scheduler's small HTTP surface, for operators:
//
//	GET  /status                  the cluster as the scheduler sees it, as [Status]
//	POST /nodes/{node}/drain      has a node emptied
//	POST /nodes/{node}/undrain    takes it into service again
//
// Only operators are served. What they may cost is bounded by [surface.Bounds].
// docs/operations.md has examples.
package httpapi

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/whirl-faas/whirl/scheduler"
	"github.com/whirl-faas/whirl/surface"
	"github.com/whirl-faas/whirl/whisk"
)

// patience is how long a request may wait for the scheduler's owner loop.
const patience = 5 * time.Second

// API serves one scheduler. It is an [http.Handler], to be served by
// [surface.Serve].
type API struct {
	scheduler *scheduler.Scheduler
	authorize surface.Authorize
	bounds    surface.Bounds
	logger    *slog.Logger
	requests  chan struct{} // each holds one
}

// New returns the surface of a scheduler. There is none without an Authorize.
func New(bounds surface.Bounds, s *scheduler.Scheduler, authorize surface.Authorize, logger *slog.Logger) (*API, error) {
	if err := bounds.Validate(); err != nil {
		return nil, err
	}
	if authorize == nil {
		return nil, whisk.Errorf(whisk.Invalid, "a scheduler's HTTP surface must know its callers")
	}
	return &API{
		scheduler: s,
		authorize: authorize,
		bounds:    bounds,
		logger:    surface.Complaints(logger).With("component", "scheduler http"),
		requests:  make(chan struct{}, bounds.Requests),
	}, nil
}

// ServeHTTP implements [http.Handler].
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := exchange{API: a, Exchange: surface.Exchange{W: w, R: r, Write: a.bounds.Write, Logger: a.logger}}
	caller, err := a.authorize(r)
	if err == nil && !caller.Operator {
		err = whisk.Errorf(whisk.Denied, "this is for operators, not for %.80s", caller.Name)
	}
	if err != nil {
		x.Turnaway("whirl scheduler", err)
		return
	}
	x.operator = caller.Name
	x.route()
}

// exchange is one request of an operator and its answer.
type exchange struct {
	*API
	surface.Exchange
	operator string
}

func (x *exchange) route() {
	path := x.R.URL.Path
	rest, ofNode := strings.CutPrefix(path, "/nodes/")
	node, verb, _ := strings.Cut(rest, "/")
	switch {
	case path == "/status":
		x.on(http.MethodGet, x.status)
	case ofNode && verb == "drain":
		x.on(http.MethodPost, func(ctx context.Context) { x.order(ctx, node, verb, x.scheduler.Drain) })
	case ofNode && verb == "undrain":
		x.on(http.MethodPost, func(ctx context.Context) { x.order(ctx, node, verb, x.scheduler.Undrain) })
	default:
		x.Fail(http.StatusNotFound, whisk.Errorf(whisk.NotFound,
			"there is no %.64q, only /status, /nodes/{node}/drain and /nodes/{node}/undrain", path))
	}
}

// on does the work if the request has the method that it takes.
func (x *exchange) on(method string, work func(context.Context)) {
	if x.R.Method != method {
		x.Only(method)
		return
	}
	x.Within(x.requests, func() {
		ctx, cancel := context.WithTimeout(x.R.Context(), patience)
		defer cancel()
		work(ctx)
	})
}

func (x *exchange) status(ctx context.Context) {
	shot, err := x.scheduler.Snapshot(ctx)
	if err != nil {
		x.refuse(err)
		return
	}
	x.Answer(http.StatusOK, statusOf(shot))
}

// maxNode is longer than any node's name.
const maxNode = 256

func (x *exchange) order(ctx context.Context, node, verb string, order func(context.Context, whisk.NodeID) error) {
	if node == "" || len(node) > maxNode {
		x.Refuse(whisk.Errorf(whisk.NotFound, "no node %.64q is known", node))
		return
	}
	if err := order(ctx, whisk.NodeID(node)); err != nil {
		x.refuse(err)
		return
	}
	x.logger.Info("node ordered about by an operator", "node", node, "order", verb, "operator", x.operator)
	x.Done()
}

// refuse answers with an error of the scheduler. That it has ended or does not
// come to it is a matter of time.
func (x *exchange) refuse(err error) {
	if kind := whisk.KindOf(err); kind == whisk.NotFound {
		x.Refuse(err)
		return
	}
	x.Fail(http.StatusServiceUnavailable, err)
}
