// SPDX-License-Identifier: Apache-2.0

package fake

import (
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// pipe is one direction of a connection, or an output stream: a bounded buffer
// of bytes such as the kernel keeps, so that a writer gets rid of some bytes
// before anybody reads.
type pipe struct {
	limit int

	mu       sync.Mutex
	changed  sync.Cond // on mu: bytes, room, an end, or a deadline reached
	buffer   []byte
	ended    bool  // the writer wrote its last
	broken   error // the reader is gone, or both ends are cut
	readBy   deadline
	writeBy  deadline
	wakeOnce func()
}

func newPipe(limit int) *pipe {
	p := &pipe{limit: limit}
	p.changed.L = &p.mu
	p.wakeOnce = func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.changed.Broadcast()
	}
	return p
}

// Read blocks until there are bytes or the pipe ended.
func (p *pipe) Read(into []byte) (int, error) { return p.read(into, new(bool)) }

// read is Read by a process that may end: then gone, which mu guards, is set.
func (p *pipe) read(into []byte, gone *bool) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.buffer) == 0 || *gone {
		switch {
		case *gone:
			return 0, os.ErrClosed
		case p.broken != nil:
			return 0, p.broken
		case p.ended:
			return 0, io.EOF
		case p.readBy.reached():
			return 0, os.ErrDeadlineExceeded
		}
		p.changed.Wait()
	}
	n := copy(into, p.buffer)
	p.buffer = p.buffer[n:]
	if len(p.buffer) == 0 {
		p.buffer = nil
	}
	p.changed.Broadcast()
	return n, nil
}

// Write blocks while the buffer is full.
func (p *pipe) Write(from []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	written := 0
	for {
		switch {
		case p.broken != nil:
			return written, p.broken
		case p.ended:
			return written, io.ErrClosedPipe
		case p.writeBy.reached():
			return written, os.ErrDeadlineExceeded
		}
		n := min(len(from)-written, p.limit-len(p.buffer))
		p.buffer = append(p.buffer, from[written:written+n]...)
		written += n
		p.changed.Broadcast()
		if written == len(from) {
			return written, nil
		}
		p.changed.Wait()
	}
}

// end lets the reader finish what is there.
func (p *pipe) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	p.stopTimers()
	p.changed.Broadcast()
}

// cut drops what is there; both sides fail with err from now on.
func (p *pipe) cut(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.broken == nil {
		p.broken = err
	}
	p.buffer = nil
	p.stopTimers()
	p.changed.Broadcast()
}

func (p *pipe) stopTimers() {
	p.readBy.set(time.Time{}, nil)
	p.writeBy.set(time.Time{}, nil)
}

// output is the reading end of an output stream in one agent's hands.
type output struct {
	*pipe
	kept bool // what nobody read waits for the next agent
	gone bool // guarded by pipe.mu
}

func (o *output) Read(into []byte) (int, error) { return o.pipe.read(into, &o.gone) }

// Close tells the writer that nobody reads any more, unless another agent may.
func (o *output) Close() error {
	o.mu.Lock()
	o.gone = true
	o.changed.Broadcast()
	o.mu.Unlock()
	if !o.kept {
		o.cut(io.ErrClosedPipe)
	}
	return nil
}

// deadline is a moment that may be moved; the zero one never comes.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) set(at time.Time, wake func()) {
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.at = at; !at.IsZero() {
		d.timer = time.AfterFunc(time.Until(at), wake)
	}
}

func (d *deadline) reached() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

// conn is one end of a connection.
type conn struct {
	in, out *pipe
	address address
}

// socketBuffer is what one direction of a connection holds.
const socketBuffer = 208 << 10

func newConn(name string) (client, server *conn) {
	there, back := newPipe(socketBuffer), newPipe(socketBuffer)
	return &conn{back, there, address(name)}, &conn{there, back, address(name)}
}

func (c *conn) Read(b []byte) (int, error)  { return c.in.Read(b) }
func (c *conn) Write(b []byte) (int, error) { return c.out.Write(b) }

// Close ends what this side writes and refuses what the other side writes.
func (c *conn) Close() error {
	c.out.end()
	c.in.cut(net.ErrClosed)
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return c.address }
func (c *conn) RemoteAddr() net.Addr { return c.address }

func (c *conn) SetDeadline(t time.Time) error {
	_ = c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	c.in.readBy.set(t, c.in.wakeOnce)
	c.in.changed.Broadcast()
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.out.writeBy.set(t, c.out.wakeOnce)
	c.out.changed.Broadcast()
	return nil
}

type address string

func (address) Network() string  { return "memory" }
func (a address) String() string { return string(a) }
