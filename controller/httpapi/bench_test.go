// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/bench/cputime"
	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/whisk"
)

// nowhere is a ResponseWriter that costs nothing.
type nowhere struct{ header http.Header }

func (w nowhere) Header() http.Header         { return w.header }
func (w nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (w nowhere) WriteHeader(int)             {}

func benchRequest(method, path, body string) *http.Request {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Header.Set("Authorization", basic(guestUUID, guestKey))
	r.Header.Set("Content-Type", "application/json")
	return r
}

// serve sends the same request again and again.
func serve(p *platform, r *http.Request, body *strings.Reader, text string) {
	body.Reset(text)
	r.Body = io.NopCloser(body)
	w := nowhere{http.Header{}}
	p.handler.ServeHTTP(w, r)
}

// The cost of a request that does nothing: routing, authentication, headers.
func BenchmarkRouteAndAuthenticate(b *testing.B) {
	p := newPlatform(b)
	r := benchRequest("GET", root+"/namespaces", "")
	var body strings.Reader
	end := cputime.Report(b)
	for b.Loop() {
		serve(p, r, &body, "")
	}
	end()
}

// Routing alone, by hand and by http.ServeMux with the same patterns.
func BenchmarkServeMuxAlone(b *testing.B) {
	mux := http.NewServeMux()
	nothing := func(http.ResponseWriter, *http.Request) {}
	for _, pattern := range []string{
		"GET /{$}", "GET /ping", "GET /api/v1", "GET /api/v1/namespaces", "GET /api/v1/namespaces/{ns}/actions",
		"GET /api/v1/namespaces/{ns}/actions/{name}", "PUT /api/v1/namespaces/{ns}/actions/{name}", "POST /api/v1/namespaces/{ns}/actions/{name}",
		"DELETE /api/v1/namespaces/{ns}/actions/{name}", "POST /api/v1/namespaces/{ns}/actions/{pkg}/{name}", "GET /api/v1/namespaces/{ns}/activations/{id}",
	} {
		mux.HandleFunc(pattern, nothing)
	}
	r := benchRequest("POST", guest+"/actions/hello", "")
	w := nowhere{http.Header{}}
	end := cputime.Report(b)
	for b.Loop() {
		mux.ServeHTTP(w, r)
	}
	end()
}

// A whole blocking call on a balancer that answers at once, record included.
func BenchmarkBlockingInvoke(b *testing.B) {
	for name, path := range map[string]string{
		"record": guest + "/actions/hello?blocking=true",
		"result": guest + "/actions/hello?blocking=true&result=true",

		"packaged": guest + "/actions/p/hello?blocking=true&result=true",
		"bound":    guest + "/actions/b/hello?blocking=true&result=true",
		"sequence": guest + "/actions/s?blocking=true&result=true",
	} {
		b.Run(name, func(b *testing.B) {
			p := newPlatform(b)
			p.balancer.Quick = true
			p.must(200, "PUT", guest+"/actions/hello", hello)
			p.must(200, "PUT", guest+"/packages/p", `{"parameters":[{"key":"k","value":1}]}`)
			p.must(200, "PUT", guest+"/packages/b", `{"binding":{"namespace":"_","name":"p"}}`)
			p.must(200, "PUT", guest+"/actions/p/hello", hello)
			p.must(200, "PUT", guest+"/actions/s", sequence("/_/hello", "/_/p/hello"))
			measureCalls(b, p, path)
		})
	}
}

// measureCalls runs the platform, and one call after the other on it.
func measureCalls(b *testing.B, p *platform, path string) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.control.Run(ctx) }()
	r := benchRequest("POST", path, `{"name":"world"}`)
	var body strings.Reader
	end := cputime.Report(b)
	for b.Loop() {
		serve(p, r, &body, `{"name":"world"}`)
	}
	end()
	b.StopTimer()
	cancel()
	if err := <-done; err != nil {
		b.Error(err)
	}
}

// What it costs to refuse a call: at its limits, for what waits before it, and when
// all that is done for an activation has been done. It goes without net/http, which
// costs more than that.
func BenchmarkRefused(b *testing.B) {
	tooLate := func() error {
		return whisk.Later(whisk.Unavailable, time.Second, "Too many activations of this action are waiting for its containers: %d, and one more would wait for about %v.", 64, 4*time.Second)
	}
	unlimited := controllertest.Unthrottled().InvocationsPerMinute
	for name, row := range map[string]struct {
		calls   int
		crowded func(whisk.ActionKey, time.Duration) error
		refuse  func(*whisk.Invocation) error
	}{
		"throttled": {calls: 0},
		"crowded":   {calls: unlimited, crowded: func(whisk.ActionKey, time.Duration) error { return tooLate() }},
		"late":      {calls: unlimited, refuse: func(*whisk.Invocation) error { return tooLate() }},
	} {
		b.Run(name, func(b *testing.B) {
			p := newPlatform(b, func(c *controller.Config) { c.Limits.InvocationsPerMinute = row.calls })
			p.must(200, "PUT", guest+"/actions/hello", hello)
			p.balancer.Crowded, p.balancer.Refuse = row.crowded, row.refuse
			measureCalls(b, p, guest+"/actions/hello?blocking=true")
		})
	}
}

// A whole call of a web action by nobody in particular, record included.
func BenchmarkWebAction(b *testing.B) {
	p := newPlatform(b)
	p.balancer.Quick = true
	p.export("hello")
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.control.Run(ctx) }()
	r := benchRequest("GET", webRoot+"/hello.json?name=world", "")
	r.Header = http.Header{"Accept": {"*/*"}, "User-Agent": {"curl/8.5.0"}}
	var body strings.Reader
	end := cputime.Report(b)
	for b.Loop() {
		serve(p, r, &body, "")
	}
	end()
	b.StopTimer()
	cancel()
	if err := <-done; err != nil {
		b.Error(err)
	}
}

func BenchmarkInvokeWithoutHTTP(b *testing.B) {
	p := newPlatform(b)
	p.balancer.Quick = true
	p.must(200, "PUT", guest+"/actions/hello", hello)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.control.Run(ctx) }()
	caller, err := p.control.Authenticate(ctx, basic(guestUUID, guestKey))
	if err != nil {
		b.Fatal(err)
	}
	call := controller.Call{Caller: caller, Action: whisk.FullName{Namespace: "guest", Name: "hello"}, Payload: []byte(`{"name":"world"}`), Transaction: "tid"}
	end := cputime.Report(b)
	for b.Loop() {
		if _, err := p.control.Invoke(ctx, call, p.control.Limits().BlockingWait); err != nil {
			b.Fatal(err)
		}
	}
	end()
	b.StopTimer()
	cancel()
	<-done
}
