// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"

	"github.com/spf13/pflag"

	"github.com/whirl-faas/whirl/rpc/certs"
	"github.com/whirl-faas/whirl/surface"
)

// officeSettings are how a role is to be had over HTTP by operators.
type officeSettings struct {
	address  string // "" for nowhere
	profiles bool
	bearer   surface.Authorize // nil without a secret
}

func addOfficeFlags(flags *pflag.FlagSet, address string) {
	flags.String("http", address, "`HOST:PORT` for operators, /healthz, /readyz and /metrics; empty for none")
	flags.String("http-secret", "", "without certificates, what operators have to know, at least 16 characters; without it they are not answered")
	flags.Bool("pprof", false, "let operators take profiles from /debug/pprof/ there")
}

// read reads the flags. plain says that there are no certificates.
func (s *officeSettings) read(flags *pflag.FlagSet, plain bool) (err error) {
	s.address = textOf(flags, "http")
	s.profiles, _ = flags.GetBool("pprof")
	if s.address != "" {
		host, err := hostOf("http", s.address)
		if err != nil {
			return err
		}
		if plain && !isLoopback(host) {
			return usageErrorf("--http %s: without certificates it has to be a loopback address", s.address)
		}
	}
	if secret := textOf(flags, "http-secret"); secret != "" {
		if s.bearer, err = surface.Bearer(secret); err != nil {
			return usageErrorf("--http-secret: %w", err)
		}
	}
	return nil
}

// authorize returns what knows callers: the cluster's certificates, or else the
// secret.
func (s *officeSettings) authorize(peers *peers) surface.Authorize {
	switch {
	case peers.source != nil:
		return byCertificate
	case s.bearer != nil:
		return s.bearer
	}
	return func(*http.Request) (surface.Caller, error) {
		return surface.Caller{}, errors.New("this process was started without --http-secret, and so it knows no operators")
	}
}

// byCertificate knows callers by the certificates of the cluster.
func byCertificate(r *http.Request) (surface.Caller, error) {
	who, err := holderOf(r)
	if err != nil {
		return surface.Caller{}, err
	}
	return surface.Caller{Name: who.String(), Operator: who.Role == certs.Operator}, nil
}

// holderOf returns whose certificate a request was sent with.
func holderOf(r *http.Request) (certs.Identity, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return certs.Identity{}, errors.New("this needs a client certificate of the cluster")
	}
	return certs.IdentityOf(r.TLS.PeerCertificates[0])
}

// office is a role's HTTP surface for operators, on its listener.
type office struct {
	listener net.Listener
	handler  http.Handler
	logger   *slog.Logger
}

// openOffice takes the address. watch lacks who may look and the like; next is
// the role's own surface, nil for none.
func openOffice(settings officeSettings, peers *peers, watch surface.Watch, next http.Handler) (*office, error) {
	watch.Profiles, watch.Authorize, watch.Logger = settings.profiles, settings.authorize(peers), peers.logger
	listener, err := listenFor("http", settings.address)
	if err != nil {
		return nil, err
	}
	if peers.source != nil {
		listener = tls.NewListener(listener, peers.source.OpenServer("http/1.1"))
	}
	return &office{listener, surface.NewProbes(watch, surface.Default(), next), peers.logger}, nil
}

func (o *office) serve(ctx context.Context) error {
	return surface.Serve(ctx, o.listener, o.handler, surface.Default(), o.logger)
}

// closeListener closes a listener that its server may have closed before.
func closeListener(listener net.Listener) error {
	if err := listener.Close(); !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}
