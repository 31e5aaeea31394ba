// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"

	"github.com/whirl-faas/whirl/rpc/certs"
	"github.com/whirl-faas/whirl/whisk"
)

// openTimeout bounds how long a session takes to open, whatever ctx says.
const openTimeout = 10 * time.Second

// Dialer opens sessions with other roles. There is one between any two peers, so
// each has a connection of its own: it is checked against today's certificates,
// and ends with the session. All methods may be called concurrently.
//
// A session that was opened must be closed; its Close returns when nothing of it
// is left, within seconds if the peer does not answer.
type Dialer struct {
	security Security
	connect  func(ctx context.Context, address string) (net.Conn, error)
}

// NewDialer returns a dialer that reaches addresses by connect; nil stands for
// TCP to host:port. The error is Invalid if there is no Security.
func NewDialer(security Security, connect func(ctx context.Context, address string) (net.Conn, error)) (*Dialer, error) {
	if err := security.check(); err != nil {
		return nil, err
	}
	if connect == nil {
		connect = func(ctx context.Context, address string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", address)
		}
	}
	return &Dialer{security, connect}, nil
}

// ControllerToScheduler opens a controller's session with the scheduler at
// address. The error is Denied if one side does not accept the other's
// certificate, Invalid if the other side serves no such sessions, Unavailable if
// it is not reached, Timeout if it does not answer. The same goes for the others.
func (d *Dialer) ControllerToScheduler(ctx context.Context, address string) (whisk.ControllerToScheduler, error) {
	return open(ctx, d, factoryService(), address, "")
}

// AgentToScheduler opens an agent's session with the scheduler at address.
func (d *Dialer) AgentToScheduler(ctx context.Context, address string) (whisk.AgentToScheduler, error) {
	return open(ctx, d, agentService(), address, "")
}

// ControllerToAgent opens a controller's session with the agent of a node, at
// address. Another node's agent is not accepted there.
func (d *Dialer) ControllerToAgent(ctx context.Context, node whisk.NodeID, address string) (whisk.ControllerToAgent, error) {
	return open(ctx, d, sandboxService(), address, string(node))
}

// ControllerToPeer opens a controller's session with another one, at address.
// That has to be one whose certificate covers id.
func (d *Dialer) ControllerToPeer(ctx context.Context, id whisk.ControllerID, address string) (whisk.ControllerToPeer, error) {
	return open(ctx, d, peerService(), address, string(id))
}

// open opens a session with whoever plays the kind's server; name, unless it is
// "", says which of them it has to be.
func open[Request, Reply any](ctx context.Context, d *Dialer, kind service[Request, Reply], address, name string) (whisk.Stream[Request, Reply], error) {
	handshake := &clientHandshake{
		handshakes: handshakes{d.security},
		accept: func(peer certs.Identity) error {
			if peer.Role != kind.server || name != "" && !peer.Covers(name) {
				wanted := certs.Identity{Role: kind.server, Name: name}
				return whisk.Errorf(whisk.Denied, "the peer is %s, wanted is %s", peer, wanted)
			}
			return nil
		},
	}
	conn, err := grpc.NewClient("passthrough:///"+address, d.options(handshake)...)
	if err != nil {
		return nil, whisk.Errorf(whisk.Invalid, "address %q: %w", address, err)
	}
	life, cancel := context.WithCancelCause(context.Background())
	e := &clientEnd[Request, Reply]{conn: conn, cancel: cancel}
	if err := e.open(ctx, life, kind); err != nil {
		cancel(nil)
		conn.Close()
		if refusal := handshake.refused(); refusal != nil {
			err = refusal
		}
		return nil, fmt.Errorf("open a session with %s: %w", address, err)
	}
	e.loops.Go(e.sendLoop)
	e.loops.Go(e.receiveLoop)
	return e, nil
}

func (d *Dialer) options(handshake *clientHandshake) []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithTransportCredentials(handshake),
		grpc.WithContextDialer(d.connect),
		grpc.WithAuthority("whirl"), // addresses may be of any form
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(codec{}), grpc.MaxCallRecvMsgSize(MaxMessage), grpc.MaxCallSendMsgSize(MaxMessage)),
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithIdleTimeout(0),
		grpc.WithReadBufferSize(reading),
		grpc.WithStaticStreamWindowSize(window),
		grpc.WithStaticConnWindowSize(window),
		grpc.WithMaxHeaderListSize(headers),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingAfter, Timeout: pingTimeout}),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: 2 * openTimeout}),
	}
}

// clientEnd is the end of a session at the side that opened it.
type clientEnd[Request, Reply any] struct {
	*session[Request, Reply]
	conn   *grpc.ClientConn
	stream grpc.ClientStream
	cancel context.CancelCauseFunc // of the stream
	loops  sync.WaitGroup
	gone   sync.Once
}

// open makes the stream and waits until the server accepted it.
func (e *clientEnd[Request, Reply]) open(ctx, life context.Context, kind service[Request, Reply]) error {
	ctx, stop := context.WithTimeoutCause(ctx, openTimeout, whisk.Errorf(whisk.Timeout, "no answer within %v", openTimeout))
	defer stop()
	undo := context.AfterFunc(ctx, func() { e.cancel(context.Cause(ctx)) })
	err := e.accepted(life, kind)
	if !undo() { // the stream ends with ctx, and that is why
		return context.Cause(ctx)
	}
	return err
}

func (e *clientEnd[Request, Reply]) accepted(life context.Context, kind service[Request, Reply]) (err error) {
	if e.stream, err = e.conn.NewStream(life, &methodDesc, "/"+kind.name+"/"+method); err != nil {
		return fromStatus(err)
	}
	e.session = newSession(e.stream, kind.requests, kind.replies)
	header, err := e.stream.Header()
	if err == nil && header == nil { // it ended without having begun
		err = e.stream.RecvMsg(&arrival[Reply]{protocol: kind.replies})
	}
	if err == nil {
		return nil
	}
	if err = fromStatus(err); err == io.EOF {
		err = whisk.Errorf(whisk.Unavailable, "the peer is about to stop")
	}
	return err
}

// Close implements [whisk.Stream]. What was sent is still delivered if the peer
// takes it soon; what comes meanwhile is thrown away.
func (e *clientEnd[Request, Reply]) Close() error {
	e.close()
	e.gone.Do(func() {
		late := time.NewTimer(patience)
		defer late.Stop()
		select {
		case <-e.sent:
			_ = e.stream.CloseSend() // it cannot fail
			select {
			case <-e.ended:
			case <-late.C:
			}
		case <-late.C:
		}
		e.cancel(nil)
		_ = e.conn.Close() // it is not used any more
		e.loops.Wait()
	})
	return nil
}
