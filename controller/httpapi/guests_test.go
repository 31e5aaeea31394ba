// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"bufio"
	"bytes"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// guestConn is a client at the other end of a pipe.
type guestConn struct {
	net.Conn
	answers *bufio.Reader
}

func arrive(listener *pipes) guestConn {
	conn := listener.dial()
	synctest.Wait()
	return guestConn{conn, bufio.NewReader(conn)}
}

// ask sends a request and returns the status of its answer, 0 if there is none.
func (g guestConn) ask(path string) int {
	if _, err := io.WriteString(g, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		return 0
	}
	res, err := http.ReadResponse(g.answers, nil)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, res.Body)
	return res.StatusCode
}

// gone reports whether the server has closed the connection.
func (g guestConn) gone() bool {
	_ = g.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := g.answers.ReadByte()
	_ = g.SetReadDeadline(time.Time{})
	return err == io.EOF
}

// Where connections are all taken, a newcomer has that of who has been idle for
// longest; nobody who is being served has to go.
func TestIdleConnectionsMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leave := make(chan struct{})
		var log bytes.Buffer
		listener, stop := listenTo(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/slow" {
				<-leave
			}
		}), 3, slog.New(slog.NewTextHandler(&log, nil)))
		defer stop()
		busy, first, second := arrive(listener), arrive(listener), arrive(listener)
		answered := make(chan int)
		go func() { answered <- busy.ask("/slow") }()
		for _, idle := range []guestConn{second, first} {
			if got := idle.ask("/"); got != 200 {
				t.Fatalf("answered %d", got)
			}
			synctest.Wait() // until the server knows, too
		}
		third := arrive(listener)
		if third.ask("/") != 200 || first.gone() || !second.gone() {
			t.Error("the one that was idle for longest should have gone, and nobody else")
		}
		silent := arrive(listener) // in place of the first
		if !first.gone() || third.gone() {
			t.Error("again the one that was idle for longest should have gone")
		}
		third.ask("/")
		synctest.Wait()
		if arrive(listener).ask("/") != 200 || !silent.gone() || third.gone() {
			t.Error("who never said anything waits for longest")
		}
		close(leave)
		if got := <-answered; got != 200 {
			t.Errorf("who was served all the time was answered %d", got)
		}
		if strings.Count(log.String(), "too many connections") != 1 {
			t.Errorf("the log should be told once a minute: %s", log.String())
		}
	})
}

// Where all connections are at work, a newcomer is turned away at once, and can
// come again as soon as one is done.
func TestBusyConnectionsTurnNewcomersAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leave := make(chan struct{})
		listener, stop := listenTo(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-leave }), 2, slog.New(slog.DiscardHandler))
		defer stop()
		answered := make(chan int)
		for range 2 {
			busy := arrive(listener)
			go func() { answered <- busy.ask("/") }()
			synctest.Wait()
		}
		if !arrive(listener).gone() {
			t.Error("there is one more connection than there may be")
		}
		close(leave)
		for range 2 {
			if got := <-answered; got != 200 {
				t.Errorf("who was served was answered %d", got)
			}
		}
		synctest.Wait()
		if got := arrive(listener).ask("/"); got != 200 {
			t.Errorf("afterwards a newcomer is answered %d", got)
		}
	})
}

// A connection that is not used any more is closed after a while.
func TestIdleConnectionsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		listener, stop := listen(t, newPlatform(t))
		defer stop()
		idle := arrive(listener)
		if got := idle.ask("/ping"); got != 200 {
			t.Fatalf("answered %d", got)
		}
		time.Sleep(4 * time.Minute)
		if idle.gone() {
			t.Error("the connection is closed after 4 minutes")
		}
		time.Sleep(2 * time.Minute)
		if !idle.gone() {
			t.Error("the connection is open after 6 minutes")
		}
	})
}

// Headers have a bound, however many there are and however long one is.
func TestLargeHeadersAreRefused(t *testing.T) {
	for name, header := range map[string]string{
		"one":  "A: " + strings.Repeat("x", 80<<10) + "\r\n",
		"many": strings.Repeat("A: xxxxxxxxxxxxxxxxxxxx\r\n", 5000),
	} {
		synctest.Test(t, func(t *testing.T) {
			listener, stop := listen(t, newPlatform(t))
			defer stop()
			client := arrive(listener)
			go func() { _, _ = io.WriteString(client, "GET /ping HTTP/1.1\r\nHost: x\r\n"+header+"\r\n") }()
			res, err := http.ReadResponse(client.answers, nil)
			if err != nil || res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
				t.Errorf("%s: %v %v", name, res, err)
			}
			client.Close()
			time.Sleep(time.Second) // the server gives the client that long to read its answer
		})
	}
}
