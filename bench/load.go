// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"
	"github.com/whirl-faas/whirl/whisk"
)

// target is where load goes: one request, sent again and again.
type target struct {
	addresses []whisk.Address // connections are spread over them
	tls       bool
	uri       string
	auth      string // value of the Authorization header, "" for none
	body      []byte
	judge     func(status int, body []byte) verdict
}

// verdict is what an answer says.
type verdict struct {
	fault string // why it is an error; "" if it is good
	cold  bool   // the activation was a cold start
}

// tally is what a load came to.
type tally struct {
	took   time.Duration
	good   int64
	cold   int64 // good ones that were cold starts
	errors map[string]int64
	times  histogram // of good answers
}

func newTally() *tally { return &tally{errors: map[string]int64{}, times: newHistogram()} }

func (t *tally) merge(from *tally) {
	t.good += from.good
	t.cold += from.cold
	for cause, n := range from.errors {
		t.errors[cause] += n
	}
	t.times.merge(from.times)
}

// rate is the number of good answers per second.
func (t *tally) rate() float64 {
	if t.took <= 0 {
		return 0
	}
	return float64(t.good) / t.took.Seconds()
}

// load drives one target in a closed loop. Its connections stay open between
// rounds, as a real client's do.
type load struct {
	target  target
	timeout time.Duration
	ctx     context.Context // ends every connection
	clients []*fasthttp.HostClient
}

func newLoad(ctx context.Context, target target, concurrency int, timeout time.Duration) *load {
	l := &load{target: target, timeout: timeout, ctx: ctx}
	for _, address := range target.addresses {
		l.clients = append(l.clients, &fasthttp.HostClient{
			Addr:                      address.Address,
			IsTLS:                     target.tls,
			Dial:                      func(string) (net.Conn, error) { return l.dial(address) },
			MaxConns:                  concurrency,
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

// round keeps the given number of requests under way for a while and returns
// when all of them were answered.
func (l *load) round(concurrency int, duration time.Duration) *tally {
	var (
		workers sync.WaitGroup
		tallies = make([]*tally, concurrency)
		start   = time.Now()
		end     = start.Add(duration)
	)
	for i := range concurrency {
		workers.Go(func() { tallies[i] = l.worker(l.clients[i%len(l.clients)], end) })
	}
	workers.Wait()
	total := newTally()
	total.took = time.Since(start)
	for _, one := range tallies {
		total.merge(one)
	}
	return total
}

// worker is one connection's closed loop.
func (l *load) worker(client *fasthttp.HostClient, end time.Time) *tally {
	var (
		sum = newTally()
		req = fasthttp.AcquireRequest()
		res = fasthttp.AcquireResponse()
	)
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(res)
	l.target.fill(req)
	for start := time.Now(); start.Before(end) && l.ctx.Err() == nil; start = time.Now() {
		took, said := l.once(client, req, res, start)
		if l.ctx.Err() != nil {
			break // what was under way says nothing about the server
		}
		if said.fault != "" {
			sum.errors[said.fault]++
			l.pause()
			continue
		}
		sum.good++
		if said.cold {
			sum.cold++
		}
		sum.times.record(took)
	}
	return sum
}

// once sends one request and judges the answer.
func (l *load) once(client *fasthttp.HostClient, req *fasthttp.Request, res *fasthttp.Response, start time.Time) (time.Duration, verdict) {
	err := client.Do(req, res)
	took := time.Since(start)
	if err != nil {
		return took, verdict{fault: cause(err)}
	}
	return took, l.target.judge(res.StatusCode(), res.Body())
}

// pause keeps a worker from spinning while the server refuses everything.
func (l *load) pause() {
	select {
	case <-time.After(5 * time.Millisecond):
	case <-l.ctx.Done():
	}
}

func (t target) fill(req *fasthttp.Request) {
	req.Header.SetMethod(fasthttp.MethodPost)
	req.SetRequestURI(t.uri)
	req.Header.SetContentType("application/json")
	req.Header.Set("Accept", "application/json")
	if t.auth != "" {
		req.Header.Set("Authorization", t.auth)
	}
	req.SetBodyRaw(t.body)
}

// judgeRecord judges the answer to a blocking invoke: only the record of a
// success is good.
func judgeRecord(status int, body []byte) verdict {
	switch {
	case status == fasthttp.StatusAccepted:
		return verdict{fault: "not finished in time (202)"}
	case status != fasthttp.StatusOK:
		return verdict{fault: fmt.Sprintf("status %d", status)}
	case !bytes.Contains(body, []byte(`"success":true`)) || !bytes.Contains(body, []byte(`"activationId"`)):
		return verdict{fault: "answer is no record of a success"}
	}
	return verdict{cold: bytes.Contains(body, []byte(`"initTime"`))}
}

// judgeRun judges an action container's answer to /run.
func judgeRun(status int, body []byte) verdict {
	switch {
	case status != fasthttp.StatusOK:
		return verdict{fault: fmt.Sprintf("status %d", status)}
	case !bytes.Contains(body, []byte(`"ok"`)):
		return verdict{fault: "answer is not the no-op's"}
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
