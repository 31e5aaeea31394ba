// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"

	"github.com/whirl-faas/whirl/rpc/certs"
	"github.com/whirl-faas/whirl/whisk"
)

// maxReason bounds what is read of why an agent is not ready.
const maxReason = 1 << 10

// probesAt returns where the scheduler may ask an agent whether it is ready: at
// its HTTP surface, unless that is for its own machine only and the agent is not.
func probesAt(surface, advertised string) string {
	host, port, err := net.SplitHostPort(surface)
	if err != nil || port == "0" {
		return ""
	}
	mine, _, err := net.SplitHostPort(advertised)
	if err != nil || isLoopback(host) && !isLoopback(mine) {
		return ""
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = mine
	}
	return net.JoinHostPort(host, port)
}

// askReady asks the agent of a node at its HTTP surface whether it is ready, as
// [scheduler.Health] wants it.
func (p *peers) askReady(ctx context.Context, node whisk.NodeID, at string) error {
	transport := &http.Transport{DisableKeepAlives: true}
	url := "http://" + at + "/readyz"
	if p.source != nil {
		url = "https://" + at + "/readyz"
		transport.TLSClientConfig = p.source.Client(func(who certs.Identity) error {
			if who.Role != certs.Agent || !who.Covers(string(node)) {
				return whisk.Errorf(whisk.Denied, "that is %s, and not the agent of %s", who, node)
			}
			return nil
		}, "http/1.1")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return whisk.Errorf(whisk.Unavailable, "health route: %w", err)
	}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return whisk.Errorf(whisk.Unavailable, "health route: %w", err)
	}
	defer answer.Body.Close()
	reason, err := io.ReadAll(io.LimitReader(answer.Body, maxReason))
	switch {
	case answer.StatusCode == http.StatusOK:
		return nil
	case err != nil:
		return whisk.Errorf(whisk.Unavailable, "health route: %w", err)
	}
	return whisk.Errorf(whisk.Internal, "its health route answers %d: %s", answer.StatusCode, printable(string(reason)))
}
