// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/driver/fake"
	"github.com/whirl-faas/whirl/surface"
	"github.com/whirl-faas/whirl/whisk"
)

// serving has the surface serve connections in memory.
func serving(t *testing.T, change func(*setup), test func(b *bench, l *listener)) {
	t.Helper()
	inBubble(t, change, func(b *bench) {
		l := newListener()
		ctx, stop := context.WithCancel(b.Context())
		ended := make(chan error)
		go func() { ended <- surface.Serve(ctx, l, b.api, b.bounds, slog.New(slog.DiscardHandler)) }()
		test(b, l)
		stop()
		if err := <-ended; err != nil {
			b.Errorf("Serve = %v", err)
		}
	})
}

const healthRequest = "GET /health HTTP/1.1\r\nHost: x\r\nWho: operator\r\n\r\n"

func ask(t *testing.T, conn net.Conn, text string) *http.Response {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || !strings.HasSuffix(string(body), "}\n") {
		t.Errorf("%q: %v", body, err)
	}
	return resp
}

// closedAfter returns how long it takes until the other side closes.
func closedAfter(t *testing.T, conn net.Conn) time.Duration {
	t.Helper()
	began := time.Now()
	if _, err := io.Copy(io.Discard, conn); err != nil {
		t.Logf("read: %v", err)
	}
	return time.Since(began)
}

func TestServe(t *testing.T) {
	serving(t, nil, func(b *bench, l *listener) {
		conn := l.dial(b.T)
		for range 3 { // of one connection
			if resp := ask(t, conn, healthRequest); resp.StatusCode != 200 {
				t.Error(resp.Status)
			}
		}
		if resp := ask(t, conn, strings.Replace(healthRequest, "operator", "", 1)); resp.StatusCode != 401 || resp.Header.Get("WWW-Authenticate") == "" {
			t.Error(resp.Status)
		}
		if took := closedAfter(t, conn); took != time.Minute {
			t.Errorf("an idle connection is kept for %v", took)
		}
	})
}

func TestSlowClients(t *testing.T) {
	serving(t, nil, func(b *bench, l *listener) {
		silent := l.dial(b.T)
		if took := closedAfter(t, silent); took != 5*time.Second {
			t.Errorf("a silent client is kept for %v", took)
		}
		dripping := l.dial(b.T)
		began := time.Now()
		for {
			if _, err := io.WriteString(dripping, "G"); err != nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		if took := time.Since(began); took > 21*time.Second { // net.Pipe keeps nothing, so the server's 400 waits too
			t.Errorf("a dripping client is kept for %v", took)
		}
		deaf := l.dial(b.T)
		if _, err := io.WriteString(deaf, healthRequest); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour) // it does not read, and net.Pipe keeps nothing for it
		if _, err := io.WriteString(deaf, "x"); err == nil {
			t.Error("a client that does not read is kept for an hour")
		}
	})
}

func TestHostileRequests(t *testing.T) {
	serving(t, nil, func(b *bench, l *listener) {
		b.create("c", "")
		for name, text := range map[string]string{
			"garbage":       "\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
			"endless line":  "GET /" + strings.Repeat("a", 1<<20),
			"endless head":  "GET /health HTTP/1.1\r\nHost: x\r\nA: " + strings.Repeat("a", 1<<20),
			"many headers":  "GET /health HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("A: b\r\n", 100_000),
			"endless body":  "GET /health HTTP/1.1\r\nHost: x\r\nWho: operator\r\nContent-Length: 99999999999\r\n\r\n" + strings.Repeat("a", 1<<20),
			"endless chunk": "GET /health HTTP/1.1\r\nHost: x\r\nWho: operator\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n" + strings.Repeat("a", 1<<20),
			"two lengths":   "GET /health HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\naa",
			"no host":       "GET /health HTTP/1.1\r\n\r\n",
			"other version": "GET /health HTTP/9.9\r\nHost: x\r\n\r\n",
		} {
			conn := l.dial(b.T)
			done := make(chan struct{})
			go func() {
				defer close(done)
				_, _ = io.WriteString(conn, text) // it may be cut off
			}()
			if took := closedAfter(t, conn); took > 70*time.Second {
				t.Errorf("%s: the connection is kept for %v", name, took)
			}
			_ = conn.Close()
			<-done
		}
		if resp := ask(t, l.dial(b.T), healthRequest); resp.StatusCode != 200 {
			t.Errorf("afterwards: %s", resp.Status)
		}
	})
}

func TestConnectionsAreBounded(t *testing.T) {
	serving(t, func(s *setup) { s.api.Connections = 3 }, func(b *bench, l *listener) {
		for range 3 {
			l.dial(b.T)
		}
		synctest.Wait()
		if took := closedAfter(t, l.dial(b.T)); took != 0 {
			t.Errorf("one too many is kept for %v", took)
		}
		time.Sleep(10 * time.Second) // the silent ones are closed
		if resp := ask(t, l.dial(b.T), healthRequest); resp.StatusCode != 200 {
			t.Error(resp.Status)
		}
	})
}

// TestStopWaits ends the server while a resume is under way.
func TestStopWaits(t *testing.T) {
	serving(t, func(s *setup) {
		s.driver.Script.Suspend = func(*rand.Rand, whisk.ContainerID) fake.Operation { return fake.Operation{Delay: 3 * time.Second} }
	}, func(b *bench, l *listener) {
		b.create("c", "")
		conn := l.dial(b.T)
		if _, err := io.WriteString(conn, strings.Replace(healthRequest, "/health", "/suspend/c", 1)); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		answered := make(chan string)
		go func() {
			line, _ := bufio.NewReader(conn).ReadString('\n') // what is read of it says enough
			answered <- line
		}()
		b.Cleanup(func() {
			if line := <-answered; !strings.Contains(line, "204") {
				t.Errorf("the answer is %q", line)
			}
		})
	})
}
