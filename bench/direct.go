// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"syscall"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// runURI is where a sandbox runs an activation.
const runURI = "http://sandbox/run"

// sandboxes are those of the direct side.
type sandboxes struct {
	target   target
	hop      *target // the bare hop to them; nil if there is none
	hopMeter *meter
}

// direct starts the sandboxes of the direct side and loads the workload's program
// into them. There are none if the caller provides none, or if the workload takes
// more than one activation; stop is never nil.
func (r *runner) direct(ctx context.Context, kind, concrete string, w Workload) (*sandboxes, func(), error) {
	if !r.config.hitsDirectly(w) {
		return nil, func() {}, nil
	}
	var stops []func()
	stop := func() {
		for _, one := range slices.Backward(stops) {
			one()
		}
	}
	p, _ := programOf(w.task(), family(kind)) // Validate saw that there is one
	parameters, want := w.parameters()
	s := &sandboxes{target: target{calls: []call{{uri: runURI, body: runBody(parameters, time.Now()), want: want}}, judge: judgeRun}}
	needed := 0
	for _, pace := range r.config.paces() {
		_, count := r.config.directConnections(pace)
		needed = max(needed, count)
	}
	for range needed {
		r.display.pending("%s: starting a sandbox to hit directly", kind)
		address, one, err := r.config.Direct(ctx, concrete, r.config.atOnce())
		if err != nil {
			stop()
			return nil, nil, fmt.Errorf("start a sandbox of kind %s: %w", concrete, err)
		}
		stops = append(stops, one)
		s.target.addresses = append(s.target.addresses, address)
		if err := r.initialise(ctx, address, p); err != nil {
			stop()
			return nil, nil, fmt.Errorf("initialise a sandbox of kind %s: %w", concrete, err)
		}
	}
	stopHop, err := r.hop(ctx, s)
	if err != nil {
		stop()
		return nil, nil, err
	}
	stops = append(stops, stopHop)
	return s, stop, nil
}

// initialise sends /init. As a controller does, it tries again as long as the
// runtime does not listen yet.
func (r *runner) initialise(ctx context.Context, address whisk.Address, p program) error {
	ctx, cancel := context.WithTimeout(ctx, r.config.Timeout)
	defer cancel()
	body, err := initBody(p)
	if err != nil {
		return err
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, address.Network, address.Address)
	}
	http := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		err := post(ctx, http, "http://sandbox/init", body)
		if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ENOENT) {
			return err
		}
		select {
		case <-again.C:
		case <-ctx.Done():
			return err
		}
	}
}

func post(ctx context.Context, client *http.Client, url string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("status %d: %.200s", res.StatusCode, answer)
	}
	return nil
}
