// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http/httputil"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/whirl-faas/whirl/whisk"
)

// How a request to a container fails. The difference decides whether another
// container may have the activation.
var (
	errRefused = errors.New("connection refused")  // nothing of the request arrived
	errBroken  = errors.New("connection broken")   // it may have been acted upon
	errLate    = errors.New("deadline passed")     // likewise
	errCut     = errors.New("connections are cut") // likewise; by ourselves
)

// excess is how much of an answer beyond its limit is read and thrown away to
// keep the connection; a longer one costs the connection.
const excess = 64 << 10

// quietFor is how long a connection may be idle before it is looked at for the
// container's having closed it: a request sent into the close is lost.
const quietFor = 100 * time.Millisecond

// wire is the HTTP connections to one container. It uses fasthttp's parser but
// not its client: a /run must never be repeated behind our back, an answer over
// the limit is truncated rather than refused, and no goroutine, timer or
// package-level pool may outlive a container.
type wire struct {
	dial    func(context.Context, whisk.Address) (net.Conn, error)
	address whisk.Address
	keep    time.Duration // an idle connection is good for this long; 0 for ever

	mu    sync.Mutex
	conns []*conn // all that are open; at most the container's concurrency
	shut  bool    // no new ones
}

type conn struct {
	net.Conn
	in        *bufio.Reader
	out       *bufio.Writer
	head      fasthttp.ResponseHeader
	deadline  time.Time // of the present request
	armed     time.Time // when the connection wakes who waits for it; see arm
	sent      int       // bytes of the present request that were written
	used      bool
	busy      bool      // guarded by wire.mu
	idleSince time.Time // guarded by wire.mu; zero until it was idle
}

// reply is a container's answer.
type reply struct {
	status    int
	body      []byte // not shared; at most the limit
	length    int64  // of the whole body as declared, or as far as it was read
	truncated bool
	whole     bool // the connection stands at the end of the answer
}

func newWire(dial func(context.Context, whisk.Address) (net.Conn, error), address whisk.Address, idle time.Duration) *wire {
	w := &wire{dial: dial, address: address}
	if address.Network == "tcp" {
		// OpenWhisk's nodejs runtimes close an idle connection after five
		// seconds, and a request that meets the close is lost.
		w.keep = idle
	}
	return w
}

// post sends one request and reads the answer, up to limit bytes of its body.
// The error is errRefused, errBroken, errLate or errCut, wrapped.
func (w *wire) post(ctx context.Context, path string, body []byte, deadline time.Time, limit whisk.Bytes) (reply, error) {
	for {
		cn, err := w.take(ctx, deadline)
		if err != nil {
			return reply{}, err
		}
		rep, again, err := w.over(cn, path, body, deadline, limit)
		if again && cn.used {
			continue // the container had closed this idle connection; nothing was sent
		}
		if err != nil && w.isShut() {
			return reply{}, fmt.Errorf("%w: %w", errCut, err)
		}
		return rep, err
	}
}

// over does one request over cn, which is kept if it stands at the end of the answer
// and closed if not, or if something panics.
func (w *wire) over(cn *conn, path string, body []byte, deadline time.Time, limit whisk.Bytes) (rep reply, again bool, err error) {
	reuse := false
	defer func() { w.put(cn, reuse) }()
	rep, again, err = cn.exchange(path, body, deadline, limit)
	reuse = err == nil && rep.whole && !cn.head.ConnectionClose() && cn.in.Buffered() == 0
	return rep, again, err
}

func (w *wire) take(ctx context.Context, deadline time.Time) (*conn, error) {
	w.mu.Lock()
	if w.shut {
		w.mu.Unlock()
		return nil, fmt.Errorf("%w: %w", errRefused, errCut)
	}
	if cn := w.idleLocked(time.Now()); cn != nil {
		w.mu.Unlock()
		return cn, nil
	}
	w.mu.Unlock()

	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	raw, err := w.dial(ctx, w.address)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRefused, err)
	}
	cn := &conn{Conn: raw, busy: true}
	cn.in = bufio.NewReader(cn)
	cn.out = bufio.NewWriter(cn)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.shut {
		raw.Close()
		return nil, fmt.Errorf("%w: %w", errRefused, errCut)
	}
	w.conns = append(w.conns, cn)
	return cn, nil
}

// idleLocked returns an idle connection, and closes those that are too old or
// that the container has closed.
func (w *wire) idleLocked(now time.Time) *conn {
	w.pruneLocked(now)
	for i := len(w.conns) - 1; i >= 0; i-- {
		cn := w.conns[i]
		if cn.busy {
			continue
		}
		if now.Sub(cn.idleSince) > quietFor && !quiet(cn.Conn) {
			cn.Close()
			w.conns = slices.Delete(w.conns, i, i+1)
			continue
		}
		cn.busy, cn.used, cn.sent = true, true, 0
		return cn
	}
	return nil
}

func (w *wire) pruneLocked(now time.Time) {
	if w.keep == 0 {
		return
	}
	w.conns = slices.DeleteFunc(w.conns, func(cn *conn) bool {
		old := !cn.busy && now.Sub(cn.idleSince) >= w.keep
		if old {
			cn.Close()
		}
		return old
	})
}

// prune closes connections that have been idle for too long.
func (w *wire) prune(now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pruneLocked(now)
}

func (w *wire) put(cn *conn, reuse bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !reuse || w.shut {
		cn.Close()
		w.conns = slices.DeleteFunc(w.conns, func(c *conn) bool { return c == cn })
		return
	}
	cn.busy, cn.idleSince = false, time.Now()
}

// close ends the idle connections and lets no new ones come. Requests under way
// are left to end.
func (w *wire) close() { w.end(func(cn *conn) bool { return !cn.busy }) }

// cut ends all connections and lets no new ones come: requests under way fail.
func (w *wire) cut() { w.end(func(*conn) bool { return true }) }

func (w *wire) end(which func(*conn) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.shut = true
	for _, cn := range w.conns {
		if which(cn) {
			cn.Close()
		}
	}
}

func (w *wire) isShut() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.shut
}

// arm sees to it that nothing waits for the connection beyond the deadline. Its
// timer is dear to move, and all requests have about the same time, so
// one that was set for an earlier request stays while it is half as far away as it
// should be. When it goes off, who waits looks at the clock, and sets it anew.
func (c *conn) arm(deadline time.Time) error {
	c.deadline = deadline
	if now := time.Now(); !c.armed.After(deadline) && c.armed.Sub(now) > deadline.Sub(now)/2 {
		return nil
	}
	return c.rearm()
}

func (c *conn) rearm() error {
	c.armed = c.deadline
	return c.SetDeadline(c.deadline)
}

// early reports whether err says that the time is over when it is not, and has
// the connection wait for the rest of it.
func (c *conn) early(err error) bool {
	return err != nil && c.armed.Before(c.deadline) && isTimeout(err) && c.rearm() == nil
}

// Read takes what has come.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	for n == 0 && c.early(err) {
		n, err = c.Conn.Read(p)
	}
	return n, err
}

// Write counts what leaves, so that a failed request that never left is told
// from one that did.
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	for c.early(err) {
		var more int
		more, err = c.Conn.Write(p[n:])
		n += more
	}
	c.sent += n
	return n, err
}

// exchange does one request. again says that not a byte of it was sent.
func (c *conn) exchange(path string, body []byte, deadline time.Time, limit whisk.Bytes) (_ reply, again bool, _ error) {
	if err := c.arm(deadline); err != nil {
		return reply{}, true, fmt.Errorf("%w: %w", errRefused, err)
	}
	if err := c.send(path, body); err != nil {
		if isTimeout(err) {
			return reply{}, false, fmt.Errorf("%w: %w", errLate, err)
		}
		if c.sent == 0 {
			return reply{}, true, fmt.Errorf("%w: %w", errRefused, err)
		}
		// It may have answered early, without reading all: see what it said.
	}
	rep, err := c.receive(limit)
	switch {
	case err == nil:
		return rep, false, nil
	case isTimeout(err):
		return reply{}, false, fmt.Errorf("%w: %w", errLate, err)
	default:
		return reply{}, false, fmt.Errorf("%w: %w", errBroken, err)
	}
}

func (c *conn) send(path string, body []byte) error {
	c.out.Reset(c)
	c.out.WriteString("POST ")
	c.out.WriteString(path)
	c.out.WriteString(" HTTP/1.1\r\nHost: action\r\nContent-Type: application/json\r\nAccept: application/json\r\nContent-Length: ")
	c.out.Write(strconv.AppendInt(c.out.AvailableBuffer(), int64(len(body)), 10))
	c.out.WriteString("\r\n\r\n")
	c.out.Write(body) // bufio keeps the first error for Flush
	return c.out.Flush()
}

func (c *conn) receive(limit whisk.Bytes) (reply, error) {
	for {
		if err := c.head.Read(c.in); err != nil {
			return reply{}, err
		}
		if status := c.head.StatusCode(); status >= 200 {
			return c.receiveBody(status, int64(limit))
		}
	}
}

func (c *conn) receiveBody(status int, limit int64) (rep reply, err error) {
	rep = reply{status: status, length: int64(c.head.ContentLength())}
	switch {
	case status == 204 || status == 304:
		rep.length, rep.whole = 0, true
		return rep, nil
	case rep.length == -1:
		err = rep.readUnknown(httputil.NewChunkedReader(c.in), limit)
		if err == nil && rep.whole {
			err = c.head.ReadTrailer(c.in)
		}
		return rep, err
	case rep.length < 0: // it ends when the connection does
		err = rep.readUnknown(c.in, limit)
		rep.whole = false
		return rep, err
	}
	rep.body = make([]byte, min(rep.length, limit))
	if _, err := io.ReadFull(c.in, rep.body); err != nil {
		return rep, err
	}
	left := rep.length - int64(len(rep.body))
	rep.truncated = left > 0
	if left <= excess {
		_, err := c.in.Discard(int(left))
		rep.whole = err == nil
	}
	return rep, nil
}

// readUnknown reads a body whose length nobody declared, and a bounded part of
// it beyond the limit, which it only counts.
func (r *reply) readUnknown(body io.Reader, limit int64) error {
	var text bytes.Buffer
	read, err := io.Copy(&text, io.LimitReader(body, limit))
	r.body, r.length = text.Bytes(), read
	if err != nil {
		return err
	}
	if read == limit {
		more, err := io.Copy(io.Discard, io.LimitReader(body, excess))
		r.length, r.truncated = read+more, more > 0
		r.whole = err == nil && more < excess
		return nil
	}
	r.whole = true
	return nil
}

func isTimeout(err error) bool {
	if errors.Is(err, fasthttp.ErrTimeout) {
		return true
	}
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}
