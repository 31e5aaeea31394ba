// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
)

// TestAServerThatHangsHoldsNothingElseUp deletes at two servers, of which one never
// answers, until the other has answered everything.
func TestAServerThatHangsHoldsNothingElseUp(t *testing.T) {
	const each = 3 * cleanupAtOnce
	asked, deleted := make(chan string, each), make(chan string, each)
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Path
		<-r.Context().Done()
	}))
	defer hanging.Close()
	healthy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		deleted <- r.URL.Path
		_, _ = fmt.Fprint(w, `{"name":"x"}`)
	}))
	defer healthy.Close()
	var made leavings
	for name, server := range map[string]*httptest.Server{"platform": hanging, "versus": healthy} {
		e, err := newEndpoint(name, name, server.URL, "a:b")
		if err != nil {
			t.Fatal(err)
		}
		defer e.close()
		for i := range each {
			made.add(deployed{e, fmt.Sprintf("%s-%02d", name, i)})
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan []Left)
	go func() { done <- made.remove(ctx) }()
	for range each {
		<-deleted
	}
	for range cleanupAtOnce {
		<-asked
	}
	cancel()
	left := <-done
	if n := len(asked); n != 0 {
		t.Errorf("%d deletions more than %d were sent to a server that hangs", n, cleanupAtOnce)
	}
	// The last answers of the other one may have been under way when time was up.
	left = slices.DeleteFunc(left, func(one Left) bool { return one.Endpoint == healthy.URL })
	if len(left) != each {
		t.Fatalf("%d are left: %v", len(left), left)
	}
	for i, one := range left {
		if want := (Left{hanging.URL, fmt.Sprintf("platform-%02d", i)}); one != want {
			t.Errorf("got %v, want %v", one, want)
		}
	}
}
