// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/client"
)

// TestHostileHTTP sends what no client library would. Each row is what goes out
// on one connection and the statuses that come back, before the server closes
// it or has nothing more to say.
func TestHostileHTTP(t *testing.T) {
	need(t, "node")
	p := start(t)
	p.create(t, "echo", client.ActionSpec{Exec: &client.Exec{Kind: "nodejs:default", Code: "function main(p) { return p }"}})

	head := "Host: x\r\nAuthorization: " + basicAuth(guestKey) + "\r\n"
	invoke := "POST /api/v1/namespaces/_/actions/echo?blocking=true&result=true HTTP/1.1\r\n" + head + "Content-Type: application/json\r\n"
	ping := "GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
	get := func(path string) string { return "GET " + path + " HTTP/1.1\r\n" + head + "\r\n" }
	for name, row := range map[string]struct {
		send string
		want []int
	}{
		"pipelined":                    {ping + get("/api/v1/namespaces") + ping, []int{200, 200, 200}},
		"HTTP/1.0":                     {"GET /ping HTTP/1.0\r\n\r\n", []int{200}},
		"HTTP/2 by guess":              {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", []int{404}},
		"no host":                      {"GET /ping HTTP/1.1\r\n\r\n", []int{400}},
		"no HTTP":                      {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", []int{400}},
		"a length and chunks":          {invoke + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n{\"a\":1}\r\n0\r\n\r\n" + ping, []int{200, 200}},
		"two lengths":                  {invoke + "Content-Length: 2\r\nContent-Length: 7\r\n\r\n{}{\"a\":1" + ping, []int{400}},
		"unknown transfer encoding":    {invoke + "Transfer-Encoding: xchunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", []int{501}},
		"broken chunk":                 {invoke + "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", []int{400}},
		"no chunks":                    {invoke + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", []int{200}},
		"asks before it sends":         {invoke + "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}", []int{100, 200}},
		"asks without credentials":     {"POST /api/v1/namespaces/_/actions/echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n", []int{401}},
		"expects something else":       {invoke + "Expect: miracles\r\nContent-Length: 2\r\n\r\n{}", []int{417}},
		"NUL in a header":              {"GET /ping HTTP/1.1\r\nHost: x\r\nX-A: a\x00b\r\n\r\n", []int{400}},
		"NUL in a name":                {get("/api/v1/namespaces/_/actions/a%00b"), []int{400}},
		"dots for a name":              {get("/api/v1/namespaces/_/actions/%2e%2e"), []int{400}},
		"dots in a path":               {get("/api/v1/namespaces/_/actions/../../../../etc/passwd"), []int{404}},
		"a slash in a name":            {get("/api/v1/namespaces/_/actions/a%2fb"), []int{400}},
		"a broken escape":              {get("/api/v1/namespaces/_/actions/a%zz"), []int{400}},
		"endless header":               {"GET /ping HTTP/1.1\r\nHost: x\r\nX-A: " + strings.Repeat("a", 1<<17), []int{431}},
		"long target":                  {get("/ping?" + strings.Repeat("a", 9000)), []int{414}},
		"proxy's target":               {get("http://elsewhere.example/api/v1/namespaces"), []int{200}},
		"proxy's method":               {"CONNECT elsewhere.example:443 HTTP/1.1\r\nHost: elsewhere.example:443\r\n\r\n", []int{405}},
		"headers only":                 {"HEAD /api/v1/namespaces HTTP/1.1\r\n" + head + "\r\n", []int{405}},
		"options of everything":        {"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", []int{200}},
		"hangs up in the body":         {invoke + "Content-Length: 100\r\n\r\n{", []int{400}},
		"hangs up in a chunk":          {invoke + "Transfer-Encoding: chunked\r\n\r\n64\r\n{", []int{400}},
		"body of 51 MB that only says": {"PUT /api/v1/namespaces/_/actions/big HTTP/1.1\r\n" + head + "Content-Type: application/json\r\nContent-Length: 53477376\r\n\r\n", []int{413}},
	} {
		t.Run(name, func(t *testing.T) {
			after := len(row.want)
			if strings.HasPrefix(name, "hangs up") {
				after = 0
			}
			if got := p.exchange(t, row.send, after); fmt.Sprint(got) != fmt.Sprint(row.want) {
				t.Errorf("statuses %v, want %v", got, row.want)
			}
		})
	}
	if err := p.Ping(t.Context()); err != nil {
		t.Error(err)
	}
}

// exchange sends text on a connection of its own, says that no more will come
// once it has that many answers, and returns the statuses of all that came.
func (p *platform) exchange(t *testing.T, text string, after int) (statuses []int) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(recordTime)); err != nil {
		t.Fatal(err)
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = io.WriteString(conn, text) // the server may have had enough before
	}()
	method, _, _ := strings.Cut(text, " ")
	for in := bufio.NewReader(conn); ; {
		if len(statuses) == after {
			<-sent
			_ = conn.(*net.TCPConn).CloseWrite()
		}
		res, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			return statuses
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil {
			t.Errorf("the answer broke off: %v", err)
		}
		statuses = append(statuses, res.StatusCode)
	}
}

// TestCallersThatGoAway wants the activations of clients that hung up in the
// middle of a blocking call to run to their end and to leave their records.
func TestCallersThatGoAway(t *testing.T) {
	p, b := startWorking(t)
	const callers = 4
	for range callers {
		conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		body := `{"ms":500}`
		if _, err := fmt.Fprintf(conn, "POST /api/v1/namespaces/_/actions/work?blocking=true HTTP/1.1\r\nHost: x\r\nAuthorization: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
			basicAuth(guestKey), len(body), body); err != nil {
			t.Fatal(err)
		}
		id := b.wait(t)
		if err := conn.(*net.TCPConn).SetLinger(0); err != nil { // with a reset, not a farewell
			t.Fatal(err)
		}
		conn.Close()
		if record := p.recordOf(t, id, recordTime); !record.Response.Success {
			t.Errorf("record %+v", record)
		}
	}
}
