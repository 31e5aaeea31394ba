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

// staged has actions take the time that their arguments say, in milliseconds.
func staged(_ context.Context, inv *whisk.Invocation, run controllertest.RunBody) whisk.Outcome {
	var took struct{ Wait, Asking, Creation, Init, Run, Resume, Logs time.Duration }
	if err := json.Unmarshal(run.Value, &took); err != nil {
		return controllertest.Outcome(inv, whisk.ErrorResponse(whisk.WhiskError, err.Error()))
	}
	const ms = time.Millisecond
	time.Sleep(ms * took.Wait)
	outcome := controllertest.Outcome(inv, whisk.Response{Result: run.Value, Size: len(run.Value)})
	time.Sleep(ms * (took.Init + took.Run))
	outcome.Asking, outcome.Creation, outcome.Resume = ms*took.Asking, ms*took.Creation, ms*took.Resume
	outcome.Init, outcome.Cold, outcome.Run = ms*took.Init, took.Init > 0, ms*took.Run
	outcome.AfterLogs = func(f func(whisk.LogSummary, error)) {
		time.AfterFunc(ms*took.Logs, func() { f(whisk.LogSummary{}, nil) })
	}
	return outcome
}

// stagesOf returns the annotation of a record, "" if it has none.
func stagesOf(t *testing.T, record string) string {
	t.Helper()
	var decoded struct{ Annotations whisk.Parameters }
	if err := json.Unmarshal([]byte(record), &decoded); err != nil {
		t.Fatalf("%v in %s", err, record)
	}
	return string(decoded.Annotations.Get("stages"))
}

// TestCallsTellWhereTheirTimeWent calls with and without the header, and reads the
// answer's header, the record in the answer, and the one that is stored.
func TestCallsTellWhereTheirTimeWent(t *testing.T) {
	const (
		cold   = `{"wait":100,"asking":10,"creation":40,"init":30,"run":20,"logs":5}`
		warm   = `{"run":20,"logs":5}`
		paused = `{"run":20,"resume":8}`
	)
	for _, row := range []struct {
		name, payload, header string
		told, answered        string // Server-Timing, and the annotation
		stored                string
	}{
		{"cold", cold, "", "",
			`{"accept":0,"queue":50,"requisition":10,"create":40,"init":30,"run":20}`,
			`{"accept":0,"queue":50,"requisition":10,"create":40,"init":30,"run":20,"logs":5,"record":20}`},
		{"cold, asked", cold, "X-Whirl-Timing: on", "accept;dur=0, queue;dur=50, requisition;dur=10, create;dur=40, init;dur=30, run;dur=20, total;dur=150",
			`{"accept":0,"queue":50,"requisition":10,"create":40,"init":30,"run":20}`,
			`{"accept":0,"queue":50,"requisition":10,"create":40,"init":30,"run":20,"logs":5,"record":20}`},
		{"warm", warm, "", "", "", ""},
		{"warm, asked not to", warm, "X-Whirl-Timing: off", "", "", ""},
		{"warm, asked", warm, "X-Whirl-Timing: On", "accept;dur=0, queue;dur=0, run;dur=20, total;dur=20",
			`{"accept":0,"queue":0,"run":20}`, `{"accept":0,"queue":0,"run":20,"logs":5,"record":20}`},
		{"paused", paused, "", "", `{"accept":0,"queue":0,"resume":8,"run":20}`, `{"accept":0,"queue":0,"resume":8,"run":20,"record":20}`},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlatform(t)
				defer runInBubble(t, p)()
				p.balancer.Run = staged
				p.must(200, "PUT", guest+"/actions/a", hello)
				headers := []string{"X-Nothing: 1"}
				if row.header != "" {
					headers = append(headers, row.header)
				}
				got := p.do("POST", guest+"/actions/a?blocking=true", row.payload, headers...)
				if told := strings.Join(got.header.Values("Server-Timing"), "|"); told != row.told {
					t.Errorf("Server-Timing: %q, want %q", told, row.told)
				}
				if answered := stagesOf(t, got.body); answered != row.answered {
					t.Errorf("in the answer: %s, want %s", answered, row.answered)
				}
				time.Sleep(time.Minute)
				record := p.must(200, "GET", guest+"/activations/"+got.header.Get("X-OpenWhisk-Activation-Id"), "")
				if stored := stagesOf(t, record.body); stored != row.stored {
					t.Errorf("stored: %s, want %s", stored, row.stored)
				}
			})
		})
	}
}

// What is asked of a web action is told whoever calls, and is not for the action; what it
// says of its own time stays. An action without an answer in time tells nothing, and its record all.
func TestOthersTellWhereTheirTimeWent(t *testing.T) {
	const asked = "X-Whirl-Timing: on"
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, func(c *controller.Config) { c.Limits.BlockingWait = 10 * time.Millisecond })
		defer runInBubble(t, p)()
		p.export("web")
		p.balancer.Run = func(_ context.Context, inv *whisk.Invocation, run controllertest.RunBody) whisk.Outcome {
			if strings.Contains(strings.ToLower(string(run.Value)), "whirl-timing") {
				t.Errorf("the action got %s", run.Value)
			}
			return controllertest.Outcome(inv, whisk.Response{Result: json.RawMessage(`{"headers":{"Server-Timing":"db;dur=3"},"body":"x"}`), Size: 1})
		}
		got := p.do("GET", webRoot+"/web.http", "", asked)
		if told := strings.Join(got.header.Values("Server-Timing"), "|"); told != "accept;dur=0, queue;dur=0, run;dur=0, total;dur=0|db;dur=3" {
			t.Errorf("Server-Timing: %q", told)
		}

		p.balancer.Run = staged
		p.must(200, "PUT", guest+"/actions/a", hello)
		p.must(200, "PUT", guest+"/actions/s", `{"exec":{"kind":"sequence","components":["/_/a"]}}`)
		for _, call := range []string{"a", "a?blocking=true", "s", "s?blocking=true"} {
			got := p.must(202, "POST", guest+"/actions/"+call, `{"wait":5,"init":30,"run":20}`, asked)
			if told := got.header.Values("Server-Timing"); len(told) > 0 {
				t.Errorf("%s: %q before there was anything to tell", call, told)
			}
			time.Sleep(time.Minute)
			stages := stagesOf(t, p.must(200, "GET", guest+"/activations/"+got.header.Get("X-OpenWhisk-Activation-Id"), "").body)
			want := `{"accept":0,"queue":5,"init":30,"run":20,"record":20}`
			if strings.HasPrefix(call, "s") {
				want = `{"accept":0,"queue":0,"run":55,"record":20}`
			}
			if stages != want {
				t.Errorf("%s: %s, want %s", call, stages, want)
			}
		}
		var steps int
		for _, record := range p.store.Records() {
			if record.Cause != "" {
				steps++
				if got, want := string(record.Annotations.Get("stages")), `{"accept":0,"queue":5,"init":30,"run":20,"record":20}`; got != want {
					t.Errorf("a step: %s, want %s", got, want)
				}
			}
		}
		if steps != 2 {
			t.Errorf("%d steps, want 2", steps)
		}
	})
}
