// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/whirl-faas/whirl/controller/httpapi"
	"github.com/whirl-faas/whirl/controller/lookout"
)

// A connection belongs to the namespace of its last request: the caller's, or that of a
// web action. Whose last request was refused, for it asked for too much, may wait.
func TestConnectionsAreKnownByTheirRequests(t *testing.T) {
	p := newPlatform(t, allowed(4, 100, 0))
	p.run()
	p.must(200, "PUT", guest+"/actions/hello", hello)
	p.must(200, "PUT", guest+"/actions/page", `{"exec":{"kind":"nodejs:20","code":"x"},"annotations":[{"key":"web-export","value":true}]}`)

	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listener := &lastConn{Listener: lookout.New().Listener(inner)}
	server := httpapi.Server(p.handler, 100, slog.New(slog.DiscardHandler))
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	defer func() { server.Close(); <-served }()
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()

	call, page := guest+"/actions/hello?blocking=true", root+"/web/guest/default/page.http"
	for i, row := range []struct {
		method, path, auth string
		status             int
		guests, others     bool // may wait while such a namespace crowds others
	}{
		{"GET", "/ping", "", 200, false, false},
		{"POST", call, guestUUID, 200, true, false},
		{"GET", root + "/namespaces", "other-uuid", 200, false, true},
		{"GET", page, "", 204, true, false},
		{"GET", page, "other-uuid", 204, true, false},
		{"POST", call, guestUUID, 200, true, false},
		{"POST", call, guestUUID, 429, true, true},
		{"GET", guest + "/actions", guestUUID, 200, true, false},
	} {
		req, err := http.NewRequest(row.method, "http://"+inner.Addr().String()+row.path, strings.NewReader(""))
		if err != nil {
			t.Fatal(err)
		}
		if row.auth != "" {
			req.Header.Set("Authorization", basic(row.auth, guestKey))
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != row.status {
			t.Fatalf("%d: %s %s = %d %s", i, row.method, row.path, res.StatusCode, body)
		}
		conn := listener.last.Load()
		if got := conn.MayWait(map[string]bool{"guest": true}); got != row.guests {
			t.Errorf("%d: after %s %s what comes may wait for guest's: %v", i, row.method, row.path, got)
		}
		if got := conn.MayWait(map[string]bool{"other": true}); got != row.others {
			t.Errorf("%d: after %s %s what comes may wait for other's: %v", i, row.method, row.path, got)
		}
	}
}

// lastConn remembers the latest connection.
type lastConn struct {
	net.Listener
	last atomic.Pointer[lookout.Conn]
}

func (l *lastConn) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if watched, is := conn.(*lookout.Conn); is {
		l.last.Store(watched)
	}
	return conn, err
}
