// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/credentials"

	"github.com/whirl-faas/whirl/rpc/certs"
	"github.com/whirl-faas/whirl/whisk"
)

// Security says how peers prove who they are. The zero Security is not usable,
// so that plain text is never an oversight.
type Security struct {
	source *certs.Source
	plain  bool
}

// TLS is mutual TLS: each side shows a certificate of the cluster's authority.
func TLS(source *certs.Source) Security { return Security{source: source} }

// PlainLoopback is no security at all: nothing is encrypted, and everybody is
// believed to be who he says. Addresses other than loopback ones are refused.
func PlainLoopback() Security { return Security{plain: true} }

// check refuses the zero Security.
func (s Security) check() error {
	if s.source == nil && !s.plain {
		return whisk.Errorf(whisk.Invalid, "neither certificates nor plain text was chosen for the sessions between roles")
	}
	return nil
}

// checkAddress refuses plain text with an address that others can reach.
// Addresses that are none of IP's, such as Unix sockets, do not leave the machine.
func (s Security) checkAddress(address net.Addr) error {
	if !s.plain {
		return nil
	}
	host, _, err := net.SplitHostPort(address.String())
	ip := net.ParseIP(host)
	if address.Network() != "tcp" && (err != nil || ip == nil) {
		return nil
	}
	if ip == nil || !ip.IsLoopback() {
		return whisk.Errorf(whisk.Invalid, "plain text is allowed on loopback addresses only, not on %s: give the roles certificates", address)
	}
	return nil
}

// protocolName is what TLS peers agree to speak.
const protocolName = "h2"

// proof is what a handshake proved about the peer.
type proof struct {
	credentials.CommonAuthInfo
	peer  *certs.Identity // nil in plain text
	until time.Time       // when the peer's certificate expires
	guest *visitor        // whose connection it is; nil at the dialler
}

// AuthType implements [credentials.AuthInfo].
func (proof) AuthType() string { return "whirl" }

func proven(state tls.ConnectionState) (proof, error) {
	certificate := state.PeerCertificates[0]
	peer, err := certs.IdentityOf(certificate)
	return proof{
		CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.PrivacyAndIntegrity},
		peer:           &peer,
		until:          certificate.NotAfter,
	}, err
}

func unproven() proof {
	return proof{CommonAuthInfo: credentials.CommonAuthInfo{SecurityLevel: credentials.NoSecurity}}
}

// handshakes are the parts of [credentials.TransportCredentials] that both sides share.
type handshakes struct{ security Security }

func (h handshakes) Info() credentials.ProtocolInfo {
	if h.security.plain {
		return credentials.ProtocolInfo{SecurityProtocol: "insecure"}
	}
	return credentials.ProtocolInfo{SecurityProtocol: "tls"}
}

func (handshakes) OverrideServerName(string) error { return nil }

func (handshakes) ClientHandshake(context.Context, string, net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("a server's credentials do not dial")
}

func (handshakes) ServerHandshake(net.Conn) (net.Conn, credentials.AuthInfo, error) {
	return nil, nil, errors.New("a client's credentials do not serve")
}

// clientHandshake is the credentials of one dialled connection. It remembers
// why the connection was refused, which gRPC tells only in its own words.
type clientHandshake struct {
	handshakes
	accept func(certs.Identity) error

	mu      sync.Mutex
	refusal error // Denied, or nil
}

func (h *clientHandshake) Clone() credentials.TransportCredentials { return h }

// ClientHandshake implements [credentials.TransportCredentials].
func (h *clientHandshake) ClientHandshake(ctx context.Context, _ string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	if h.security.plain {
		if err := h.security.checkAddress(raw.RemoteAddr()); err != nil {
			h.refuse(err)
			return nil, nil, err
		}
		return raw, unproven(), nil
	}
	conn := tls.Client(raw, h.security.source.Client(h.accept, protocolName))
	if err := conn.HandshakeContext(ctx); err != nil {
		h.notice(err)
		return nil, nil, err
	}
	who, err := proven(conn.ConnectionState())
	return &watched{Conn: conn, handshake: h}, who, err
}

// notice keeps an error that means that one side refused the other.
func (h *clientHandshake) notice(err error) {
	if refusal := refusalOf(err); refusal != nil {
		h.refuse(refusal)
	} else if whisk.KindOf(err) == whisk.Denied {
		h.refuse(fmt.Errorf("the peer's certificate is refused: %w", err))
	}
}

// refusalOf returns what a peer complains of in TLS, or nil. Package tls has no
// type for it.
func refusalOf(err error) error {
	if alert, ok := errors.AsType[*net.OpError](err); ok && alert.Op == "remote error" {
		return whisk.Errorf(whisk.Denied, "the peer refuses our certificate (%w)", alert.Err)
	}
	return nil
}

func (h *clientHandshake) refuse(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.refusal == nil {
		h.refusal = err
	}
}

func (h *clientHandshake) refused() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.refusal
}

// watched is a connection over which the peer may still refuse our certificate:
// in TLS 1.3 the client learns of that when it first reads.
type watched struct {
	net.Conn
	handshake *clientHandshake
	heard     atomic.Bool // something was read: the peer has accepted us
}

func (w *watched) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	if err != nil {
		w.handshake.notice(err)
	} else {
		w.heard.Store(true)
	}
	return n, err
}

// Write looks for the refusal if the peer has hung up already.
func (w *watched) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	if err != nil && !w.heard.Load() && w.SetReadDeadline(time.Now().Add(lastWords)) == nil {
		_, _ = w.Read(make([]byte, 1))
	}
	return n, err
}

// lastWords is how long what a peer said before it hung up may take to arrive.
const lastWords = 100 * time.Millisecond
