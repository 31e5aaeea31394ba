// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package test

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/client"
)

// TestAlarmsSurvive kills the platform while an alarm fires each second, and starts it
// again on the same data: the alarm goes on, an alarm of a time in between is made up for, and
// no second is fired twice.
func TestAlarmsSurvive(t *testing.T) {
	need(t, "node")
	data := t.TempDir()
	p := startOn(t, data)
	for path, body := range map[string]string{
		"actions/act":   `{"exec":{"kind":"nodejs:default","code":"function main(p) { return p }"},"limits":{"memory":128}}`,
		"triggers/tick": `{"annotations":[{"key":"feed","value":"/whisk.system/alarms/alarm"}]}`,
		"triggers/once": `{"annotations":[{"key":"feed","value":"/whisk.system/alarms/once"}]}`,
	} {
		p.mustSend(t, "PUT", "/namespaces/_/"+path, body)
	}
	for _, trigger := range []string{"tick", "once"} {
		p.mustSend(t, "PUT", "/namespaces/_/rules/"+trigger+"-rule", `{"trigger":"/_/`+trigger+`","action":"/_/act"}`)
	}
	p.feed(t, "alarm", "CREATE", "tick", `"cron":"* * * * * *","trigger_payload":{"by":"tick"}`)
	eventually(t, time.Minute, "the alarm fires", func() bool { return len(p.starts(t, "tick")) >= 2 })
	p.feed(t, "once", "CREATE", "once", fmt.Sprintf(`"date":%d,"trigger_payload":"by date","deleteAfterFire":"rules"`, time.Now().Add(2*time.Second).UnixMilli()))
	p.kill(t)
	time.Sleep(3 * time.Second) // the time of the other alarm passes while nothing runs

	p = startOn(t, data)
	before := len(p.starts(t, "tick"))
	eventually(t, time.Minute, "the alarm goes on", func() bool { return len(p.starts(t, "tick")) >= before+2 })
	eventually(t, time.Minute, "the trigger that was fired is deleted", func() bool {
		return p.send(t, "GET", "/namespaces/_/triggers/once", "").status == 404 && p.send(t, "GET", "/namespaces/_/rules/once-rule", "").status == 404
	})
	if once := p.starts(t, "once"); len(once) != 1 {
		t.Errorf("the alarm of a date fired %d times", len(once))
	}
	p.feed(t, "alarm", "DELETE", "tick", `"x":1`)
	// Each firing is that of another second, of which the first one's may be a little past.
	fired := p.starts(t, "tick")
	if seconds := int((slices.Max(fired)-slices.Min(fired))/1000) + 2; len(fired) > seconds {
		t.Errorf("fired %d times in %d seconds: %v", len(fired), seconds, fired)
	}
	eventually(t, time.Minute, "what the alarms fired has run", func() bool {
		results := map[string]int{}
		for _, record := range p.recordsOf(t, "act") {
			results[string(record.Response.Result)]++
		}
		return results[`{"__ow_headers":{},"payload":"by date"}`] == 1 && results[`{"__ow_headers":{},"by":"tick"}`] >= 4
	})
}

// TestTheCatalogMayBeLeftOut starts a platform without the packages of whisk.system.
func TestTheCatalogMayBeLeftOut(t *testing.T) {
	p := start(t, "--catalog=false")
	if got := p.send(t, "GET", "/namespaces/whisk.system/packages", ""); got.status != 200 || string(got.body) != "[]" {
		t.Errorf("packages: %d %s", got.status, got.body)
	}
}

func (p *platform) mustSend(t *testing.T, method, path, body string) reply {
	t.Helper()
	got := p.send(t, method, path, body)
	if got.status != 200 {
		t.Fatalf("%s %s: %d %s", method, path, got.status, got.body)
	}
	return got
}

// feed calls a feed of the package alarms as clients do.
func (p *platform) feed(t *testing.T, feed, event, trigger, parameters string) {
	t.Helper()
	body := fmt.Sprintf(`{"authKey":%q,"lifecycleEvent":%q,"triggerName":"/_/%s",%s}`, guestKey, event, trigger, parameters)
	p.mustSend(t, "POST", "/namespaces/whisk.system/actions/alarms/"+feed+"?blocking=true", body)
}

// starts returns when an entity's activations began, in milliseconds.
func (p *platform) starts(t *testing.T, name string) (starts []int64) {
	t.Helper()
	for _, record := range p.recordsOf(t, name) {
		starts = append(starts, record.Start)
	}
	return starts
}

func (p *platform) recordsOf(t *testing.T, name string) (records []client.Activation) {
	t.Helper()
	got := p.mustSend(t, "GET", "/namespaces/_/activations?docs=true&limit=200&name="+name, "")
	if err := json.Unmarshal(got.body, &records); err != nil {
		t.Fatal(err)
	}
	return records
}
