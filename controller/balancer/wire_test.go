// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/whirl-faas/whirl/whisk"
)

// socketServer hands every request to serve over a real socket; serve writes the
// answer and says whether the connection stays.
func socketServer(t *testing.T, network string, serve func(conn net.Conn, body []byte) bool) (w *wire, accepted *atomic.Int32) {
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	accepted = new(atomic.Int32)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			accepted.Add(1)
			go func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				for {
					request, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					body, err := io.ReadAll(request.Body)
					if err != nil || !serve(conn, body) {
						return
					}
				}
			}()
		}
	}()
	dial := func(ctx context.Context, a whisk.Address) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, a.Network, a.Address)
	}
	w = newWire(dial, whisk.Address{Network: network, Address: listener.Addr().String()}, 3*time.Second)
	t.Cleanup(w.cut)
	return w, accepted
}

func post(t *testing.T, w *wire, body []byte, patience time.Duration) (reply, error) {
	t.Helper()
	return w.post(t.Context(), "/run", body, time.Now().Add(patience), whisk.MB)
}

// A connection that the container closed while it was idle is found out before
// anything is sent on it.
func TestHalfClosedConnection(t *testing.T) {
	for _, network := range []string{"unix", "tcp"} {
		t.Run(network, func(t *testing.T) {
			closed := make(chan struct{}, 2)
			w, accepted := socketServer(t, network, func(conn net.Conn, body []byte) bool {
				io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
				conn.Close()
				closed <- struct{}{}
				return false
			})
			for range 2 {
				if _, err := post(t, w, []byte("{}"), 10*time.Second); err != nil {
					t.Fatal(err)
				}
				<-closed
				w.age(time.Second)
			}
			if n := accepted.Load(); n != 2 {
				t.Errorf("%d connections", n)
			}
		})
	}
}

// age makes idle connections look older.
func (w *wire) age(by time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, cn := range w.conns {
		cn.idleSince = cn.idleSince.Add(-by)
	}
}

// brokenConn breaks down when its answer is read.
type brokenConn struct {
	net.Conn
	closed bool
}

func (*brokenConn) Write(p []byte) (int, error)   { return len(p), nil }
func (*brokenConn) Read([]byte) (int, error)      { panic("broken invariant") }
func (*brokenConn) SetDeadline(_ time.Time) error { return nil }
func (c *brokenConn) Close() error                { c.closed = true; return nil }

// What a panic leaves of an exchange is not the beginning of another.
func TestPanicClosesTheConnection(t *testing.T) {
	cn := new(brokenConn)
	w := newWire(func(context.Context, whisk.Address) (net.Conn, error) { return cn, nil }, whisk.Address{}, 0)
	defer func() {
		if recover() == nil || !cn.closed || len(w.conns) != 0 {
			t.Errorf("closed: %v, %d connections are kept", cn.closed, len(w.conns))
		}
	}()
	post(t, w, []byte("{}"), time.Minute)
}

// Bodies of megabytes go both ways over one connection.
func TestBigBodies(t *testing.T) {
	big := bytes.Repeat([]byte("x"), 3<<20)
	w, accepted := socketServer(t, "unix", func(conn net.Conn, body []byte) bool {
		if !bytes.Equal(body, big) {
			t.Errorf("%d bytes arrived", len(body))
		}
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n")
		conn.Write(body[:1<<20])
		return true
	})
	for range 3 {
		rep, err := post(t, w, big, 10*time.Second)
		if err != nil || len(rep.body) != 1<<20 || rep.truncated {
			t.Fatalf("%d bytes, truncated %v, %v", len(rep.body), rep.truncated, err)
		}
	}
	if accepted.Load() != 1 {
		t.Errorf("%d connections", accepted.Load())
	}
}

func TestDeadlineOnSockets(t *testing.T) {
	release := make(chan struct{})
	w, _ := socketServer(t, "unix", func(net.Conn, []byte) bool { <-release; return false })
	defer close(release)
	begin := time.Now()
	_, err := post(t, w, []byte("{}"), time.Second)
	if !errors.Is(err, errLate) || time.Since(begin) > time.Minute {
		t.Errorf("%v after %v", err, time.Since(begin))
	}
}

func TestCut(t *testing.T) {
	arrived, release := make(chan struct{}), make(chan struct{})
	w, _ := socketServer(t, "unix", func(net.Conn, []byte) bool { close(arrived); <-release; return false })
	defer close(release)
	go func() {
		<-arrived
		w.cut()
	}()
	if _, err := post(t, w, nil, time.Minute); !errors.Is(err, errCut) || errors.Is(err, errRefused) {
		t.Errorf("under way: %v", err)
	}
	if _, err := post(t, w, nil, time.Minute); !errors.Is(err, errRefused) {
		t.Errorf("afterwards: %v", err)
	}
}

func TestNobodyListens(t *testing.T) {
	dial := func(ctx context.Context, a whisk.Address) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, a.Network, a.Address)
	}
	w := newWire(dial, whisk.Address{Network: "unix", Address: filepath.Join(t.TempDir(), "none")}, 0)
	if _, err := post(t, w, nil, time.Second); !errors.Is(err, errRefused) {
		t.Errorf("%v", err)
	}
}

// A part of a big answer that is thrown away keeps the connection if it is small.
func TestExcess(t *testing.T) {
	for _, test := range []struct {
		over  int
		conns int32
	}{{excess, 1}, {excess + 1, 2}} {
		w, accepted := socketServer(t, "unix", func(conn net.Conn, body []byte) bool {
			text := bytes.Repeat([]byte("y"), 100+test.over)
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: "+itoa(len(text))+"\r\n\r\n")
			conn.Write(text)
			return true
		})
		for range 2 {
			rep, err := w.post(t.Context(), "/run", nil, time.Now().Add(10*time.Second), 100)
			if err != nil || !rep.truncated || len(rep.body) != 100 || rep.length != int64(100+test.over) {
				t.Fatalf("%+v, %v", rep, err)
			}
		}
		if accepted.Load() != test.conns {
			t.Errorf("%d over: %d connections, want %d", test.over, accepted.Load(), test.conns)
		}
	}
}

func itoa(n int) string { text, _ := json.Marshal(n); return string(text) }

// FuzzAnswer sends anything as a container's answer: it never panics or hangs,
// and what comes of it is a response with a JSON result within bounds.
func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		"", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\n\r\n[1]", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 502 X\r\nContent-Length: 13\r\n\r\n{\"error\":\"x\"}",
		"HTTP/1.0 200 OK\r\nConnection: close\r\nContent-Length: 999999999999\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", "\x00\xff\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	const limit = 64
	f.Fuzz(func(t *testing.T, answer []byte) {
		synctest.Test(t, func(t *testing.T) {
			dial := func(context.Context, whisk.Address) (net.Conn, error) {
				near, far := net.Pipe()
				go func() {
					defer far.Close()
					if _, err := http.ReadRequest(bufio.NewReader(far)); err == nil {
						far.Write(answer)
					}
				}()
				return near, nil
			}
			w := newWire(dial, whisk.Address{}, 0)
			defer w.cut()
			rep, err := w.post(t.Context(), "/run", nil, time.Now().Add(time.Second), limit)
			if err != nil {
				return
			}
			if len(rep.body) > limit {
				t.Fatalf("%d bytes over a limit of %d", len(rep.body), limit)
			}
			for _, response := range []whisk.Response{runResponse(rep, limit), initResponse(rep, limit)} {
				if !json.Valid(response.Result) {
					t.Fatalf("no JSON: %q", response.Result)
				}
			}
		})
	})
}

// FuzzInspect holds the peek into results against a reader that decodes them.
func FuzzInspect(f *testing.F) {
	for _, seed := range []string{`{}`, `[]`, `{"error":1}`, `{"a":{"error":2},"error":null}`, `{"error":1,"error":[2]}`, `{"\u0065rror":{}}`, `{"a":"\"error\":"}`, `1`, `{"a":}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if !utf8.Valid(body) {
			return // decoders differ in how they mend it
		}
		body = bytes.TrimSpace(body)
		got, valid := inspect(body)
		composite := len(body) > 0 && (body[0] == '{' || body[0] == '[')
		if want := composite && json.Valid(body); valid != want {
			t.Fatalf("valid %v, want %v: %q", valid, want, body)
		}
		var fields map[string]json.RawMessage
		if !valid || json.Unmarshal(body, &fields) != nil {
			return
		}
		if want := fields["error"]; !bytes.Equal(got, want) {
			t.Fatalf("error %q, want %q in %q", got, want, body)
		}
	})
}

func TestTooDeep(t *testing.T) {
	nested := func(n int) []byte { return []byte(strings.Repeat("[", n) + strings.Repeat("]", n)) }
	if _, valid := inspect(nested(maxDepth)); !valid {
		t.Error("the deepest is refused")
	}
	if _, valid := inspect(nested(maxDepth + 1)); valid {
		t.Error("deeper is taken")
	}
	text := `{"text":"` + strings.Repeat(`[\"{\\`, maxDepth) + `"}`
	if _, valid := inspect([]byte(text)); !valid {
		t.Error("brackets in a text count")
	}
}
