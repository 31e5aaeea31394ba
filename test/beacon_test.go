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
	runs map[whisk.ActivationID]int
	ran  chan whisk.ActivationID // gets each first run; has room for many
}

func startBeacon(t *testing.T) *beacon {
	t.Helper()
	b := &beacon{runs: map[whisk.ActivationID]int{}, ran: make(chan whisk.ActivationID, 10_000)}
	b.server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		id := whisk.ActivationID(r.URL.Query().Get("id"))
		b.mu.Lock()
		b.runs[id]++
		first := b.runs[id] == 1
		b.mu.Unlock()
		if first {
			b.ran <- id
		}
	}))
	t.Cleanup(b.server.Close)
	return b
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
		return id
	case <-time.After(30 * time.Second):
		t.Fatal("no activation begins to run")
		return ""
	}
}

// runsOf says how often an activation's code began to run.
func (b *beacon) runsOf(id whisk.ActivationID) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.runs[id]
}
