// SPDX-License-Identifier: Apache-2.0

package lookout

import (
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// pause is at least between two looks. What a look costs is a system call; what it
// saves is most of the time until Go's own look, some milliseconds.
const pause = 100 * time.Microsecond

// Lookout watches connections. All methods may be called concurrently; those of a nil
// one do nothing, and leave connections as they are.
type Lookout struct {
	begun time.Time                       // the zero of last
	crowd atomic.Pointer[map[string]bool] // the namespaces that may wait; nil while nobody waits for anybody
	last  atomic.Int64                    // when the latest look began, in ns

	mu    sync.Mutex
	conns map[int]*Conn // by descriptor
	epoll *epoll        // has all of conns; nil without a crowd, for it costs each of them something
}

// New returns a lookout that watches nothing yet. It never looks where the system has
// no epoll.
func New() *Lookout {
	return &Lookout{begun: time.Now(), conns: make(map[int]*Conn)}
}

// Crowd says which namespaces crowd others from now on. Their connections may wait;
// none do while there is no such namespace. Who does not need the lookout any more says
// that there are none.
func (l *Lookout) Crowd(namespaces []string) {
	if l == nil {
		return
	}
	var crowd map[string]bool
	for _, namespace := range namespaces {
		if crowd == nil {
			crowd = make(map[string]bool, len(namespaces))
		}
		crowd[namespace] = true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if crowd == nil {
		l.crowd.Store(nil)
		l.stopLocked()
		return
	}
	if l.epoll == nil {
		l.startLocked()
	}
	l.crowd.Store(&crowd)
}

// startLocked begins to look at all connections. Where the process has no descriptor
// left for that, Go's own look has to do.
func (l *Lookout) startLocked() {
	e, err := newEpoll()
	if err != nil {
		return
	}
	l.epoll = e
	for fd := range l.conns {
		_ = e.add(fd) // without room for it, Go's own look has to do
	}
}

func (l *Lookout) stopLocked() {
	if l.epoll != nil {
		l.epoll.close()
		l.epoll = nil
	}
}

// Listener returns inner with all its connections watched. Whose each is, [Note] tells.
func (l *Lookout) Listener(inner net.Listener) net.Listener {
	if l == nil {
		return inner
	}
	return listener{inner, l}
}

type listener struct {
	net.Listener
	lookout *Lookout
}

func (l listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return l.lookout.Watch(conn, ""), nil
}

// Watch returns a connection of a namespace, "" for none, that is watched until it is
// closed. What is no socket, or cannot be watched, is returned as it is.
func (l *Lookout) Watch(inner net.Conn, namespace string) net.Conn {
	s, is := inner.(socket)
	if l == nil || !is {
		return inner
	}
	c := &Conn{socket: s, lookout: l}
	c.note(namespace, false)
	if l.add(c) != nil {
		return inner
	}
	return c
}

func (l *Lookout) add(c *Conn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(fd uintptr) {
		l.mu.Lock()
		defer l.mu.Unlock()
		c.fd = int(fd)
		l.conns[c.fd] = c
		if l.epoll != nil {
			_ = l.epoll.add(c.fd)
		}
	})
}

// remove forgets a connection. That is before it is closed, and its descriptor another's.
func (l *Lookout) remove(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conns[c.fd] == c {
		delete(l.conns, c.fd)
	}
}

// look wakes who waits for a connection that has something to say, if that may not wait.
func (l *Lookout) look() {
	crowd := l.crowd.Load()
	if crowd == nil {
		return
	}
	now, last := int64(time.Since(l.begun)), l.last.Load()
	if now-last < int64(pause) || !l.last.CompareAndSwap(last, now) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.epoll == nil {
		return
	}
	for _, fd := range l.epoll.ready() {
		if c := l.conns[fd]; c != nil && !c.MayWait(*crowd) {
			c.wake()
		}
	}
}

// socket is what [Conn] needs of a connection.
type socket interface {
	net.Conn
	syscall.Conn
	CloseWrite() error
}
