// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/whisk"
)

// ended has actions end as the member "end" of their arguments says.
func ended(_ context.Context, inv *whisk.Invocation, run controllertest.RunBody) whisk.Outcome {
	var arguments struct{ End string }
	if err := json.Unmarshal(run.Value, &arguments); err != nil {
		return controllertest.Outcome(inv, whisk.ErrorResponse(whisk.WhiskError, err.Error()))
	}
	status := map[string]whisk.Status{"error": whisk.ApplicationError, "fault": whisk.DeveloperError, "lost": whisk.WhiskError}[arguments.End]
	if status == whisk.Success {
		return controllertest.Outcome(inv, whisk.Response{Result: run.Value, Size: len(run.Value)})
	}
	return controllertest.Outcome(inv, whisk.ErrorResponse(status, arguments.End))
}

// TestWhichActivationsLeaveRecords calls in all ways with all ends.
func TestWhichActivationsLeaveRecords(t *testing.T) {
	const extra = "X-OW-EXTRA-LOGGING: On"
	for _, row := range []struct {
		blocking, others controller.Keeping
		header           string
		kept             map[string]string // of each way, the ends whose records are kept
	}{
		{controller.KeepAll, controller.KeepAll, "", map[string]string{"blocking": "ok error fault lost", "later": "ok error fault lost", "web": "ok error fault lost"}},
		{controller.KeepFailures, controller.KeepAll, "", map[string]string{"blocking": "error fault lost", "later": "ok error fault lost", "web": "error fault lost"}},
		{controller.KeepAll, controller.KeepFaults, "X-OW-EXTRA-LOGGING: off", map[string]string{"blocking": "ok error fault lost", "later": "fault lost", "web": "ok error fault lost"}},
		{controller.KeepFaults, controller.KeepFailures, "", map[string]string{"blocking": "fault lost", "later": "error fault lost", "web": "fault lost"}},
		{controller.KeepFaults, controller.KeepFaults, extra, map[string]string{"blocking": "ok error fault lost", "later": "ok error fault lost", "web": "ok error fault lost"}},
	} {
		for way, kept := range row.kept {
			synctest.Test(t, func(t *testing.T) {
				p := newPlatform(t, func(config *controller.Config) {
					config.KeepBlocking, config.KeepNonBlocking = row.blocking, row.others
				})
				defer runInBubble(t, p)()
				p.balancer.Run = ended
				p.export("a")
				for _, end := range []string{"ok", "error", "fault", "lost"} {
					headers := []string{}
					if row.header != "" {
						headers = append(headers, row.header)
					}
					var got reply
					switch way {
					case "web":
						got = p.do("GET", webRoot+"/a.json?end="+end, "", headers...)
					case "later":
						got = p.do("POST", guest+"/actions/a", `{"end":"`+end+`"}`, headers...)
					default:
						got = p.do("POST", guest+"/actions/a?blocking=true", `{"end":"`+end+`"}`, headers...)
					}
					time.Sleep(time.Minute)
					id := got.header.Get("X-OpenWhisk-Activation-Id")
					if want := strings.Contains(kept, end); id == "" || p.stored(id) != want {
						t.Errorf("%s and %s, %q, %s: %s is kept: %v", row.blocking, row.others, row.header, way, end, !want)
					}
				}
				if queued := p.store.Queued(); len(queued) > 0 {
					t.Errorf("%d activations are left in the queue", len(queued))
				}
			})
		}
	}
}

// What a sequence or a trigger brings about is kept as OpenWhisk keeps it: steps as
// blocking calls, what is fired as non-blocking ones.
func TestRecordsOfWhatOthersRun(t *testing.T) {
	for _, row := range []struct {
		blocking, others controller.Keeping
		header           string
		sequence, fired  int // records
	}{
		{controller.KeepAll, controller.KeepFaults, "", 2, 0},
		{controller.KeepFaults, controller.KeepAll, "", 1, 2},
		{controller.KeepFaults, controller.KeepFaults, "X-OW-EXTRA-LOGGING: on", 3, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newPlatform(t, func(config *controller.Config) {
				config.KeepBlocking, config.KeepNonBlocking = row.blocking, row.others
			})
			defer runInBubble(t, p)()
			p.must(200, "PUT", guest+"/actions/a", hello)
			p.must(200, "PUT", guest+"/actions/s", `{"exec":{"kind":"sequence","components":["/_/a","/_/a"]}}`)
			p.must(200, "PUT", guest+"/triggers/t", "{}")
			p.must(200, "PUT", guest+"/rules/r", `{"trigger":"/_/t","action":"/_/a"}`)
			headers := []string{"X-Nothing: 1"}
			if row.header != "" {
				headers = append(headers, row.header)
			}
			p.must(202, "POST", guest+"/actions/s", "{}", headers...)
			time.Sleep(time.Minute)
			sequence := len(p.store.Records())
			p.must(202, "POST", guest+"/triggers/t", "{}", headers...)
			time.Sleep(time.Minute)
			if fired := len(p.store.Records()) - sequence; sequence != row.sequence || fired != row.fired {
				t.Errorf("%s and %s, %q: %d records of a sequence and %d of a trigger, want %d and %d", row.blocking, row.others, row.header, sequence, fired, row.sequence, row.fired)
			}
		})
	}
}

// An action can do without records of its blocking calls. What was accepted has
// one, and so has a call whose caller had to leave with an id.
func TestActionsWithoutRecords(t *testing.T) {
	for _, row := range []struct {
		annotation, header, query string
		records                   map[string]bool // of what ended so
	}{
		{"false", "", "?blocking=true", map[string]bool{"ok": false, "error": false, "fault": false}},
		{`"failures"`, "", "?blocking=true", map[string]bool{"ok": false, "error": true, "fault": true}},
		{`"faults"`, "", "?blocking=true", map[string]bool{"ok": false, "error": false, "fault": true}},
		{"true", "", "?blocking=true", map[string]bool{"ok": true, "error": true, "fault": true}},
		{`"nonsense"`, "", "?blocking=true", map[string]bool{"ok": true, "error": true, "fault": true}},
		{"false", "X-OW-EXTRA-LOGGING: on", "?blocking=true", map[string]bool{"ok": true, "error": true, "fault": true}},
		{"false", "", "", map[string]bool{"ok": true, "error": true, "fault": true}},
	} {
		synctest.Test(t, func(t *testing.T) {
			p := newPlatform(t)
			defer runInBubble(t, p)()
			p.balancer.Run = ended
			p.must(200, "PUT", guest+"/actions/a", `{"exec":{"kind":"nodejs:default","code":"x"},"annotations":[{"key":"store-activations","value":`+row.annotation+`}]}`)
			batches := p.store.Calls("PutActivations")
			any := false
			for end, want := range row.records {
				headers := []string{"X-Nothing: 1"}
				if row.header != "" {
					headers = append(headers, row.header)
				}
				got := p.do("POST", guest+"/actions/a"+row.query, `{"end":"`+end+`"}`, headers...)
				id := got.header.Get("X-OpenWhisk-Activation-Id")
				time.Sleep(time.Minute)
				if id == "" || p.stored(id) != want {
					t.Errorf("%s, %q, %q, %s: is there a record: %v", row.annotation, row.query, row.header, end, !want)
				}
				any = any || want
			}
			if stored := p.store.Calls("PutActivations") > batches; stored != any {
				t.Errorf("%s: the store was called: %v", row.annotation, stored)
			}
			if queued := p.store.Queued(); len(queued) > 0 {
				t.Errorf("%d activations are left in the queue", len(queued))
			}
		})
	}
}

// Where no record is to be kept, what a caller who waited in vain learns is an id:
// there is a record behind it.
func TestRecordForWhoCeasedToWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		defer runInBubble(t, p)()
		p.balancer.Run = func(ctx context.Context, inv *whisk.Invocation, run controllertest.RunBody) whisk.Outcome {
			time.Sleep(3 * time.Second)
			return ended(ctx, inv, run)
		}
		p.must(200, "PUT", guest+"/actions/a", `{"exec":{"kind":"nodejs:default","code":"x"},"annotations":[{"key":"store-activations","value":false}]}`)
		for timeout, want := range map[string]bool{"2000": true, "4000": false} {
			status := map[bool]int{true: 202, false: 200}[want]
			got := p.must(status, "POST", guest+"/actions/a?blocking=true&timeout="+timeout, "{}")
			time.Sleep(time.Minute)
			if id := got.header.Get("X-OpenWhisk-Activation-Id"); p.stored(id) != want {
				t.Errorf("after waiting for %s ms: is there a record: %v", timeout, !want)
			}
		}
	})
}

// What is not kept holds no more memory, until its output is stored, than what is kept.
func TestMemoryOfWhatIsNotKept(t *testing.T) {
	for _, annotation := range []string{"true", "false"} {
		synctest.Test(t, func(t *testing.T) {
			p := newPlatform(t, func(config *controller.Config) { config.Records.Memory = config.Limits.Result + whisk.KB })
			defer runInBubble(t, p)()
			p.balancer.Run = func(_ context.Context, inv *whisk.Invocation, run controllertest.RunBody) whisk.Outcome {
				outcome := controllertest.Outcome(inv, whisk.Response{Result: run.Value, Size: len(run.Value)})
				outcome.AfterLogs = func(f func(whisk.LogSummary, error)) {
					time.AfterFunc(10*time.Second, func() { f(whisk.LogSummary{}, nil) })
				}
				return outcome
			}
			p.must(200, "PUT", guest+"/actions/a", `{"exec":{"kind":"nodejs:default","code":"x"},"annotations":[{"key":"store-activations","value":`+annotation+`}]}`)
			began := time.Now()
			for range 3 {
				p.must(200, "POST", guest+"/actions/a?blocking=true", "{}")
			}
			if took := time.Since(began); took > 0 {
				t.Errorf("with store-activations %s, the calls waited %v for the output of those before", annotation, took)
			}
		})
	}
}
