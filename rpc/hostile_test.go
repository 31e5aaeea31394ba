// SPDX-License-Identifier: Apache-2.0

package rpc_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"

	"github.com/whirl-faas/whirl/rpc"
	"github.com/whirl-faas/whirl/rpc/certs"
	"github.com/whirl-faas/whirl/whisk"
)

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// http2 makes a frame of HTTP/2.
func http2(kind, flags byte, stream uint32, length int, payload string) string {
	header := []byte{byte(length >> 16), byte(length >> 8), byte(length), kind, flags}
	return string(binary.BigEndian.AppendUint32(header, stream)) + payload
}

// TestHostileBytes sends what is no session to a server, in plain text and in
// TLS, and wants a line in the log, the connection closed, and the server well.
func TestHostileBytes(t *testing.T) {
	const noTLS = "does not speak TLS"
	for _, row := range []struct {
		name      string
		bytes     string
		want, tls string // in the log without TLS and with it
	}{
		{"nothing", "", "in time", "in time"},
		{"garbage", "\x00\xff\x17garbage\r\n\r\n", "does not speak gRPC", noTLS},
		{"HTTP/1", "GET / HTTP/1.1\r\nHost: whirl\r\n\r\n", `it began with \"GET / HTTP`, noTLS},
		{"a proxy's greeting", "CONNECT scheduler:7000 HTTP/1.1\r\n\r\n", "does not speak gRPC", noTLS},
		{"half a greeting", preface[:10], "in time", noTLS},
		{"half a handshake", "\x16\x03\x01\x02\x00\x01\x00\x01", "does not speak gRPC", "in time"},
		{"a greeting and no more", preface, "opened no session", noTLS},
		{"garbage after the greeting", preface + strings.Repeat("garbage", 100), "not gRPC", noTLS},
		{"a huge frame", preface + http2(4, 0, 0, 0, "") + http2(0, 0, 1, 1<<24-1, strings.Repeat("x", 1<<15)), "not gRPC", noTLS},
		{"headers of no end", preface + http2(4, 0, 0, 0, "") + http2(1, 0, 1, 16000, strings.Repeat("\x00", 16000)), "not gRPC", noTLS},
	} {
		for _, secured := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, TLS %v", row.name, secured), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := newHostile(t, secured, rpc.Limits{})
					began := time.Now()
					h.throw(t, row.bytes)
					if took := time.Since(began); took > time.Minute {
						t.Errorf("the connection stayed for %v", took)
					}
					want := row.want
					if secured {
						want = row.tls
					}
					synctest.Wait()
					if lines := h.log.lines(); len(lines) != 1 || !strings.Contains(lines[0], want) {
						t.Errorf("the log has %q, want one line with %q", lines, want)
					}
					h.wantWell(t)
				})
			})
		}
	}
}

// hostile is a scheduler's server, what came to it, and a controller that is a friend.
type hostile struct {
	*running
	log    journal
	served atomic.Int32
	friend *rpc.Dialer
}

func newHostile(t testing.TB, secured bool, limits rpc.Limits) *hostile {
	h := &hostile{}
	server, friend := rpc.PlainLoopback(), rpc.PlainLoopback()
	if secured {
		a := newAuthority(t)
		server, friend = a.security(t, certs.Scheduler, "sched1"), a.security(t, certs.Controller, "ctl1")
	}
	h.running = serve(t, rpc.ServerConfig{
		Security: server,
		Limits:   limits,
		Logger:   h.log.logger(),
		Handlers: rpc.Handlers{Controller: func(ctx context.Context, stream whisk.SchedulerToController) error {
			h.served.Add(1)
			for {
				message, err := stream.Recv(ctx)
				if err != nil {
					return err
				}
				if alive, ok := message.(whisk.KeepAlive); ok {
					if err := stream.Send(ctx, alive); err != nil {
						return err
					}
				}
			}
		}},
	})
	h.friend = dialer(t, friend, h.network)
	return h
}

// throw writes bytes into a new connection and waits until it is closed.
func (h *hostile) throw(t testing.TB, text string) {
	t.Helper()
	conn, err := h.DialContext(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() { _, _ = io.WriteString(conn, text) }() // it may be closed meanwhile
	_, _ = io.Copy(io.Discard, conn)
}

// wantWell has a session with a friend, and stops the server.
func (h *hostile) wantWell(t testing.TB) {
	t.Helper()
	before := h.served.Load()
	h.greet(t)
	if h.served.Load() != before+1 {
		t.Errorf("%d sessions were served, want %d", h.served.Load(), before+1)
	}
	h.stop()
}

func (h *hostile) greet(t testing.TB) {
	t.Helper()
	near, err := h.friend.ControllerToScheduler(t.Context(), "scheduler")
	if err != nil {
		t.Fatalf("a friend does not get in: %v", err)
	}
	defer near.Close()
	for _, message := range []whisk.FactoryRequest{whisk.Register{Controller: "ctl1"}, whisk.KeepAlive{Epoch: 7}} {
		if err := near.Send(t.Context(), message); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := near.Recv(t.Context()); err != nil || got != (whisk.KeepAlive{Epoch: 7}) {
		t.Fatalf("a friend hears %v, %v", got, err)
	}
}

// TestManyConnections opens far more connections than are allowed, which say
// nothing. Friends get in nevertheless, and the log does not fill up.
func TestManyConnections(t *testing.T) {
	for _, secured := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS %v", secured), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHostile(t, secured, rpc.Limits{Connections: 100, Strangers: 50, Handshake: time.Hour})
				var silent []net.Conn
				for n := range 3000 {
					conn, err := h.DialContext(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					silent = append(silent, conn)
					if n%500 == 0 {
						h.greet(t)
					}
				}
				synctest.Wait()
				open := 0
				for _, conn := range silent {
					conn.SetReadDeadline(time.Now())
					if _, err := conn.Read(make([]byte, 1)); errors.Is(err, context.DeadlineExceeded) || isTimeout(err) {
						open++
					}
				}
				if open > 50 {
					t.Errorf("%d silent connections are open, want 50 at most", open)
				}
				if lines := h.log.lines(); len(lines) == 0 || len(lines) > 100 || !strings.Contains(lines[0], "too many") {
					t.Errorf("the log has %d lines about 3000 connections, first %q", len(lines), lines[0])
				}
				h.wantWell(t)
				for _, conn := range silent {
					conn.Close()
				}
			})
		})
	}
}

func isTimeout(err error) bool {
	var timeout interface{ Timeout() bool }
	return errors.As(err, &timeout) && timeout.Timeout()
}

// TestConnectionsOfFriendsAreBounded fills the server with sessions.
func TestConnectionsOfFriendsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHostile(t, true, rpc.Limits{Connections: 5})
		var sessions []whisk.ControllerToScheduler
		for range 5 {
			near, err := h.friend.ControllerToScheduler(t.Context(), "scheduler")
			if err != nil {
				t.Fatal(err)
			}
			if err := near.Send(t.Context(), whisk.Register{Controller: "ctl1"}); err != nil {
				t.Fatal(err)
			}
			sessions = append(sessions, near)
		}
		synctest.Wait()
		if _, err := h.friend.ControllerToScheduler(t.Context(), "scheduler"); whisk.KindOf(err) != whisk.Unavailable {
			t.Errorf("a sixth session: %v, want unavailable", err)
		}
		synctest.Wait()
		if lines := h.log.lines(); len(lines) == 0 || !strings.Contains(lines[0], "too many connections") {
			t.Errorf("the log has %q", lines)
		}
		for _, near := range sessions {
			near.Close()
		}
		synctest.Wait()
		h.wantWell(t)
	})
}

// raw sends and receives bytes as messages.
type raw struct{}

func (raw) Name() string { return "proto" }
func (raw) Marshal(v any) (mem.BufferSlice, error) {
	return mem.BufferSlice{mem.SliceBuffer(v.([]byte))}, nil
}
func (raw) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*[]byte) = data.Materialize()
	return nil
}

// sendRaw opens a session in plain text, sends messages as they are, and
// returns how the server ended it.
func (h *hostile) sendRaw(t testing.TB, messages ...[]byte) *status.Status {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///scheduler", grpc.WithContextDialer(h.dial),
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(raw{})))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/whirl.v1.ContainerFactory/Session")
	if err != nil {
		t.Fatal(err)
	}
	for _, message := range messages {
		if err := stream.SendMsg(message); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
	}
	for {
		var answer []byte
		if err := stream.RecvMsg(&answer); err != nil {
			return status.Convert(err)
		}
	}
}

// registration is the wire form of a Register of ctl1.
func registration() []byte { return []byte("\x0a\x06\x0a\x04ctl1") }

func TestHostileMessages(t *testing.T) {
	for _, row := range []struct {
		name     string
		messages [][]byte
		code     codes.Code
		want     string
		served   int32
	}{
		{"garbage", [][]byte{[]byte("\xff\xff\xff\xff")}, codes.InvalidArgument, "not understood", 0},
		{"an empty message", [][]byte{{}}, codes.InvalidArgument, "unknown kind", 0},
		{"a kind of the future", [][]byte{registration(), []byte("\xfa\x01\x00")}, codes.InvalidArgument, "unknown kind", 1},
		{"garbage after a good beginning", [][]byte{registration(), []byte("\x0a\xff")}, codes.InvalidArgument, "not understood", 1},
		{"an endless name", [][]byte{append([]byte("\x0a\x83\x04\x0a\x80\x04"), bytes.Repeat([]byte("a"), 512)...)}, codes.InvalidArgument, "more than 256", 0},
		{"an unknown reason", [][]byte{registration(), []byte("\x2a\x05\x0a\x01c\x10\x63")}, codes.InvalidArgument, "release reason: is of unknown kind 99", 1},
		{"a forgotten reason", [][]byte{registration(), []byte("\x2a\x03\x0a\x01c")}, codes.InvalidArgument, "release reason: is of unknown kind 0", 1},
		{"a path as a container", [][]byte{registration(), []byte("\x2a\x0b\x0a\x07../../x\x10\x01")}, codes.InvalidArgument, "letters, digits", 1},
		{"a million parts", [][]byte{registration(), bytes.Repeat([]byte("\x1a\x00"), 1_000_000)}, codes.InvalidArgument, "more than 200000 parts", 1},
		{"a message that is too large", [][]byte{registration(), make([]byte, rpc.MaxMessage+1)}, codes.ResourceExhausted, "larger than max", 1},
		{"nothing at all", nil, codes.DeadlineExceeded, "in time", 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHostile(t, false, rpc.Limits{})
				s := h.sendRaw(t, row.messages...)
				if s.Code() != row.code || !strings.Contains(s.Message(), row.want) {
					t.Errorf("the session ended with %v, want %v with %q", s, row.code, row.want)
				}
				synctest.Wait()
				if got := h.served.Load(); got != row.served {
					t.Errorf("%d sessions reached the role, want %d", got, row.served)
				}
				if lines := h.log.lines(); len(lines) != 1 || !strings.Contains(lines[0], row.want) {
					t.Errorf("the log has %q, want one line with %q", lines, row.want)
				}
				h.wantWell(t)
			})
		})
	}
}

// TestARoleThatIsToldNonsense has a role end a session because of what it heard,
// which is understood on the wire.
func TestARoleThatIsToldNonsense(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log journal
		s := serve(t, rpc.ServerConfig{
			Security: rpc.PlainLoopback(),
			Logger:   log.logger(),
			Handlers: rpc.Handlers{Controller: func(ctx context.Context, stream whisk.SchedulerToController) error {
				if _, err := stream.Recv(ctx); err != nil {
					return err
				}
				return whisk.Errorf(whisk.Invalid, "that container is on two nodes")
			}},
		})
		near, err := dialer(t, rpc.PlainLoopback(), s.network).ControllerToScheduler(t.Context(), "scheduler")
		if err != nil {
			t.Fatal(err)
		}
		if err := near.Send(t.Context(), whisk.Register{Controller: "ctl1"}); err != nil {
			t.Fatal(err)
		}
		if got, err := near.Recv(t.Context()); err != io.EOF {
			t.Errorf("received %v, %v", got, err)
		}
		synctest.Wait()
		if lines := log.lines(); len(lines) != 1 || !strings.Contains(lines[0], "peer=ctl1") || !strings.Contains(lines[0], "on two nodes") {
			t.Errorf("the log has %q, want one line", lines)
		}
		near.Close()
		s.stop()
	})
}

// FuzzConnection throws bytes at a server in plain text, where they get
// furthest. It has to stay well.
func FuzzConnection(f *testing.F) {
	settings := http2(4, 0, 0, 0, "")
	for _, seed := range []string{"", "GET / HTTP/1.1\r\n\r\n", preface, preface + settings, preface + settings + http2(1, 4, 1, 1, "\x82"),
		preface + settings + http2(0, 1, 1, 5, "\x00\x00\x00\x00\x01"), "\x16\x03\x01\x00\x05hello"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		synctest.Test(t, func(t *testing.T) {
			h := newHostile(t, false, rpc.Limits{})
			h.throw(t, string(data))
			h.wantWell(t)
		})
	})
}
