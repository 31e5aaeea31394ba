// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/client"
	"github.com/whirl-faas/whirl/whisk"
)

// TestKilledWhileTriggersFire kills the platform while a trigger fires an action
// and a sequence of two runs of it, and starts it again on the same data.
func TestKilledWhileTriggersFire(t *testing.T) {
	need(t, "node")
	b := startBeacon(t)
	data := t.TempDir()
	p := startOn(t, data, "--sandbox-network", "host")
	spec := client.ActionSpec{Exec: &client.Exec{Kind: "nodejs:default", Code: b.action()}, Limits: &client.LimitsSpec{Memory: 128}}
	if _, err := p.CreateAction(t.Context(), "fired", spec); err != nil {
		t.Fatal(err)
	}
	for path, body := range map[string]string{
		"actions/chain": `{"exec":{"kind":"sequence","components":["/_/fired","/_/fired"]}}`,
		"triggers/t":    `{"parameters":[{"key":"ms","value":20}]}`,
	} {
		if got := p.send(t, "PUT", "/namespaces/_/"+path, body); got.status != 200 {
			t.Fatalf("put %s: %d %s", path, got.status, got.body)
		}
	}
	for _, action := range []string{"fired", "chain"} {
		if got := p.send(t, "PUT", "/namespaces/_/rules/"+action+"-rule", `{"trigger":"/_/t","action":"/_/`+action+`"}`); got.status != 200 {
			t.Fatalf("put a rule: %d %s", got.status, got.body)
		}
	}
	load := startLoad(t, b, p.fire)
	select {
	case <-load.enough:
	case <-time.After(2 * time.Minute):
		t.Fatal("the platform does not run what it accepts")
	}
	before := p.kill(t)
	fired := load.stop()
	t.Logf("%d firings were accepted", len(fired))

	p = startOn(t, data, "--sandbox-network", "host")
	before.checkGone(t, 10*time.Second)
	promised := p.checkFirings(t, fired)
	outcomes := map[string]int{}
	for id := range promised {
		record := p.recordOf(t, id, 2*time.Minute)
		outcomes[record.Name+": "+record.Response.Status]++
		if runs := b.runsOf(string(id)); record.Name == "fired" && (runs > 1 || record.Response.Success && runs != 1) {
			t.Errorf("activation %s ran %d times and its record says %q", id, runs, record.Response.Status)
		}
	}
	t.Logf("outcomes: %v", outcomes)
	if outcomes["fired: success"] == 0 || outcomes["chain: success"] == 0 {
		t.Error("nothing succeeded")
	}
	b.checkNothingRanTwice(t)
	for _, name := range []string{"t", "fired", "chain"} {
		checkNoDoubleRecords(t, p, name, nil)
	}
}

// fire fires the trigger t, as a load does.
func (p *platform) fire(ctx context.Context) (whisk.ActivationID, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url+"/api/v1/namespaces/_/triggers/t", strings.NewReader("{}"))
	if err != nil {
		return "", err
	}
	req.Header = http.Header{"Authorization": {basicAuth(guestKey)}, "Content-Type": {"application/json"}}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusAccepted {
		err = fmt.Errorf("fire: %s %s", res.Status, answer)
	}
	return whisk.ActivationID(res.Header.Get("X-Openwhisk-Activation-Id")), err
}

// checkFirings wants a record of each firing, which tells of both rules, and
// returns the activations that the records promise.
func (p *platform) checkFirings(t *testing.T, fired []whisk.ActivationID) map[whisk.ActivationID]bool {
	t.Helper()
	promised := map[whisk.ActivationID]bool{}
	for _, id := range fired {
		p.recordOf(t, id, time.Minute)
		var record struct{ Logs []string }
		if err := json.Unmarshal(p.send(t, "GET", "/namespaces/_/activations/"+string(id), "").body, &record); err != nil || len(record.Logs) != 2 {
			t.Fatalf("the firing %s has the lines %q, %v", id, record.Logs, err)
		}
		for _, line := range record.Logs {
			var entry struct {
				Success      bool
				ActivationID whisk.ActivationID
			}
			if err := json.Unmarshal([]byte(line), &entry); err != nil {
				t.Fatalf("line %q: %v", line, err)
			}
			if entry.Success { // else there was no room, which the line says
				promised[entry.ActivationID] = true
			}
		}
	}
	return promised
}

// checkNothingRanTwice looks at all runs, those of sequences' components too.
func (b *beacon) checkNothingRanTwice(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, runs := range b.runs {
		if runs > 1 {
			t.Errorf("activation %s ran %d times", id, runs)
		}
	}
}
