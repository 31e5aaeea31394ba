// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// gate is a listener that bounds how many connections there are, and how many
// of them may still owe us the proof who they are. Strangers in great number
// push each other out, the one that has taken the longest first: a peer with a
// certificate needs milliseconds, who keeps a place for seconds wants just that.
type gate struct {
	net.Listener
	most          int // connections
	mostStrangers int
	complaints    *complaints

	mu        sync.Mutex
	closed    bool
	count     int
	strangers []*visitor // oldest first
}

// Accept implements [net.Listener].
func (g *gate) Accept() (net.Conn, error) {
	for {
		conn, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if v, out := g.enter(conn); v != nil {
			if out != nil {
				out.leave("too many connections at once do not say who they are")
			}
			return v, nil
		}
		g.complaints.warn("connection refused", "from", conn.RemoteAddr().String(), "err", "there are too many connections")
		_ = conn.Close() // it was never ours
	}
}

// enter counts a connection in, and says who has to make room for it. It
// returns nil if there is no room.
func (g *gate) enter(conn net.Conn) (v, out *visitor) {
	g.mu.Lock()
	defer g.mu.Unlock()
	full := g.count >= g.most
	if g.closed || full && len(g.strangers) == 0 {
		return nil, nil
	}
	if full || len(g.strangers) >= g.mostStrangers {
		out = g.strangers[0]
		out.pushed = true
		g.strangers = g.strangers[1:]
	}
	v = &visitor{Conn: conn, gate: g}
	g.strangers = append(g.strangers, v)
	g.count++
	return v, out
}

// Close implements [net.Listener]. Strangers are sent away, those who are known stay.
func (g *gate) Close() error {
	g.mu.Lock()
	g.closed = true
	strangers := g.strangers
	g.strangers = nil
	for _, v := range strangers {
		v.pushed = true
	}
	g.mu.Unlock()
	for _, v := range strangers {
		_ = v.Close() // nothing was said yet
	}
	return g.Listener.Close()
}

// visitor is a connection that the gate counts.
type visitor struct {
	net.Conn
	gate  *gate
	once  sync.Once
	asked atomic.Bool // for a session

	// Guarded by gate.mu.
	known  bool // it proved who it is
	pushed bool // sent away
}

// welcome says that the visitor is no stranger any more.
func (v *visitor) welcome() {
	v.gate.mu.Lock()
	defer v.gate.mu.Unlock()
	v.known = true
	v.gate.forgetLocked(v)
}

func (g *gate) forgetLocked(v *visitor) {
	if i := slices.Index(g.strangers, v); i >= 0 {
		g.strangers = slices.Delete(g.strangers, i, i+1)
	}
}

func (v *visitor) sentAway() bool {
	v.gate.mu.Lock()
	defer v.gate.mu.Unlock()
	return v.pushed
}

func (v *visitor) leave(why string) {
	v.gate.complaints.warn("connection refused", "from", v.RemoteAddr().String(), "err", why)
	_ = v.Close() // nothing was said yet
}

// Close implements [net.Conn].
func (v *visitor) Close() error {
	v.once.Do(func() {
		v.gate.mu.Lock()
		v.gate.count--
		v.gate.forgetLocked(v)
		known := v.known
		v.gate.mu.Unlock()
		if known && !v.asked.Load() {
			v.gate.complaints.warn("connection ended", "from", v.RemoteAddr().String(), "err", "it opened no session, or sent what is not gRPC")
		}
	})
	return v.Conn.Close()
}

// Complaints are bounded: who is refused must not fill our disk.
const (
	complaintsAtOnce = 20
	complaintsEvery  = 10 * time.Second
)

// complaints logs what strangers do wrong, so many lines in so much time. The
// first line after that says how many were left out.
type complaints struct {
	log *slog.Logger

	mu      sync.Mutex
	since   time.Time
	count   int
	dropped int
}

func (c *complaints) warn(message string, attrs ...any) {
	c.mu.Lock()
	if now := time.Now(); now.Sub(c.since) >= complaintsEvery {
		c.since, c.count = now, 0
	}
	if c.count++; c.count > complaintsAtOnce {
		c.dropped++
		c.mu.Unlock()
		return
	}
	dropped := c.dropped
	c.dropped = 0
	c.mu.Unlock()
	if dropped > 0 {
		attrs = append(attrs, "unsaid", dropped)
	}
	c.log.Warn(message, attrs...)
}
