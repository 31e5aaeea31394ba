// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"

	"github.com/whirl-faas/whirl/whisk"
)

// Handlers are what a role serves. A session of a kind whose handler is nil is
// refused. A handler serves one session until it ends, as
// [github.com/whirl-faas/whirl/scheduler.Scheduler.ServeController] does; the
// session ends when it returns. Its ctx ends with that of [Server.Run].
type Handlers struct {
	Controller func(context.Context, whisk.SchedulerToController) error // at the scheduler
	Agent      func(context.Context, whisk.SchedulerToAgent) error      // at the scheduler
	Sandbox    func(context.Context, whisk.AgentToController) error     // at an agent
	Peer       func(context.Context, whisk.PeerToController) error      // at a controller
}

// Limits bound what peers may make a server do.
type Limits struct {
	Connections int           // at once; each carries one session
	Strangers   int           // of them, those that did not prove yet who they are
	Handshake   time.Duration // for that proof, and again for a session's first message
}

// DefaultLimits are generous for a cluster of a thousand nodes.
func DefaultLimits() Limits {
	return Limits{Connections: 4096, Strangers: 256, Handshake: 5 * time.Second}
}

// ServerConfig says what a [Server] is made of. Security and Logger are needed.
type ServerConfig struct {
	Security Security
	Handlers Handlers
	Limits   Limits // what is 0 is taken from [DefaultLimits]
	Logger   *slog.Logger
}

// Server serves the sessions that other roles open with this one.
type Server struct {
	config     ServerConfig
	log        *slog.Logger
	complaints *complaints
	loops      sync.WaitGroup // what serves sessions
}

// NewServer returns a server that does nothing until [Server.Run]. The error is
// Invalid if config has no Security.
func NewServer(config ServerConfig) (*Server, error) {
	if err := config.Security.check(); err != nil {
		return nil, err
	}
	defaults := DefaultLimits()
	limits := &config.Limits
	if limits.Connections == 0 {
		limits.Connections = defaults.Connections
	}
	if limits.Strangers == 0 {
		limits.Strangers = defaults.Strangers
	}
	if limits.Handshake == 0 {
		limits.Handshake = defaults.Handshake
	}
	log := config.Logger.With("component", "rpc")
	return &Server{config: config, log: log, complaints: &complaints{log: log}}, nil
}

// Run serves what comes to listener, and closes it. When ctx ends it takes no
// more sessions, gives the handlers two seconds to end theirs, cuts what is left,
// and returns nil when all handlers have returned. It returns an error, as
// early, if the listener fails, and Invalid at once if plain text was chosen and
// the listener has an address that is no loopback one. It may be called once.
func (s *Server) Run(ctx context.Context, listener net.Listener) error {
	if err := s.config.Security.checkAddress(listener.Addr()); err != nil {
		return errors.Join(err, listener.Close())
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	server := grpc.NewServer(s.options()...)
	s.register(ctx, server)
	served := make(chan error, 1)
	go func() {
		served <- server.Serve(&gate{
			Listener:      listener,
			most:          s.config.Limits.Connections,
			mostStrangers: s.config.Limits.Strangers,
			complaints:    s.complaints,
		})
	}()
	var failure error
	select {
	case failure = <-served:
		served <- nil
		cancel(failure)
	case <-ctx.Done():
	}
	stop(server)
	<-served
	s.loops.Wait()
	return failure
}

// stop lets the sessions end by themselves, for so long.
func stop(server *grpc.Server) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		server.GracefulStop()
	}()
	late := time.NewTimer(2 * patience)
	defer late.Stop()
	select {
	case <-ended:
	case <-late.C:
		server.Stop()
		<-ended
	}
}

// Sizes and times of connections.
const (
	window        = 256 << 10 // bytes that may be on their way in one direction
	headers       = 8 << 10   // bytes of a request's headers
	reading       = 4 << 10   // bytes that a connection reads at once; of a longer message it reads the rest in place
	pingAfter     = 10 * time.Second
	pingTimeout   = 5 * time.Second
	unusedTimeout = 30 * time.Second // of a connection without a session
)

func (s *Server) options() []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.Creds(&serverHandshake{handshakes{s.config.Security}, s.complaints}),
		grpc.ForceServerCodecV2(codec{}),
		grpc.UnknownServiceHandler(s.refuseUnknown),
		grpc.ConnectionTimeout(s.config.Limits.Handshake),
		grpc.MaxConcurrentStreams(1),
		grpc.MaxHeaderListSize(headers),
		grpc.MaxRecvMsgSize(MaxMessage),
		grpc.MaxSendMsgSize(MaxMessage),
		grpc.ReadBufferSize(reading),
		grpc.StaticStreamWindowSize(window),
		grpc.StaticConnWindowSize(window),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: pingAfter, Timeout: pingTimeout, MaxConnectionIdle: unusedTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingAfter / 2, PermitWithoutStream: true}),
		grpc.WaitForHandlers(true), // so that nothing begins after Stop
	}
}

func (s *Server) register(ctx context.Context, server *grpc.Server) {
	if serve := s.config.Handlers.Controller; serve != nil {
		register(ctx, s, server, factoryService(), serve)
	}
	if serve := s.config.Handlers.Agent; serve != nil {
		register(ctx, s, server, agentService(), serve)
	}
	if serve := s.config.Handlers.Sandbox; serve != nil {
		register(ctx, s, server, sandboxService(), serve)
	}
	if serve := s.config.Handlers.Peer; serve != nil {
		register(ctx, s, server, peerService(), serve)
	}
}

func register[Request, Reply any](ctx context.Context, s *Server, server *grpc.Server, kind service[Request, Reply],
	serve func(context.Context, whisk.Stream[Reply, Request]) error) {
	desc := methodDesc
	desc.Handler = func(_ any, stream grpc.ServerStream) error {
		r := &reception[Request, Reply]{server: s, kind: kind, stream: stream, serve: serve, from: remote(stream.Context())}
		return toStatus(r.receive(ctx))
	}
	server.RegisterService(&grpc.ServiceDesc{ServiceName: kind.name, Streams: []grpc.StreamDesc{desc}}, nil)
}

// refuseUnknown answers who wants a session that this role does not serve.
func (s *Server) refuseUnknown(_ any, stream grpc.ServerStream) error {
	wanted, _ := grpc.MethodFromServerStream(stream)
	if p, ok := peer.FromContext(stream.Context()); ok {
		if who, ok := p.AuthInfo.(proof); ok {
			who.guest.asked.Store(true)
		}
	}
	err := whisk.Errorf(whisk.NotFound, "%s is not served here", wanted)
	s.complaints.warn("session refused", "from", remote(stream.Context()), "err", err)
	return toStatus(err)
}

func remote(ctx context.Context) string {
	if p, ok := peer.FromContext(ctx); ok {
		return p.Addr.String()
	}
	return "unknown"
}
