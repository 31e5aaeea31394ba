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

// chain is what makes a conductor go through so many steps, or so deep.
func chain(n int, each func(inner map[string]any) map[string]any) string {
	said := map[string]any{}
	for range n {
		said = each(said)
	}
	said["n"] = 0
	text, err := json.Marshal(said)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func TestLongCompositions(t *testing.T) {
	const limit = 50
	const tooLong = `{"error":"Too many actions in the composition."}`
	follows := func(inner map[string]any) map[string]any { return map[string]any{"action": "step", "state": inner} }
	nests := func(inner map[string]any) map[string]any { return map[string]any{"action": "c", "params": inner} }
	sequences := func(inner map[string]any) map[string]any { return map[string]any{"action": "all", "state": inner} }
	within := func(inner string) string { return `{"action":"c","n":0,"params":` + inner + `}` }
	for _, test := range []struct {
		what, action, payload string
		status                int
		result                string
		runs                  int
	}{
		{"as long as may be", "c", chain(limit, follows), 200, `{"n":50}`, 101},
		{"one step more", "c", chain(limit+1, follows), 502, tooLong, 102},
		{"nested as long as may be", "c", within(chain(limit, follows)), 200, `{"n":50}`, 103},
		{"nested and one step more", "c", within(chain(limit+1, follows)), 502, tooLong, 104},
		{"as deep as may be", "c", chain(limit, nests), 200, `{"n":0}`, 101},
		{"one deeper", "c", chain(limit+1, nests), 502, tooLong, 101},
		{"sequences count as one", "c", chain(limit, sequences), 200, `{"n":100}`, 51 + 50*2},
		{"compositions count as one", "many", `{"n":0,"action":"step"}`, 200, `{"n":1}`, 3 + 49},
	} {
		t.Run(test.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newPlatform(t)
				defer runInBubble(t, p)()
				p.conduct("c")
				p.put("step", "all=/_/step /_/step", "many="+strings.Repeat("/_/c ", limit))
				runs := count(p)
				got := p.must(test.status, "POST", guest+"/actions/"+test.action+"?blocking=true&result=true", test.payload)
				sameJSON(t, got.body, test.result)
				if *runs != test.runs {
					t.Errorf("%d runs, want %d", *runs, test.runs)
				}
			})
		})
	}
}

// count plays and counts the runs of containers.
func count(p *platform) *int {
	play(p)
	runs, run := 0, p.balancer.Run
	p.balancer.Run = func(ctx context.Context, inv *whisk.Invocation, body controllertest.RunBody) whisk.Outcome {
		runs++
		return run(ctx, inv, body)
	}
	return &runs
}

// A sequence and a composition that lead to each other each count anew. They end.
func TestCompositionsWithoutEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, func(c *controller.Config) { c.Limits.SequenceLength = 4 })
		defer runInBubble(t, p)()
		p.conduct("again")
		p.put("loop=/_/again")
		runs := 0
		p.balancer.Run = func(_ context.Context, inv *whisk.Invocation, _ controllertest.RunBody) whisk.Outcome {
			runs++
			return controllertest.Outcome(inv, whisk.Response{Result: json.RawMessage(`{"action":"loop"}`)})
		}
		for action, want := range map[string]int{
			"again": 4 * (3*4 + 1),
			"loop":  9 + 4*9, // the third sequence would be nested too deep
		} {
			runs = 0
			sameJSON(t, p.must(502, "POST", guest+"/actions/"+action+"?blocking=true&result=true", "").body, `{"error":"Too many actions in the composition."}`)
			if runs != want {
				t.Errorf("%s ended after %d runs, want %d", action, runs, want)
			}
		}
		time.Sleep(time.Second)
	})
}
