// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"net"

	"github.com/spf13/pflag"

	"github.com/whirl-faas/whirl/rpc"
)

// forwardSettings are how other controllers reach this one.
type forwardSettings struct {
	listen    string // "" if it takes no part in forwarding
	advertise string
}

func addForwardFlags(flags *pflag.FlagSet) {
	flags.String("peers", "", "`HOST:PORT` for other controllers, which forward activations here; empty to forward none either")
	flags.String("peers-advertise", "", "`HOST:PORT` by which they find it (default: that of --peers)")
}

// read reads the flags. plain says that there are no certificates.
func (s *forwardSettings) read(flags *pflag.FlagSet, plain bool) error {
	s.listen, s.advertise = textOf(flags, "peers"), textOf(flags, "peers-advertise")
	if s.listen == "" {
		if s.advertise != "" {
			return usageErrorf("--peers-advertise needs --peers")
		}
		return nil
	}
	host, err := hostOf("peers", s.listen)
	if err != nil {
		return err
	}
	if plain && !isLoopback(host) {
		return usageErrorf("--peers %s: without certificates it has to be a loopback address", s.listen)
	}
	if s.advertise != "" {
		_, err = hostOf("peers-advertise", s.advertise)
		return err
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		return usageErrorf("--peers %s: that is no address by which others find this process; give one with --peers-advertise", s.listen)
	}
	return nil
}

// forwards is where other controllers bring activations of theirs.
type forwards struct {
	listener net.Listener
	address  string // by which they find it
}

// openForwards takes the address, if there is one.
func (f *front) openForwards(settings forwardSettings) error {
	if settings.listen == "" {
		return nil
	}
	listener, err := listenFor("peers", settings.listen)
	if err != nil {
		return err
	}
	f.forwards = &forwards{listener, cmp.Or(settings.advertise, listener.Addr().String())}
	return nil
}

// serveForwards serves sessions with other controllers until ctx ends.
func (f *front) serveForwards(ctx context.Context) error {
	serve, err := f.peers.serve(rpc.Handlers{Peer: f.balancer.ServePeer}, rpc.Limits{}, f.forwards.listener)
	if err != nil {
		return err
	}
	return serve(ctx)
}
