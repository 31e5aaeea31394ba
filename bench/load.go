// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
	"github.com/whirl-faas/whirl/whisk"
)

// target is where load goes: some requests, sent in turns, again and again.
type target struct {
	addresses []whisk.Address // connections are spread over them
	tls       bool
	auth      string // value of the Authorization header, "" for none
	calls     []call
	judge     func(status int, body, want []byte) verdict
}

// call is a request.
type call struct {
	uri  string
	auth string // "" for the target's
	body []byte
	want []byte // in the body of a good answer
}

// load holds the connections to one target. They stay open between rounds, as a
// real client's do.
type load struct {
	target  target
	timeout time.Duration
	ctx     context.Context // ends every connection
	clients []*fasthttp.HostClient

	answered *atomic.Int64 // answers so far, good or not
}

// newLoad makes a load of at most so many connections to each address.
func newLoad(ctx context.Context, target target, connections int, timeout time.Duration) *load {
	l := &load{target: target, timeout: timeout, ctx: ctx, answered: new(atomic.Int64)}
	for _, address := range target.addresses {
		l.clients = append(l.clients, &fasthttp.HostClient{
			Addr:                      address.Address,
			IsTLS:                     target.tls,
			Dial:                      func(string) (net.Conn, error) { return l.dial(address) },
			MaxConns:                  connections,
			ReadTimeout:               timeout,
			WriteTimeout:              timeout,
			MaxIdleConnDuration:       time.Hour,
			MaxIdemponentCallAttempts: 1,
			RetryIfErr:                func(*fasthttp.Request, int, error) (bool, bool) { return false, false },
			NoDefaultUserAgentHeader:  true,
			DisablePathNormalizing:    true,
		})
	}
	return l
}

// dial opens a connection that breaks when the load's context ends: requests of
// fasthttp cannot be cancelled in any other way.
func (l *load) dial(address whisk.Address) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: l.timeout}).DialContext(l.ctx, address.Network, address.Address)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(l.ctx, func() { _ = conn.Close() })
	return &boundConn{Conn: conn, stop: stop}, nil
}

// boundConn forgets its context when it is closed.
type boundConn struct {
	net.Conn
	stop func() bool
}

func (c *boundConn) Close() error {
	c.stop()
	return c.Conn.Close()
}

func (l *load) close() {
	for _, client := range l.clients {
		client.CloseIdleConnections()
	}
}

// closed is the closed loop of so many connections.
func (l *load) closed(connections int) closedLoop {
	loop := closedLoop{ctx: l.ctx, next: new(atomic.Int64)}
	for i := range connections {
		loop.senders = append(loop.senders, l.sender(i))
	}
	return loop
}

// sender is connection i of the target.
func (l *load) sender(i int) sender {
	client := l.clients[i%len(l.clients)]
	return func(n int) verdict { return l.once(client, l.target.calls[n%len(l.target.calls)]) }
}

// placed sends by any connection that is free, of so many, and waits for one.
func (l *load) placed(connections int) sender {
	places := newPlaces(l.clients, connections)
	return func(n int) verdict {
		client := places.take()
		defer places.give(client)
		return l.once(client, l.target.calls[n%len(l.target.calls)])
	}
}

// once sends one request and judges the answer.
func (l *load) once(client *fasthttp.HostClient, call call) verdict {
	req, res := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(res)
	l.target.fill(req, call)
	if err := client.Do(req, res); err != nil {
		return verdict{fault: cause(err)}
	}
	l.answered.Add(1)
	return l.target.judge(res.StatusCode(), res.Body(), call.want)
}

func (t target) fill(req *fasthttp.Request, call call) {
	req.Header.SetMethod(fasthttp.MethodPost)
	req.SetRequestURI(call.uri)
	req.Header.SetContentType("application/json")
	req.Header.Set("Accept", "application/json")
	if auth := cmp.Or(call.auth, t.auth); auth != "" {
		req.Header.Set("Authorization", auth)
	}
	req.SetBodyRaw(call.body)
}

// judgeRecord judges the answer to a blocking invoke: only the record of a
// success is good.
func judgeRecord(status int, body, want []byte) verdict {
	switch {
	case status == fasthttp.StatusAccepted:
		return verdict{fault: "not finished in time (202)"}
	case status != fasthttp.StatusOK:
		return verdict{fault: fmt.Sprintf("status %d", status)}
	case !bytes.Contains(body, []byte(`"success":true`)) || !bytes.Contains(body, []byte(`"activationId"`)):
		return verdict{fault: "answer is no record of a success"}
	case !bytes.Contains(body, want):
		return verdict{fault: "answer has another result"}
	}
	return verdict{cold: bytes.Contains(body, []byte(`"initTime"`))}
}

// judgeRun judges an action container's answer to /run.
func judgeRun(status int, body, want []byte) verdict {
	switch {
	case status != fasthttp.StatusOK:
		return verdict{fault: fmt.Sprintf("status %d", status)}
	case !bytes.Contains(body, want):
		return verdict{fault: "answer has another result"}
	}
	return verdict{}
}

// cause sums up why a request failed, in few enough words to count by; "" if it
// did not.
func cause(err error) string {
	timeout, isTimeout := errors.AsType[interface {
		error
		Timeout() bool
	}](err)
	switch {
	case err == nil:
		return ""
	case errors.Is(err, fasthttp.ErrTimeout), errors.Is(err, os.ErrDeadlineExceeded), isTimeout && timeout.Timeout():
		return "timeout"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF),
		errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, fasthttp.ErrConnectionClosed):
		return "connection broken"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE), errors.Is(err, syscall.EADDRNOTAVAIL):
		return "load generator out of sockets"
	}
	return "no answer"
}
