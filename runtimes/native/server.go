// SPDX-License-Identifier: Apache-2.0

package native

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/whirl-faas/whirl/whisk"
)

// maxBody bounds a request in bytes. The platform's own limits are far below.
const maxBody = 128 << 20

// watchAfter is how long an operation takes before its client is watched. Most
// are far quicker, and watching is a read that would have to be taken back.
const watchAfter = 50 * time.Millisecond

// operation does what a request's body asks for until ctx ends, and returns what
// to answer. The body is the server's again when it returns. Errors are a
// [*refusal], or the client's fault.
type operation func(ctx context.Context, body []byte) ([]byte, error)

// newServer returns a server of operations by their path. An operation's context
// ends with ctx, and when its client goes away.
//
// It is fasthttp's: of a warm activation the server is most, and net/http's takes
// more than twice as much. It has no timeouts: the client decides when a
// connection ends.
func newServer(ctx context.Context, operations map[string]operation) *fasthttp.Server {
	return &fasthttp.Server{
		Handler: func(exchange *fasthttp.RequestCtx) {
			do, known := operations[string(exchange.Path())]
			switch {
			case !known:
				exchange.Error("404 page not found", http.StatusNotFound)
			case !exchange.IsPost():
				exchange.Response.Header.Set("Allow", http.MethodPost)
				exchange.Error("Method Not Allowed", http.StatusMethodNotAllowed)
			default:
				serve(ctx, exchange, do)
			}
		},
		Logger:                silent{},
		MaxRequestBodySize:    maxBody,
		NoDefaultServerHeader: true,
		NoDefaultDate:         true,
	}
}

// serve answers with what an operation returns.
func serve(ctx context.Context, exchange *fasthttp.RequestCtx, do operation) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	release := watch(exchange.Conn(), cancel)
	answer, err := do(ctx, exchange.PostBody())
	release()
	status := http.StatusOK
	if err != nil {
		status = http.StatusBadRequest
		if refused, ok := errors.AsType[*refusal](err); ok {
			status = refused.status
		}
		answer = whisk.ErrorResponse(whisk.DeveloperError, err.Error()).Result
	}
	exchange.SetStatusCode(status)
	exchange.SetContentType("application/json")
	exchange.Response.SetBodyRaw(answer)
}

// watch calls gone if the client has ended its connection, which it looks at only
// after a while. The function that it returns ends that, and waits for it.
func watch(conn net.Conn, gone func()) (release func()) {
	raw, err := rawOf(conn)
	if err != nil {
		return func() {}
	}
	var wg sync.WaitGroup
	wg.Add(1)
	timer := time.AfterFunc(watchAfter, func() {
		defer wg.Done()
		if hasEnded(raw) {
			gone()
		}
	})
	return func() {
		if timer.Stop() {
			return
		}
		conn.SetReadDeadline(time.Unix(1, 0)) // ends the waiting
		wg.Wait()
		conn.SetReadDeadline(time.Time{})
	}
}

func rawOf(conn net.Conn) (syscall.RawConn, error) {
	socket, ok := conn.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return socket.SyscallConn()
}

// hasEnded waits until there is something to be read from a connection, and
// reports whether that is its end. It takes nothing away.
func hasEnded(conn syscall.RawConn) bool {
	var n int
	var err error
	waited := conn.Read(func(fd uintptr) bool {
		var next [1]byte
		n, _, err = syscall.Recvfrom(int(fd), next[:], syscall.MSG_PEEK)
		return !errors.Is(err, syscall.EAGAIN)
	})
	return waited == nil && (n == 0 || err != nil)
}

// silent drops what a server says: what the proxy writes is the action's log.
type silent struct{}

// Printf implements [fasthttp.Logger].
func (silent) Printf(string, ...any) {}
