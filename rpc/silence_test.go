// SPDX-License-Identifier: Apache-2.0

package rpc_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc"

	"github.com/whirl-faas/whirl/rpc"
	"github.com/whirl-faas/whirl/rpc/certs"
	"github.com/whirl-faas/whirl/whisk"
)

// tap keeps what a client sent.
type tap struct {
	net.Conn
	mu   sync.Mutex
	sent bytes.Buffer
}

func (c *tap) Write(p []byte) (int, error) {
	c.mu.Lock()
	c.sent.Write(p)
	c.mu.Unlock()
	return c.Conn.Write(p)
}

// TestAReplayedConnection sends the bytes of a friend's session once more.
func TestAReplayedConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAuthority(t)
		var log journal
		s := serve(t, rpc.ServerConfig{
			Security: a.security(t, certs.Scheduler, "sched1"),
			Logger:   log.logger(),
			Handlers: rpc.Handlers{Controller: hold(make(chan whisk.SchedulerToController, 1))},
		})
		var tapped *tap
		d, err := rpc.NewDialer(a.security(t, certs.Controller, "ctl1"), func(ctx context.Context, address string) (net.Conn, error) {
			conn, err := s.dial(ctx, address)
			tapped = &tap{Conn: conn}
			return tapped, err
		})
		if err != nil {
			t.Fatal(err)
		}
		near, err := d.ControllerToScheduler(t.Context(), "scheduler")
		if err != nil {
			t.Fatal(err)
		}
		if err := near.Send(t.Context(), whisk.Register{Controller: "ctl1"}); err != nil {
			t.Fatal(err)
		}
		near.Close()
		conn, err := s.DialContext(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = conn.Write(tapped.sent.Bytes()) }() // it may be closed meanwhile
		_, _ = io.Copy(io.Discard, conn)
		conn.Close()
		synctest.Wait()
		if lines := log.lines(); len(lines) != 1 || !strings.Contains(lines[0], "connection refused") {
			t.Errorf("the log has %q, want one line", lines)
		}
		s.stop() // a second session would have blocked in its handler
	})
}

// frozen is a connection whose bytes get lost from some moment on.
type frozen struct {
	net.Conn
	lost   *atomic.Bool
	closed chan struct{}
	once   sync.Once
}

func (c *frozen) Write(p []byte) (int, error) {
	if c.lost.Load() {
		return len(p), nil
	}
	return c.Conn.Write(p)
}

func (c *frozen) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.lost.Load() {
		<-c.closed
		return 0, net.ErrClosed
	}
	return n, err
}

func (c *frozen) Close() error {
	c.once.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// TestASilentPeerIsNoticed cuts a connection so that neither side is told.
func TestASilentPeerIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		served := make(chan whisk.SchedulerToController, 1)
		s := serve(t, rpc.ServerConfig{Security: rpc.PlainLoopback(), Handlers: rpc.Handlers{Controller: hold(served)}})
		var lost atomic.Bool
		d, err := rpc.NewDialer(rpc.PlainLoopback(), func(ctx context.Context, address string) (net.Conn, error) {
			conn, err := s.dial(ctx, address)
			return &frozen{Conn: conn, lost: &lost, closed: make(chan struct{})}, err
		})
		if err != nil {
			t.Fatal(err)
		}
		near, err := d.ControllerToScheduler(t.Context(), "scheduler")
		if err != nil {
			t.Fatal(err)
		}
		if err := near.Send(t.Context(), whisk.Register{Controller: "ctl1"}); err != nil {
			t.Fatal(err)
		}
		far := <-served
		if _, err := far.Recv(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // a session in which nothing is said lives on
		if err := near.Send(t.Context(), whisk.KeepAlive{}); err != nil {
			t.Fatal(err)
		}
		if _, err := far.Recv(t.Context()); err != nil {
			t.Fatal(err)
		}
		lost.Store(true)
		began := time.Now()
		for side, recv := range map[string]func() error{
			"the controller": func() error { _, err := near.Recv(t.Context()); return err },
			"the scheduler":  func() error { _, err := far.Recv(t.Context()); return err },
		} {
			if err := recv(); whisk.KindOf(err) != whisk.Unavailable || err == io.EOF {
				t.Errorf("%s's session ended with %v, want unavailable", side, err)
			}
			if took := time.Since(began); took > 30*time.Second {
				t.Errorf("%s noticed after %v", side, took)
			}
		}
		near.Close()
		s.stop()
	})
}

// TestADialerSurvivesAHostileServer dials what is no role of ours.
func TestADialerSurvivesAHostileServer(t *testing.T) {
	for _, row := range []struct {
		name   string
		answer string // to whoever connects
		kind   whisk.Kind
		want   string
	}{
		{"it says nothing", "", whisk.Timeout, "no answer within"},
		{"it speaks HTTP/1", "HTTP/1.1 400 Bad Request\r\n\r\n", whisk.Unavailable, "connection broke"},
		{"it speaks garbage", strings.Repeat("garbage", 10_000), whisk.Unavailable, "connection broke"},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNetwork()
				var served sync.WaitGroup
				served.Go(func() {
					for {
						conn, err := n.Accept()
						if err != nil {
							return
						}
						served.Go(func() { _, _ = io.Copy(io.Discard, conn) }) // until the dialler gives up
						served.Go(func() { _, _ = io.WriteString(conn, row.answer) })
					}
				})
				began := time.Now()
				_, err := dialer(t, rpc.PlainLoopback(), n).ControllerToScheduler(t.Context(), "scheduler")
				if whisk.KindOf(err) != row.kind || !strings.Contains(err.Error(), row.want) {
					t.Errorf("the dial ended with %v (%v), want %v with %q", err, whisk.KindOf(err), row.kind, row.want)
				}
				if took := time.Since(began); took > 15*time.Second {
					t.Errorf("it took %v", took)
				}
				n.Close()
				n.cut()
				served.Wait()
			})
		})
	}
}

// TestADialerRefusesWhatItDoesNotUnderstand has a server speak gRPC, and nonsense in it.
func TestADialerRefusesWhatItDoesNotUnderstand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		server := grpc.NewServer(grpc.ForceServerCodecV2(raw{}), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
			for _, message := range [][]byte{[]byte("\x32\x02\x08\x07"), []byte("\xff\xff")} { // a keep-alive, and garbage
				if err := stream.SendMsg(message); err != nil {
					return err
				}
			}
			<-stream.Context().Done()
			return nil
		}))
		var serving sync.WaitGroup
		serving.Go(func() { _ = server.Serve(n.Listener) }) // until Stop
		near, err := dialer(t, rpc.PlainLoopback(), n).ControllerToScheduler(t.Context(), "scheduler")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := near.Recv(t.Context()); err != nil || got != (whisk.KeepAlive{Epoch: 7}) {
			t.Errorf("received %v, %v", got, err)
		}
		if got, err := near.Recv(t.Context()); whisk.KindOf(err) != whisk.Invalid || !strings.Contains(err.Error(), "not understood") {
			t.Errorf("received %v, %v; want invalid", got, err)
		}
		if err := near.Send(t.Context(), whisk.KeepAlive{}); whisk.KindOf(err) != whisk.Invalid {
			t.Errorf("a Send after that: %v", err)
		}
		near.Close()
		server.Stop()
		serving.Wait()
	})
}
