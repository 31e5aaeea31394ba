// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"

	"google.golang.org/grpc/credentials"

	"github.com/whirl-faas/whirl/whisk"
)

// preface is how every HTTP/2 client begins.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// serverHandshake is the credentials of a server: it finds out who comes before
// gRPC spends anything on the connection, and says in the log who is sent away.
// gRPC bounds the time that it takes.
type serverHandshake struct {
	handshakes
	complaints *complaints
}

func (h *serverHandshake) Clone() credentials.TransportCredentials { return h }

// ServerHandshake implements [credentials.TransportCredentials].
func (h *serverHandshake) ServerHandshake(raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, who, err := h.meet(raw)
	if err == nil {
		err = greet(conn)
	}
	guest := raw.(*visitor) // the gate lets in nobody else
	switch {
	case err == nil:
		guest.welcome()
		who.guest = guest
		return &greeted{conn, []byte(preface)}, who, nil
	case errors.Is(err, io.EOF): // as health checks do
		h.complaints.log.Debug("a peer went away before it said who it is", "from", raw.RemoteAddr().String())
	case !guest.sentAway():
		h.complaints.warn("connection refused", "from", raw.RemoteAddr().String(), "err", describe(err))
	}
	return nil, nil, err
}

func (h *serverHandshake) meet(raw net.Conn) (net.Conn, proof, error) {
	if h.security.plain {
		return raw, unproven(), nil
	}
	conn := tls.Server(raw, h.security.source.Server(protocolName))
	if err := conn.Handshake(); err != nil {
		return nil, proof{}, err
	}
	who, err := proven(conn.ConnectionState())
	return conn, who, err
}

// greet reads the preface, up to where it is another one.
func greet(conn net.Conn) error {
	got := make([]byte, 0, len(preface))
	for len(got) < len(preface) {
		n, err := conn.Read(got[len(got):cap(got)])
		got = got[:len(got)+n]
		if !bytes.HasPrefix([]byte(preface), got) {
			return whisk.Errorf(whisk.Invalid, "the peer does not speak gRPC: it began with %q", got)
		}
		if err != nil && len(got) < len(preface) {
			return err
		}
	}
	return nil
}

// describe says what a failed handshake means.
func describe(err error) error {
	if header, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return fmt.Errorf("the peer does not speak TLS: it began with %q", header.RecordHeader[:])
	}
	if refusal := refusalOf(err); refusal != nil {
		return refusal
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return errors.New("the peer did not say who it is in time")
	}
	return err
}

// greeted is a connection whose first bytes were read ahead.
type greeted struct {
	net.Conn
	ahead []byte
}

func (g *greeted) Read(p []byte) (int, error) {
	if len(g.ahead) > 0 {
		n := copy(p, g.ahead)
		g.ahead = g.ahead[n:]
		return n, nil
	}
	return g.Conn.Read(p)
}
