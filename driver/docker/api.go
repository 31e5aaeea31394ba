// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"

	"github.com/whirl-faas/whirl/whisk"
)

// openAPI finds the URL by which sandboxes reach the platform's API, and the
// address of this machine that they need for it. An API that listens on the
// loopback device alone is relayed from the bridge.
func (d *Driver) openAPI() (allowed netip.AddrPort, weak string) {
	if d.config.API == "" {
		return netip.AddrPort{}, ""
	}
	d.apiHost = d.config.API
	location, err := apiURL(d.config.API)
	if err != nil || d.config.Network == None {
		return netip.AddrPort{}, ""
	}
	port := location.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[location.Scheme]
	}
	target := net.JoinHostPort(location.Hostname(), port)
	ip, err := netip.ParseAddr(location.Hostname())
	if err != nil && location.Hostname() != "localhost" {
		return netip.AddrPort{}, "" // a name: not for us to resolve once and for all
	}
	if err == nil && !ip.IsLoopback() && !ip.IsUnspecified() {
		service, _ := netip.ParseAddrPort(target)
		return service, ""
	}
	inside, err := netip.ParseAddrPort(net.JoinHostPort(d.gateway.String(), port))
	if err != nil {
		return netip.AddrPort{}, fmt.Sprintf("actions cannot reach the API at %s: the network has no gateway", d.config.API)
	}
	location.Host = inside.String()
	if !ip.IsUnspecified() {
		listener, err := net.Listen("tcp", inside.String())
		if err != nil {
			return netip.AddrPort{}, fmt.Sprintf("actions cannot reach the API at %s (%v): let it listen on an address of the network", d.config.API, err)
		}
		d.relay = &relay{listener: listener, target: target, turns: make(chan struct{}, relayed)}
		d.loops.Go(func() { d.relay.acceptLoop(d.life) })
	}
	d.apiHost = location.String()
	return inside, ""
}

// relayed is how many connections to the API sandboxes have at a time; who wants
// more waits.
const relayed = 512

// relay passes connections from the bridge on to the API.
type relay struct {
	listener net.Listener
	target   string
	turns    chan struct{}
}

// acceptLoop runs until ctx ends, and returns when all connections have.
func (r *relay) acceptLoop(ctx context.Context) {
	var passing sync.WaitGroup
	defer passing.Wait()
	defer context.AfterFunc(ctx, func() { r.listener.Close() })()
	for {
		select {
		case r.turns <- struct{}{}:
		case <-ctx.Done():
			return
		}
		conn, err := r.listener.Accept()
		if err != nil {
			return // it was closed, or is of no use any more
		}
		passing.Go(func() {
			defer func() { <-r.turns }()
			r.pass(ctx, conn)
		})
	}
}

// pass copies both ways until both ends have closed, or ctx ends.
func (r *relay) pass(ctx context.Context, inner net.Conn) {
	defer inner.Close()
	outer, err := new(net.Dialer).DialContext(ctx, "tcp", r.target)
	if err != nil {
		return
	}
	defer outer.Close()
	defer context.AfterFunc(ctx, func() { inner.Close(); outer.Close() })()
	var ways sync.WaitGroup
	for _, way := range [][2]net.Conn{{inner, outer}, {outer, inner}} {
		ways.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			if half, ok := way[0].(*net.TCPConn); ok {
				_ = half.CloseWrite()
			}
		})
	}
	ways.Wait()
}

// environment of a sandbox, in the engine's form.
func (d *Driver) environment(req whisk.CreateSandbox) []string {
	var env []string
	if d.apiHost != "" {
		env = append(env, "__OW_API_HOST="+d.apiHost)
	}
	for _, name := range slices.Sorted(maps.Keys(req.Env)) {
		env = append(env, name+"="+req.Env[name])
	}
	return env
}
