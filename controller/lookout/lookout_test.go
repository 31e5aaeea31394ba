// SPDX-License-Identifier: Apache-2.0

//go:build linux

package lookout_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller/lookout"
)

// counted is a connection that counts how often its reader is woken.
type counted struct {
	*net.UnixConn
	wakes int // read deadlines that had passed when they were set
}

func (c *counted) SetReadDeadline(t time.Time) error {
	if !t.After(time.Now()) {
		c.wakes++
	}
	return nil
}

// pair returns the two ends of a connection.
func pair(t *testing.T) (near, far *net.UnixConn) {
	t.Helper()
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	dialed, err := net.Dial("unix", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialed.Close(); accepted.Close() })
	return dialed.(*net.UnixConn), accepted.(*net.UnixConn)
}

func open(t *testing.T) *lookout.Lookout {
	t.Helper()
	l := lookout.New()
	t.Cleanup(func() { l.Crowd(nil) })
	return l
}

// In a crowd what comes for others is read when anybody reads or writes, and nothing else
// before Go looks.
func TestWhoIsWoken(t *testing.T) {
	for _, row := range []struct {
		name      string
		namespace string
		crowd     []string
		want      int
	}{
		{"nobody crowds others", "guest", nil, 0},
		{"others crowd", "guest", []string{"noisy"}, 1},
		{"it crowds others", "noisy", []string{"loud", "noisy"}, 0},
		{"nobody's", "", []string{"noisy"}, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			near, far := pair(t)
			busy, _ := pair(t)
			inner := &counted{UnixConn: near}
			synctest.Test(t, func(t *testing.T) {
				l := open(t)
				watched := l.Watch(inner, row.namespace)
				worker := l.Watch(busy, "noisy")
				l.Crowd(row.crowd)
				look(t, worker)
				if got := inner.wakes; got != 0 {
					t.Fatalf("woken %d times when nothing had come", got)
				}
				say(t, far)
				look(t, worker)
				look(t, worker)
				if got := inner.wakes; got != row.want {
					t.Errorf("woken %d times, want %d", got, row.want)
				}
				if err := watched.Close(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// look has the lookout look, by a write to one of its connections.
func look(t *testing.T, conn net.Conn) {
	t.Helper()
	time.Sleep(time.Millisecond)
	say(t, conn)
}

func say(t *testing.T, conn net.Conn) {
	t.Helper()
	if _, err := conn.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
}

// A connection that was there before the crowd is looked at like one that comes in it, and
// none is when the crowd has gone.
func TestCrowdsComeAndGo(t *testing.T) {
	before, beforeFar := pair(t)
	during, duringFar := pair(t)
	busy, _ := pair(t)
	early := &counted{UnixConn: before}
	newcomer := &counted{UnixConn: during}
	synctest.Test(t, func(t *testing.T) {
		l := open(t)
		l.Watch(early, "guest")
		worker := l.Watch(busy, "noisy")
		for i := range 3 {
			l.Crowd([]string{"noisy"})
			if i == 0 {
				l.Watch(newcomer, "guest")
			}
			say(t, beforeFar)
			say(t, duringFar)
			look(t, worker)
			if early.wakes != i+1 || newcomer.wakes != i+1 {
				t.Errorf("crowd %d: woken %d and %d times", i, early.wakes, newcomer.wakes)
			}
			l.Crowd(nil)
			say(t, beforeFar)
			say(t, duringFar)
			look(t, worker)
			if early.wakes != i+1 || newcomer.wakes != i+1 {
				t.Errorf("after crowd %d: woken %d and %d times", i, early.wakes, newcomer.wakes)
			}
		}
	})
}

// Looks have a pause between them.
func TestPause(t *testing.T) {
	near, far := pair(t)
	busy, _ := pair(t)
	inner := &counted{UnixConn: near}
	synctest.Test(t, func(t *testing.T) {
		l := open(t)
		l.Watch(inner, "guest")
		worker := l.Watch(busy, "noisy")
		l.Crowd([]string{"noisy"})
		look(t, worker)
		say(t, far)
		time.Sleep(99 * time.Microsecond)
		say(t, worker)
		if got := inner.wakes; got != 0 {
			t.Errorf("woken %d times after 99 µs", got)
		}
		time.Sleep(time.Microsecond)
		say(t, worker)
		if got := inner.wakes; got != 1 {
			t.Errorf("woken %d times after 100 µs, want once", got)
		}
	})
}

// Who reads a connection sees its deadlines, and never those by which it is woken.
func TestDeadlinesStayAsTheyWere(t *testing.T) {
	near, far := pair(t)
	watched := open(t).Watch(near, "guest")
	wake := func() {
		t.Helper()
		say(t, far)
		watched.(*lookout.Conn).WakeForTest()
	}
	read := func() error {
		t.Helper()
		_, err := watched.Read(make([]byte, 1))
		return err
	}

	wake()
	if err := read(); err != nil {
		t.Errorf("without a deadline: %v", err)
	}
	if err := watched.SetReadDeadline(time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	wake()
	if err := read(); err != nil {
		t.Errorf("before the deadline: %v", err)
	}
	wake()
	if err := watched.SetDeadline(time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := read(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the deadline, set when it had been woken: %v", err)
	}
	watched.(*lookout.Conn).WakeForTest()
	if err := read(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("after the deadline, and woken: %v", err)
	}
	if err := watched.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := read(); err != nil {
		t.Errorf("the deadline is no more: %v", err)
	}
}

// What is no socket is used as it is, and so is everything without a lookout.
func TestWhatCannotBeWatched(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	if got := open(t).Watch(near, "guest"); got != near {
		t.Errorf("a pipe became %T", got)
	}
	var none *lookout.Lookout
	socket, _ := pair(t)
	if got := none.Watch(socket, "guest"); got != net.Conn(socket) {
		t.Errorf("without a lookout a socket became %T", got)
	}
	none.Crowd([]string{"guest"})
}

// A server's clients are watched, and known by their last request.
func TestRequestsAreNoted(t *testing.T) {
	l := open(t)
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var seen *lookout.Conn
	server := &http.Server{
		ConnContext: lookout.With,
		ConnState: func(conn net.Conn, state http.ConnState) {
			if state == http.StateNew {
				seen = conn.(*lookout.Conn)
			}
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			namespace, refused := strings.CutSuffix(r.URL.Path[1:], "/refused")
			lookout.Note(r.Context(), namespace, refused)
		}),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l.Listener(inner)) }()
	defer func() { server.Close(); <-served }()
	for _, row := range []struct {
		path string
		want bool
	}{{"guest", false}, {"noisy", true}, {"guest/refused", true}, {"guest", false}, {"", false}} {
		res, err := http.Get("http://" + inner.Addr().String() + "/" + row.path)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if got := seen.MayWait(map[string]bool{"noisy": true}); got != row.want {
			t.Errorf("after %q its next request may wait: %v", row.path, got)
		}
	}
}
