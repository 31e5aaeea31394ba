// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"io"
	"net"
	"net/netip"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/whirl-faas/whirl/rpc/certs"
	"github.com/whirl-faas/whirl/whisk"
)

// reception is what happens to one session at the server: who wants it is
// checked, then the role serves it, then it ends.
type reception[Request, Reply any] struct {
	server *Server
	kind   service[Request, Reply]
	stream grpc.ServerStream
	serve  func(context.Context, whisk.Stream[Reply, Request]) error
	from   string          // the peer's address
	peer   *certs.Identity // nil in plain text
	until  time.Time       // when the peer's certificate expires
	id     string          // the name that the session speaks for; "" before its first message
	named  chan struct{}   // closed when id is known
}

// receive returns when the session has ended. The error is what the peer is
// told: nil is the good end.
func (r *reception[Request, Reply]) receive(ctx context.Context) error {
	if err := r.checkRole(); err != nil {
		return r.refuse(err)
	}
	if err := r.stream.SendHeader(metadata.MD{}); err != nil {
		return nil // nobody is there any more
	}
	r.named = make(chan struct{})
	s := newSession(r.stream, r.kind.replies, r.kind.requests)
	s.admit = r.admit
	r.server.loops.Go(s.sendLoop)
	r.server.loops.Go(s.receiveLoop)
	if known, err := r.introduce(ctx, s); !known {
		s.close()
		return err
	}
	r.server.loops.Go(func() {
		defer s.close()
		if err := r.serve(ctx, serverEnd[Request, Reply]{s, peerAddress(r.stream.Context())}); err != nil {
			r.mourn(s, err)
		}
	})
	return r.attend(s)
}

// mourn logs that the role has ended a session. That the peer said what the role
// makes no sense of is worth a warning; what came as no message at all has one.
func (r *reception[Request, Reply]) mourn(s *session[Reply, Request], err error) {
	attrs := []any{"session", r.kind.name, "peer", r.id, "from", r.from, "err", err}
	if whisk.KindOf(err) == whisk.Invalid && !s.brokeBy(err) {
		r.server.complaints.warn("session ended", attrs...)
		return
	}
	r.server.log.Info("session ended", attrs...)
}

// introduce waits for the message that says who the peer is.
func (r *reception[Request, Reply]) introduce(ctx context.Context, s *session[Reply, Request]) (known bool, err error) {
	late := time.NewTimer(r.server.config.Limits.Handshake)
	defer late.Stop()
	select {
	case <-r.named:
		return true, nil
	case <-s.ended:
		return r.introducedLast(s)
	case <-late.C:
		return false, r.refuse(whisk.Errorf(whisk.Timeout, "the peer did not say in time who it is"))
	case <-ctx.Done():
		return false, nil
	}
}

// introducedLast is for a session that ended as early: the role hears of it if
// it began well.
func (r *reception[Request, Reply]) introducedLast(s *session[Reply, Request]) (known bool, err error) {
	select {
	case <-r.named:
		return true, nil
	default:
	}
	if s.cause == io.EOF {
		return false, nil
	}
	return false, r.refuse(s.cause)
}

// attend waits until the session has ended at either side, or the peer's
// certificate expires: with another one it may come again.
func (r *reception[Request, Reply]) attend(s *session[Reply, Request]) error {
	var expired <-chan time.Time
	if r.peer != nil {
		timer := time.NewTimer(time.Until(r.until))
		defer timer.Stop()
		expired = timer.C
	}
	select {
	case <-expired:
		return r.refuse(whisk.Errorf(whisk.Denied, "the certificate of %s has expired", r.peer))
	case <-s.closing:
		late := time.NewTimer(patience)
		defer late.Stop()
		select {
		case <-s.sent:
		case <-late.C:
		case <-s.ended:
		}
	case <-s.ended:
	}
	select {
	case <-s.ended: // perhaps first, and the role closed its end because of that
	default:
		return nil
	}
	switch whisk.KindOf(s.cause) {
	case whisk.Invalid, whisk.Denied, whisk.TooLarge: // by what the peer said
		return r.refuse(s.cause)
	}
	return nil
}

// refuse logs why a peer is sent away.
func (r *reception[Request, Reply]) refuse(err error) error {
	attrs := []any{"session", r.kind.name, "from", r.from, "err", err}
	if r.peer != nil {
		attrs = append(attrs, "certificate", r.peer.String())
	}
	r.server.complaints.warn("session refused", attrs...)
	return err
}

// checkRole refuses who holds a certificate for another role.
func (r *reception[Request, Reply]) checkRole() error {
	p, ok := peer.FromContext(r.stream.Context())
	if !ok {
		return whisk.Errorf(whisk.Internal, "nothing is known of the peer")
	}
	who, ok := p.AuthInfo.(proof)
	if !ok {
		return whisk.Errorf(whisk.Internal, "nothing is proven of the peer")
	}
	who.guest.asked.Store(true)
	r.until = who.until
	if r.peer = who.peer; r.peer != nil && r.peer.Role != r.kind.client {
		return whisk.Errorf(whisk.Denied, "a certificate of %s does not open this session, which is the %s's", r.peer, r.kind.client)
	}
	return nil
}

// admit lets a message pass, if its sender speaks for itself.
func (r *reception[Request, Reply]) admit(message Request) error {
	names := r.kind.names(message)
	first := r.id == ""
	if first {
		if len(names) == 0 {
			return whisk.Errorf(whisk.Invalid, "the first message of a session must say who sends it, a %T does not", message)
		}
		if r.peer != nil && !r.peer.Covers(names[0]) {
			return whisk.Errorf(whisk.Denied, "a certificate of %s does not allow to act as %q", r.peer, names[0])
		}
		r.id = names[0]
	}
	for _, name := range names {
		if name != r.id {
			return whisk.Errorf(whisk.Denied, "a session of %q may not speak for %q", r.id, name)
		}
	}
	if first {
		close(r.named)
	}
	return nil
}

// serverEnd is the role's end of a session. Whoever serves it closes the stream
// when it has ended.
type serverEnd[Request, Reply any] struct {
	*session[Reply, Request]
	from netip.Addr
}

// PeerAddress implements [whisk.Remote].
func (e serverEnd[Request, Reply]) PeerAddress() netip.Addr { return e.from }

// Close implements [whisk.Stream]. What was sent is still delivered if the peer
// takes it soon.
func (e serverEnd[Request, Reply]) Close() error {
	e.close()
	return nil
}

// peerAddress returns the address of who opened a stream, not valid if the
// transport beneath has none of that kind.
func peerAddress(ctx context.Context) netip.Addr {
	if p, ok := peer.FromContext(ctx); ok {
		if at, ok := p.Addr.(*net.TCPAddr); ok {
			return at.AddrPort().Addr().Unmap()
		}
	}
	return netip.Addr{}
}
