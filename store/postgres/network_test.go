// SPDX-License-Identifier: Apache-2.0

//go:build database

package postgres_test

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/store/postgres"
	"github.com/whirl-faas/whirl/store/postgres/postgrestest"
	"github.com/whirl-faas/whirl/whisk"
)

// cable is a way to the server that can be cut: what is sent into a connection
// vanishes then, and nobody hears of it.
type cable struct {
	listener net.Listener
	server   string

	mu  sync.Mutex
	cut chan struct{} // closed when the connections of now are cut
}

func newCable(t *testing.T, server string) *cable {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	c := &cable{listener: listener, server: server, cut: make(chan struct{})}
	var carrying sync.WaitGroup
	carrying.Go(func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			carrying.Go(func() { c.carry(t, near) })
		}
	})
	t.Cleanup(func() { listener.Close(); c.sever(); carrying.Wait() })
	return c
}

// sever cuts the connections that there are.
func (c *cable) sever() {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.cut)
	c.cut = make(chan struct{})
}

// carry carries a connection until one side closes it.
func (c *cable) carry(t *testing.T, near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp", c.server)
	if err != nil {
		t.Error(err)
		return
	}
	defer far.Close()
	c.mu.Lock()
	cut := c.cut
	c.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { copyUntil(cut, far, near); far.Close() })
	copyUntil(cut, near, far)
	near.Close()
	both.Wait()
}

// copyUntil copies, and after the cut reads what comes and forgets it.
func copyUntil(cut <-chan struct{}, to io.Writer, from io.Reader) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		select {
		case <-cut:
		default:
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
	}
}

// TestSilentConnections has a connection that worked fall silent. Calls must end
// within their bounds, and the next ones find another way.
func TestSilentConnections(t *testing.T) {
	base, err := url.Parse(postgrestest.Schema(t, t.Name()))
	must(t, err)
	way := newCable(t, base.Host)
	base.Host = way.listener.Addr().String()
	config := postgres.Default()
	config.URL, config.Timeout, config.Connections = base.String(), time.Second, 2
	s, err := postgres.OpenLogs(config)
	must(t, err)
	eventually(t, "the tables are there", func() bool { return s.Ping(t.Context()) == nil })
	for n := range 2 {
		must(t, appendUntilDone(t.Context(), s, []whisk.LogEntry{entry(n, "x")}))
		way.sever()
		began := time.Now()
		err := s.AppendLogs(t.Context(), []whisk.LogEntry{entry(10+n, "x")})
		if took := time.Since(began); took > time.Minute {
			t.Errorf("it took %v", took)
		}
		if err != nil {
			wantUnavailable(t, err, "", "secret")
		}
		must(t, appendUntilDone(t.Context(), s, []whisk.LogEntry{entry(10+n, "x")}))
	}
	must(t, s.Close())
	if got := postgrestest.Query(t, base.String(), "SELECT count(*) FROM logs"); got != "4" {
		t.Errorf("%s entries are there, want 4", got)
	}
}
