// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/whirl-faas/whirl/whisk"
)

// ServeHop is a bare hop: it passes each request on to a sandbox that has a free
// place, each of so many, and the answer back, and does nothing else that a
// platform does. It is the least that anything between a client and a sandbox can
// cost, made with the fastest means there are in Go, and so the yardstick for
// what the platform costs on the same machine. It ends with ctx.
func ServeHop(ctx context.Context, listener net.Listener, sandboxes []whisk.Address, concurrency int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // breaks the connections to the sandboxes
	load := newLoad(ctx, target{addresses: sandboxes}, concurrency, hopTimeout)
	places := newPlaces(load.clients, len(sandboxes)*concurrency)
	server := &fasthttp.Server{
		NoDefaultServerHeader: true,
		MaxRequestBodySize:    2 * int(largestParameters),
		Handler: func(exchange *fasthttp.RequestCtx) {
			client := places.take()
			defer places.give(client)
			exchange.Request.SetRequestURI(runURI)
			if err := client.Do(&exchange.Request, &exchange.Response); err != nil {
				exchange.Error(cause(err), fasthttp.StatusBadGateway)
			}
		},
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Shutdown() })
	defer stop()
	if err := server.Serve(listener); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serve the bare hop: %w", err)
	}
	return nil
}

// hopTimeout is longer than anything that is sent through a hop takes.
const hopTimeout = longestWork + 30*time.Second

// hop starts the bare hop to the sandboxes, if one is asked for.
func (r *runner) hop(ctx context.Context, s *sandboxes) (stop func(), err error) {
	if r.config.Hop == nil {
		return func() {}, nil
	}
	address, pid, stop, err := r.config.Hop(ctx, s.target.addresses, r.config.atOnce())
	if err != nil {
		return nil, fmt.Errorf("start the bare hop: %w", err)
	}
	if pid <= 0 {
		stop()
		return nil, errors.New("start the bare hop: it has no process")
	}
	hop := s.target
	hop.addresses = []whisk.Address{address}
	hop.auth = r.endpoints[0].authorization() // a client of the platform's sends that, too
	meter := newMeter([]Process{{Name: "bare hop", PID: pid}})
	s.hop, s.hopMeter = &hop, &meter
	return stop, nil
}
