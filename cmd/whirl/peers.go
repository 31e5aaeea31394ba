// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/spf13/pflag"

	"github.com/whirl-faas/whirl/rpc"
	"github.com/whirl-faas/whirl/rpc/certs"
)

// peerSettings are how a process proves to the other roles who it is.
type peerSettings struct {
	role  certs.Role
	files certs.Files
	plain bool
}

const peersHelp = `
Roles know each other by certificates: see whirl certs. Where all of them run on
one machine, --plain-loopback does without.`

func addPeerFlags(flags *pflag.FlagSet) {
	flags.String("ca", "", "`FILE` with the certificates of the authorities to believe")
	flags.String("cert", "", "`FILE` with this process's certificate")
	flags.String("key", "", "`FILE` with its private key")
	flags.Bool("plain-loopback", false, "no certificates: everybody on this machine is believed, and nobody elsewhere is talked to")
}

// read reads the flags. addresses are those flags of the command that say where
// other roles are, or come; without certificates that has to be this machine.
func (s *peerSettings) read(flags *pflag.FlagSet, addresses ...string) error {
	s.plain, _ = flags.GetBool("plain-loopback")
	s.files = certs.Files{CA: textOf(flags, "ca"), Cert: textOf(flags, "cert"), Key: textOf(flags, "key")}
	switch {
	case s.plain && s.files != certs.Files{}:
		return usageErrorf("--plain-loopback does without certificates: give either it, or --ca, --cert and --key")
	case !s.plain && (s.files.CA == "" || s.files.Cert == "" || s.files.Key == ""):
		return usageErrorf("give --ca, --cert and --key, which whirl certs makes, or --plain-loopback if all roles run on this machine")
	}
	for _, flag := range addresses {
		address := textOf(flags, flag)
		if address == "" {
			continue
		}
		host, err := hostOf(flag, address)
		if err != nil {
			return err
		}
		if s.plain && !isLoopback(host) {
			return usageErrorf("--%s %s: without certificates it has to be a loopback address", flag, address)
		}
	}
	return nil
}

// peers is how a process deals with the other roles.
type peers struct {
	source   *certs.Source // nil in plain text
	security rpc.Security
	logger   *slog.Logger
}

// open loads the certificates, which must be of the role.
func (s peerSettings) open(logger *slog.Logger) (*peers, error) {
	if s.plain {
		return plainPeers(logger), nil
	}
	source, err := certs.Open(s.files, logger)
	if err != nil {
		return nil, usageError{err}
	}
	if got := source.Identity(); got.Role != s.role {
		return nil, usageErrorf("--cert %s: it is the certificate of %s, and this process plays the %s", s.files.Cert, got, s.role)
	}
	return &peers{source, rpc.TLS(source), logger}, nil
}

// plainPeers are those of this machine, who need to prove nothing.
func plainPeers(logger *slog.Logger) *peers {
	return &peers{security: rpc.PlainLoopback(), logger: logger}
}

// name is who the process is by its certificate, or else by what its user says.
func (p *peers) name(flag, given string) (string, error) {
	if p.source == nil {
		return given, nil
	}
	certified := p.source.Identity().Name
	if given != "" && given != certified {
		return "", usageErrorf("--%s %s: the certificate is for %s", flag, given, certified)
	}
	return certified, nil
}

// serve returns what serves sessions on the listener until its ctx ends.
func (p *peers) serve(handlers rpc.Handlers, limits rpc.Limits, listener net.Listener) (func(context.Context) error, error) {
	server, err := rpc.NewServer(rpc.ServerConfig{Security: p.security, Handlers: handlers, Limits: limits, Logger: p.logger})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error { return server.Run(ctx, listener) }, nil
}

// epochOf returns the epoch of a scheduler that starts now: higher than that of
// any before it, as long as the machine's clock does not go back.
func epochOf(start time.Time) uint64 { return uint64(start.UnixMilli()) }
