// SPDX-License-Identifier: Apache-2.0

package balancer_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// answer is what a container says, as raw HTTP.
type answer struct {
	raw   string
	after time.Duration
	hang  bool // says nothing more and keeps the connection
	drop  bool // closes the connection afterwards
}

func ok(body string) answer { return status(200, body) }

func status(code int, body string) answer {
	return answer{raw: fmt.Sprintf("HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s", code, len(body), body)}
}

// box is a container.
type box struct {
	whisk.Container
	dials, inits, runs, most atomic.Int32

	w          *world
	mu         sync.Mutex
	refusing   bool
	frozen     chan struct{} // closed on thaw; nil while it runs
	conns      []net.Conn
	active     int
	exit       *whisk.Exit
	suspendErr error
	resumeErr  error
	inspectErr error
	released   bool
	dead       bool
}

func (w *world) dialContainer(_ context.Context, address whisk.Address) (net.Conn, error) {
	x := w.box(whisk.ContainerID(address.Address))
	if x == nil {
		return nil, errors.New("no such container")
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.refusing {
		return nil, errors.New("connection refused")
	}
	near, far := net.Pipe()
	x.conns = append(x.conns, far)
	x.dials.Add(1)
	go x.serve(far)
	return near, nil
}

func (x *box) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		request, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return
		}
		if !x.awaitThaw() {
			return
		}
		x.count(request.URL.Path, +1)
		a := x.w.handle(x, request.URL.Path, body)
		time.Sleep(a.after)
		x.awaitThaw()
		_, err = io.WriteString(conn, a.raw)
		if a.hang {
			io.Copy(io.Discard, conn)
		}
		x.count(request.URL.Path, -1)
		if err != nil || a.drop || a.hang {
			return
		}
	}
}

// awaitThaw reports whether the process still lives.
func (x *box) awaitThaw() bool {
	x.mu.Lock()
	frozen := x.frozen
	x.mu.Unlock()
	if frozen != nil {
		<-frozen
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	return !x.dead
}

func (x *box) count(path string, by int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.active += by
	x.most.Store(max(x.most.Load(), int32(x.active)))
	if by > 0 && path == "/init" {
		x.inits.Add(1)
	}
	if by > 0 && path == "/run" {
		x.runs.Add(1)
	}
}

func (x *box) thaw() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.thawLocked()
}

func (x *box) thawLocked() {
	if x.frozen != nil {
		close(x.frozen)
		x.frozen = nil
	}
}

// kill ends the container's process.
func (x *box) kill() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.refusing, x.dead = true, true
	x.thawLocked()
	for _, conn := range x.conns {
		conn.Close()
	}
}
