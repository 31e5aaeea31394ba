// SPDX-License-Identifier: Apache-2.0

package sim_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/whirl-faas/whirl/driver/fake"
	"github.com/whirl-faas/whirl/sim"
	"github.com/whirl-faas/whirl/whisk"
)

// promises are what controllers promised, and what came of it in the end.
type promises struct {
	accepted []whisk.ActivationID
	refused  []error // by controllers that nothing was wrong with
	thefts   []theft
	runs     map[run]int
	queued   []whisk.Accepted
	records  map[whisk.ActivationID]whisk.Activation
	history  sim.History
}

// theft is a record that a controller made of an activation that is not its own,
// while the one lived whose it is.
type theft struct {
	activation whisk.ActivationID
	by, of     whisk.ControllerID
}

// run is what a call makes happen at most once.
type run struct {
	code   string
	number uint64 // of the call
}

// numberOf returns the number of the call that a run is about.
func numberOf(value json.RawMessage) uint64 {
	var got struct{ N uint64 }
	if err := json.Unmarshal(value, &got); err != nil {
		panic(err) // the test made it
	}
	return got.N
}

// broken returns what must never be.
func (p promises) broken() []string {
	var wrong []string
	blame := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	for _, id := range p.accepted {
		record, there := p.records[id]
		if !there {
			blame("%s was accepted and has no record", id)
		}
		if record.Annotations.Get("kind") != nil {
			continue
		}
		for _, begun := range begunBy(record) {
			if _, there := p.records[begun]; !there {
				blame("%s was begun by the trigger's %s and has no record", begun, id)
			}
		}
	}
	for _, entry := range p.queued {
		blame("%s of %s is left in the queue, claimed by %q", entry.Activation, entry.AcceptedBy, entry.ClaimedBy)
	}
	for _, err := range p.refused {
		blame("a healthy controller refused: %v", err)
	}
	for _, stolen := range p.thefts {
		blame("%s made a record of %s, which is that of %s, which lives", stolen.by, stolen.activation, stolen.of)
	}
	for what, n := range p.runs {
		if n > 1 {
			blame("%s ran %d times for call %d", what.code, n, what.number)
		}
	}
	return append(wrong, p.brokenRuns()...)
}

// begunBy returns the activations of which a trigger's record tells.
func begunBy(record whisk.Activation) []whisk.ActivationID {
	var ids []whisk.ActivationID
	for _, line := range record.Logs {
		var told struct{ ActivationID whisk.ActivationID }
		if err := json.Unmarshal([]byte(line), &told); err == nil && told.ActivationID != "" {
			ids = append(ids, told.ActivationID)
		}
	}
	return ids
}

// brokenRuns holds the records against what the sandboxes saw.
func (p promises) brokenRuns() []string {
	var wrong []string
	started, ended := map[whisk.ActivationID]int{}, map[whisk.ActivationID]int{}
	for _, node := range p.history.Nodes {
		for _, violation := range node.Violations {
			wrong = append(wrong, fmt.Sprint(violation))
		}
		for _, event := range node.Events {
			switch event.Kind {
			case fake.RunStarted:
				started[event.Activation]++
			case fake.RunEnded:
				ended[event.Activation]++
			}
		}
	}
	for id, n := range started {
		if n > 1 {
			wrong = append(wrong, fmt.Sprintf("%s ran %d times", id, n))
		}
	}
	for id, record := range p.records {
		isRun := string(record.Annotations.Get("kind")) == `"fake:1"`
		if isRun && record.Response.Status == whisk.Success && ended[id] != 1 {
			wrong = append(wrong, fmt.Sprintf("%s is recorded as a success, but ended %d times", id, ended[id]))
		}
	}
	return wrong
}

// TestEveryPromiseCanBeBroken changes what came of a good history in one place
// each, and wants it to be noticed.
func TestEveryPromiseCanBeBroken(t *testing.T) {
	var good promises
	synctest.Test(t, func(t *testing.T) {
		came, err := playEra(t.Context(), 1, false)
		if err != nil {
			t.Fatal(err)
		}
		good = came
	})
	var begun []whisk.ActivationID // by rules of triggers
	for _, record := range good.records {
		if record.Annotations.Get("kind") == nil {
			begun = append(begun, begunBy(record)...)
		}
	}
	if len(begun) == 0 {
		t.Fatal("no trigger was fired")
	}
	for _, row := range []struct {
		name   string
		change func(p *promises)
		want   string
	}{
		{"nothing", func(*promises) {}, ""},
		{"no record", func(p *promises) { delete(p.records, p.accepted[0]) }, "was accepted and has no record"},
		{"no record of a rule", func(p *promises) { delete(p.records, begun[0]) }, "was begun by"},
		{"left over", func(p *promises) { p.queued = append(p.queued, whisk.Accepted{Activation: "x"}) }, "left in the queue"},
		{"refused", func(p *promises) { p.refused = append(p.refused, errDead) }, "refused"},
		{"taken from the living", func(p *promises) { p.thefts = append(p.thefts, theft{"x", "ctl1", "ctl2"}) }, "which lives"},
		{"begun anew", func(p *promises) { p.runs[run{"a", 1}] = 2 }, "ran 2 times for call 1"},
		{"run twice", func(p *promises) { repeat(&p.history, fake.RunStarted) }, "ran 2 times"},
		{"not run", func(p *promises) { drop(&p.history, fake.RunEnded) }, "is recorded as a success, but ended 0 times"},
		{"violation", func(p *promises) {
			p.history.Nodes[0].Violations = append(p.history.Nodes[0].Violations, fake.Violation{What: "initialised twice"})
		}, "initialised twice"},
	} {
		t.Run(row.name, func(t *testing.T) {
			changed := good
			changed.records, changed.runs = maps.Clone(good.records), maps.Clone(good.runs)
			changed.history.Nodes = slices.Clone(good.history.Nodes)
			row.change(&changed)
			wrong := strings.Join(changed.broken(), "\n")
			if row.want == "" && wrong != "" || !strings.Contains(wrong, row.want) {
				t.Errorf("broken are %q, want %q", wrong, row.want)
			}
		})
	}
}

// TestTakingFromTheLivingIsNoticed has controllers take each other for dead: their
// recoveries take what the others are at.
func TestTakingFromTheLivingIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		came, err := playEra(t.Context(), 1, true)
		if err != nil {
			t.Error(err)
		}
		if wrong := strings.Join(came.broken(), "\n"); !strings.Contains(wrong, "which lives") {
			t.Errorf("with controllers that take each other for dead, broken are only %q", wrong)
		}
	})
}
