// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/whirl-faas/whirl/agent"
	"github.com/whirl-faas/whirl/agent/httpapi"
	"github.com/whirl-faas/whirl/driver/fake"
	"github.com/whirl-faas/whirl/whisk"
)

// FuzzRequest sends any path, query and headers to an agent that has nothing:
// every answer is one that docs/agent.md names, and every error is JSON.
func FuzzRequest(f *testing.F) {
	f.Add("GET", "/health", "", "operator", "application/json")
	f.Add("GET", "/suspend/c", "", "ctl", "")
	f.Add("GET", "/log/c", "activation=0123456789abcdef0123456789abcdef&namespace=guest&run=next&limit=10m&sentinels=true&failed=false", "ctl", "*/*")
	f.Add("GET", "/log/../c", "run=%31&limit=1e9", "operator", "")
	f.Add("PUT", "//resume///", ";;&&==", "", "")
	config := agent.Default()
	config.Node, config.Memory = "n", whisk.GB
	a, err := agent.New(config, agent.Deps{
		Driver:        fake.New(fake.Default()),
		Logs:          &logStore{},
		DialScheduler: func(context.Context) (whisk.AgentToScheduler, error) { return nil, http.ErrServerClosed },
		Logger:        slog.New(slog.DiscardHandler),
	})
	if err != nil {
		f.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- a.Run(ctx) }()
	f.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			f.Errorf("Run = %v", err)
		}
	})
	api, err := httpapi.New(httpapi.Default(), a, authorize, slog.New(slog.DiscardHandler))
	if err != nil {
		f.Fatal(err)
	}
	for starting := whisk.Unavailable; starting == whisk.Unavailable; {
		starting = whisk.KindOf(a.Resume(ctx, agent.Caller{Operator: true}, "none"))
	}
	statuses := map[int]bool{200: true, 400: true, 401: true, 403: true, 404: true, 405: true}
	f.Fuzz(func(t *testing.T, method, path, query, who, accept string) {
		r := &http.Request{Method: method, URL: &url.URL{Path: path, RawQuery: query}, Header: http.Header{"Who": {who}, "Accept": {accept}}}
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		var body map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatalf("%d %q: %v", w.Code, w.Body, err)
		}
		switch _, failed := body["error"].(string); {
		case !statuses[w.Code]:
			t.Errorf("status %d", w.Code)
		case failed != (w.Code != 200):
			t.Errorf("%d %s", w.Code, w.Body)
		case who == "" && w.Code != 401:
			t.Errorf("nobody is answered %d", w.Code)
		case w.Body.Len() > 4096:
			t.Errorf("an answer of %d bytes", w.Body.Len())
		}
	})
}
