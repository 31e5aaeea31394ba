// SPDX-License-Identifier: Apache-2.0

package lookout

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Conn is a connection that a [Lookout] watches.
type Conn struct {
	socket
	lookout *Lookout
	fd      int

	namespace atomic.Pointer[string] // whose it is, "" for nobody's
	refused   atomic.Bool            // its last request

	mu    sync.Mutex
	until time.Time // the read deadline that was asked for
	woken bool      // the socket's is another, which has passed
}

// Read reads what has come.
func (c *Conn) Read(p []byte) (int, error) {
	c.lookout.look()
	for {
		n, err := c.socket.Read(p)
		if !errors.Is(err, os.ErrDeadlineExceeded) || !c.wasWoken() {
			return n, err
		}
	}
}

// Write sends p.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.socket.Write(p)
	c.lookout.look()
	return n, err
}

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until, c.woken = t, false
	return c.socket.SetDeadline(t)
}

// SetReadDeadline sets the deadline of reads.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until, c.woken = t, false
	return c.socket.SetReadDeadline(t)
}

// Close ends the connection.
func (c *Conn) Close() error {
	c.lookout.remove(c)
	return c.socket.Close()
}

// over is a deadline that has passed at any rate.
var over = time.Unix(1, 0)

// wake has who waits in Read try again, or who comes next.
func (c *Conn) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.woken = c.socket.SetReadDeadline(over) == nil
}

// wasWoken tells who met a deadline whether to try again.
func (c *Conn) wasWoken() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.woken {
		return false
	}
	c.woken = false
	return c.socket.SetReadDeadline(c.until) == nil
}

// MayWait reports whether what comes may wait while these namespaces crowd others:
// the connection is one of theirs, or its last request was refused.
func (c *Conn) MayWait(crowd map[string]bool) bool {
	return c.refused.Load() || crowd[*c.namespace.Load()]
}

func (c *Conn) note(namespace string, refused bool) {
	if known := c.namespace.Load(); known == nil || *known != namespace {
		c.namespace.Store(&namespace)
	}
	if c.refused.Load() != refused {
		c.refused.Store(refused)
	}
}

type contextKey struct{}

// With returns a context that carries the connection, for [Note]. It is a
// ConnContext of [http.Server].
func With(ctx context.Context, conn net.Conn) context.Context {
	if c, watched := conn.(*Conn); watched {
		return context.WithValue(ctx, contextKey{}, c)
	}
	return ctx
}

// Note tells of the connection that ctx carries, if it does, whose its last request was,
// "" for nobody's, and whether that was refused for there was too much to do. Its next request counts as of the same
// kind until it is known.
func Note(ctx context.Context, namespace string, refused bool) {
	if c, watched := ctx.Value(contextKey{}).(*Conn); watched {
		c.note(namespace, refused)
	}
}
