// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// beacon is a server that actions call while they run, so that a test knows
// what really happened, whatever the platform says. Actions reach it only on
// platforms with --sandbox-network host.
type beacon struct {
	server *httptest.Server

	mu   sync.Mutex
	runs map[string]int // by what the action says that it runs
	ran  chan string    // gets each first run, if there is room
}

func startBeacon(t *testing.T) *beacon {
	t.Helper()
	b := &beacon{runs: map[string]int{}, ran: make(chan string, 10_000)}
	b.server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b.note(r.URL.Query().Get("id"))
	}))
	t.Cleanup(b.server.Close)
	return b
}

// note takes down a run.
func (b *beacon) note(id string) {
	b.mu.Lock()
	b.runs[id]++
	first := b.runs[id] == 1
	b.mu.Unlock()
	if !first {
		return
	}
	select {
	case b.ran <- id:
	default:
	}
}

// action is a nodejs program that calls the beacon as soon as it runs, works for
// its parameter ms and answers {"done": true}. Its logs tell the start.
func (b *beacon) action() string {
	return fmt.Sprintf(`
function main(p) {
    console.log("started");
    return new Promise((resolve, reject) => {
        const url = "%s/?id=" + process.env.__OW_ACTIVATION_ID;
        require("http").get(url, { agent: false }, (res) => {
            res.resume();
            setTimeout(() => resolve({ done: true }), p.ms || 0);
        }).on("error", reject);
    });
}`, b.server.URL)
}

// wait returns the next activation that begins to run.
func (b *beacon) wait(t *testing.T) whisk.ActivationID {
	t.Helper()
	select {
	case id := <-b.ran:
		return whisk.ActivationID(id)
	case <-time.After(30 * time.Second):
		t.Fatal("no activation begins to run")
		return ""
	}
}

// runsOf says how often an activation's code began to run.
func (b *beacon) runsOf(id string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.runs[id]
}
