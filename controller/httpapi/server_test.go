// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller/httpapi"
)

// pipes is a listener whose connections exist in memory alone.
type pipes struct {
	offered chan net.Conn
	closed  context.Context
	close   context.CancelFunc
}

func newPipes() *pipes {
	ctx, cancel := context.WithCancel(context.Background())
	return &pipes{make(chan net.Conn), ctx, cancel}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.offered:
		return conn, nil
	case <-p.closed.Done():
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.close(); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

func (p *pipes) dial() net.Conn {
	near, far := net.Pipe()
	p.offered <- far
	return near
}

// listen runs the API's server for clients that dial the pipes.
func listen(t *testing.T, p *platform) (listener *pipes, stop func()) {
	t.Helper()
	return listenTo(t, p.handler, 100, slog.New(slog.DiscardHandler))
}

func listenTo(t *testing.T, handler http.Handler, connections int, logger *slog.Logger) (listener *pipes, stop func()) {
	t.Helper()
	listener = newPipes()
	server := httpapi.Server(handler, connections, logger)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	return listener, func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != http.ErrServerClosed {
			t.Error(err)
		}
	}
}

// A client that goes on sending, or on not reading, for ever is let go after a
// time. With a pipe nothing is buffered: an answer that is not read is not written.
func TestSlowClientsAreLetGo(t *testing.T) {
	auth := "Host: x\r\nAuthorization: " + basic(guestUUID, guestKey) + "\r\n"
	for name, request := range map[string]string{
		"says nothing":          "",
		"half a header":         "GET / HTTP/1.1\r\nHos",
		"half a body":           "POST " + guest + "/actions/a HTTP/1.1\r\n" + auth + "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
		"does not read":         "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
		"does not read a large": "GET " + guest + "/actions/a HTTP/1.1\r\n" + auth + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlatform(t)
				p.must(200, "PUT", guest+"/actions/a", `{"exec":{"kind":"nodejs:20","code":"`+strings.Repeat("x", 1<<20)+`"}}`)
				listener, stop := listen(t, p)
				defer stop()
				conn := listener.dial()
				defer conn.Close()
				if _, err := io.WriteString(conn, request); err != nil {
					t.Fatal(err)
				}
				time.Sleep(10 * time.Minute)
				synctest.Wait()
				if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil && !errors.Is(err, io.ErrClosedPipe) {
					t.Fatal(err)
				}
				if _, err := io.ReadAll(conn); err != nil {
					t.Errorf("the connection is still open: %v", err)
				}
			})
		})
	}
}

// The server's own answer to OPTIONS * would lack what every answer has.
func TestOptionsOfEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener, stop := listen(t, newPlatform(t))
		defer stop()
		conn := listener.dial()
		defer conn.Close()
		if _, err := fmt.Fprint(conn, "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != 200 || res.Header.Get("X-Request-ID") == "" || res.Header.Get("Access-Control-Allow-Methods") != "OPTIONS, GET, POST" {
			t.Errorf("%d %v", res.StatusCode, res.Header)
		}
	})
}
