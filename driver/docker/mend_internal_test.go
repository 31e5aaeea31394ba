// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/moby/moby/client"

	"github.com/whirl-faas/whirl/whisk"
)

// TestOneMendsForAll has several in need of a network that is gone: one at a time looks for
// it, once more if it went again meanwhile, and who comes after a failure has it tried again.
func TestOneMendsForAll(t *testing.T) {
	var looks atomic.Int64
	looked, goOn := make(chan bool), make(chan bool)
	engine := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case strings.HasSuffix(r.URL.Path, "/networks/gone"):
			looks.Add(1)
			looked <- true
			<-goOn
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"message": "network gone not found"}`))
		case strings.HasSuffix(r.URL.Path, "/networks/create"):
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"message": "Pool overlaps with other one on this address space"}`))
		}
	}))
	defer engine.Close()
	d := &Driver{config: Default(), log: slog.New(slog.DiscardHandler), network: "gone", life: t.Context()}
	d.addresses = newAddresses(netip.MustParsePrefix("192.0.2.0/24"), netip.MustParseAddr("192.0.2.1"))
	var err error
	if d.engine, err = client.New(client.WithHost("tcp://" + strings.TrimPrefix(engine.URL, "http://"))); err != nil {
		t.Fatal(err)
	}
	defer d.engine.Close()
	if err := d.ensureNetwork(t.Context()); err != nil || looks.Load() != 0 {
		t.Fatalf("nothing is known to be missing: %v, %d looks", err, looks.Load())
	}

	one := d.mends.join(d, false)
	<-looked
	if another := d.mends.join(d, false); another != one {
		t.Error("two mend at a time")
	}
	d.mendNetwork() // it went again
	goOn <- true
	<-looked
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.ensureNetwork(impatient); err == nil {
		t.Error("who gives up takes the network for there")
	}
	goOn <- true
	<-one.done
	if whisk.KindOf(one.err) != whisk.Unavailable || !strings.Contains(one.err.Error(), "Pool overlaps") {
		t.Errorf("the end of it is %v", one.err)
	}

	failed := make(chan error)
	go func() { failed <- d.ensureNetwork(t.Context()) }()
	<-looked
	goOn <- true
	if err := <-failed; whisk.KindOf(err) != whisk.Unavailable {
		t.Errorf("a later try: %v", err)
	}
	d.loops.Wait()
	if looks.Load() != 3 {
		t.Errorf("there were %d looks, want 3", looks.Load())
	}
}
