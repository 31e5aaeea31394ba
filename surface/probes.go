// SPDX-License-Identifier: Apache-2.0

package surface

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/pprof"
	"strings"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Watch is what a role shows to those who watch it.
type Watch struct {
	Ready     func(context.Context) error // nil means that the role can do its work; what it says is for everybody to read
	Lacks     func(context.Context) error // what is missing though the role is ready, for everybody to read; nil func for nothing ever
	Metrics   http.Handler                // see [Metrics]
	Profiles  bool                        // whether pprof's are to be had
	Authorize Authorize                   // not nil
	Logger    *slog.Logger
}

// Probes answers what watchers ask, the same for every role, and hands the rest
// on:
//
//	GET /healthz         the process answers
//	GET /readyz          the role can do its work, and what it lacks; else 503, and why
//	GET /metrics         figures in Prometheus' text form, for callers that are known
//	GET /debug/pprof/    profiles, for operators
//
// The first two are for everybody, and cost next to nothing: readiness is found
// out once a second at most.
type Probes struct {
	watch   Watch
	bounds  Bounds
	next    http.Handler
	looks   chan struct{} // figures and profiles being made hold one
	finding chan struct{} // held by who finds out whether the role is ready; guards those below
	found   time.Time
	ready   error
	lacks   error
}

// mostLooks is how many figures and profiles may be in the making.
const mostLooks = 4

// How readiness is found out.
const (
	readyPatience = 2 * time.Second
	readyAge      = time.Second // for which it is taken to last
)

// NewProbes returns the probes of a role whose own surface is next; nil for none.
func NewProbes(watch Watch, bounds Bounds, next http.Handler) *Probes {
	watch.Logger = Complaints(watch.Logger)
	return &Probes{watch: watch, bounds: bounds, next: next, looks: make(chan struct{}, mostLooks), finding: make(chan struct{}, 1)}
}

// ServeHTTP implements [http.Handler].
func (p *Probes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := Exchange{W: w, R: r, Write: p.bounds.Write, Logger: p.watch.Logger}
	path := r.URL.Path
	profile, profiles := strings.CutPrefix(path, "/debug/pprof/")
	switch {
	case path == "/healthz":
		p.get(x, func() { x.word(http.StatusOK, "ok") })
	case path == "/readyz":
		p.get(x, func() { p.answerReady(x) })
	case path == "/metrics":
		p.look(x, false, p.watch.Metrics)
	case profiles && p.watch.Profiles:
		p.look(x, true, profileHandler(profile))
	case p.next != nil:
		p.next.ServeHTTP(w, r)
	default:
		x.Fail(http.StatusNotFound, whisk.Errorf(whisk.NotFound, "there is no %.64q, only /healthz, /readyz and /metrics", path))
	}
}

func (p *Probes) get(x Exchange, answer func()) {
	if x.R.Method != http.MethodGet && x.R.Method != http.MethodHead {
		x.Only(http.MethodGet)
		return
	}
	answer()
}

func (p *Probes) answerReady(x Exchange) {
	ready, lacks := p.findReady(x.R.Context())
	switch {
	case ready != nil:
		x.word(http.StatusServiceUnavailable, ready.Error())
	case lacks != nil:
		x.word(http.StatusOK, "ok, but "+lacks.Error())
	default:
		x.word(http.StatusOK, "ok")
	}
}

// findReady asks the role unless somebody did a moment ago.
func (p *Probes) findReady(ctx context.Context) (ready, lacks error) {
	select {
	case p.finding <- struct{}{}:
		defer func() { <-p.finding }()
	case <-ctx.Done():
		return context.Cause(ctx), nil
	}
	if p.found.IsZero() || time.Since(p.found) >= readyAge {
		asking, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyPatience) // others want to know too
		defer cancel()
		p.ready, p.lacks = p.watch.Ready(asking), nil
		if p.ready == nil && p.watch.Lacks != nil {
			p.lacks = p.watch.Lacks(asking)
		}
		p.found = time.Now()
	}
	return p.ready, p.lacks
}

// look has figures or profiles made for who may see them.
func (p *Probes) look(x Exchange, operators bool, handler http.Handler) {
	caller, err := p.watch.Authorize(x.R)
	if err == nil && operators && !caller.Operator {
		err = whisk.Errorf(whisk.Denied, "profiles are for operators, not for %.80s", caller.Name)
	}
	if err != nil {
		x.Turnaway("whirl", err)
		return
	}
	p.get(x, func() {
		x.Within(p.looks, func() {
			x.hurry() // pprof sets another end for what takes its time
			handler.ServeHTTP(x.W, x.R)
		})
	})
}

func profileHandler(name string) http.Handler {
	switch name {
	case "profile":
		return http.HandlerFunc(pprof.Profile)
	case "trace":
		return http.HandlerFunc(pprof.Trace)
	case "symbol":
		return http.HandlerFunc(pprof.Symbol)
	}
	return http.HandlerFunc(pprof.Index) // the list, and those by name; the command line, which may hold a secret, is none
}

// word answers with a line of text.
func (x Exchange) word(status int, text string) {
	x.hurry()
	header := x.W.Header()
	header.Set("Content-Type", "text/plain; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	x.W.WriteHeader(status)
	_, _ = x.W.Write([]byte(text + "\n")) // a client that is gone needs no answer
}
