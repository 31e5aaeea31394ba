// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// clock times what an activation's container does.
type clock struct {
	mu        sync.Mutex
	parts     map[string]*part // by the action's name
	byAddress map[whisk.Address]*part
	spare     int
	asleep    int           // suspended since the start, less those resumed
	making    int           // creations under way
	most      int           // of them at once
	changed   chan struct{} // closed and replaced when spare or asleep changes
}

// part is a container's times. create is 0 if it was made in advance.
type part struct{ create, init, run time.Duration }

func (c *clock) of(name string) part {
	c.mu.Lock()
	defer c.mu.Unlock()
	if one := c.parts[name]; one != nil {
		return *one
	}
	return part{}
}

func (c *clock) awaitSpare(n int) { c.await(func() bool { return c.spare >= n }) }

func (c *clock) await(enough func() bool) {
	for {
		c.mu.Lock()
		done, changed := enough(), c.changed
		c.mu.Unlock()
		if done {
			return
		}
		<-changed
	}
}

func (c *clock) tellLocked() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// timed is a driver whose creations are timed.
type timed struct {
	whisk.Driver
	clock *clock
}

func (d timed) Create(ctx context.Context, req whisk.CreateSandbox) (whisk.Sandbox, error) {
	c := d.clock
	c.mu.Lock()
	c.making++
	c.most = max(c.most, c.making)
	c.mu.Unlock()
	start := time.Now()
	box, err := d.Driver.Create(ctx, req)
	took := time.Since(start)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.making--
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(req.Label, "prewarm") {
		took = 0
		c.spare++
		c.tellLocked()
	}
	c.byAddress[box.Address()] = &part{create: took}
	return sleeper{box, c}, nil
}

func (c *clock) dial(ctx context.Context, address whisk.Address) (net.Conn, error) {
	conn, err := dialContainer(ctx, address)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return &timedConn{Conn: conn, clock: c, part: c.byAddress[address]}, nil
}

// timedConn times the first two requests of a connection, from the first byte that is
// sent to the first that comes.
type timedConn struct {
	net.Conn
	clock *clock
	part  *part
	began time.Time // of the request that is under way; zero if none is
	asked int
}

func (t *timedConn) Write(p []byte) (int, error) {
	if t.began.IsZero() {
		t.began = time.Now()
		t.asked++
		if t.asked == 2 {
			t.note(p)
		}
	}
	return t.Conn.Write(p)
}

// note finds out whose container it became: /run names the action.
func (t *timedConn) note(request []byte) {
	_, after, found := bytes.Cut(request, []byte(`"action_name":"/guest/`))
	if !found {
		return
	}
	name, _, _ := bytes.Cut(after, []byte(`"`))
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	t.clock.parts[string(name)] = t.part
	if t.part.create == 0 {
		t.clock.spare--
	}
}

func (t *timedConn) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	if n > 0 && !t.began.IsZero() {
		took := time.Since(t.began)
		t.began = time.Time{}
		t.clock.mu.Lock()
		defer t.clock.mu.Unlock()
		switch t.asked {
		case 1:
			t.part.init = took
		case 2:
			t.part.run = took
		}
	}
	return n, err
}
