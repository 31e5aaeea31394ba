// SPDX-License-Identifier: Apache-2.0

package sim_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/driver/fake"
	"github.com/whirl-faas/whirl/sim"
	"github.com/whirl-faas/whirl/whisk"
)

// quiet plays a short history without faults.
func quiet(t *testing.T) (history sim.History) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cluster, err := sim.Start(t.Context(), sim.Config{
			Seed: 1, Nodes: 1, NodeMemory: whisk.GB, Controllers: 2, Concurrency: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		action := sim.Action{Name: "a", Revision: 1, Memory: 512 * whisk.MB, Concurrency: 1, Timeout: time.Second}
		for _, ctl := range cluster.Controllers() {
			cluster.Invoke(ctl, action, time.Minute)
		}
		cluster.Wait()
		drain, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := cluster.Stop(drain); err != nil {
			t.Error(err)
		}
		history = cluster.History()
	})
	return history
}

// TestEveryRuleCanBeBroken changes a good history in one place each, and wants
// the checker to notice: a rule that nothing breaks would prove nothing.
func TestEveryRuleCanBeBroken(t *testing.T) {
	for _, row := range []struct {
		name   string
		change func(h *sim.History)
		want   string
	}{
		{"nothing", func(*sim.History) {}, ""},
		{"no answer", func(h *sim.History) { h.Calls[0].Answered = 0 }, "answered 0 times"},
		{"two answers", func(h *sim.History) { h.Calls[0].Answered = 2 }, "answered 2 times"},
		{"two claims", func(h *sim.History) { h.Calls[0].Claims = 2 }, "claimed 2 times"},
		{"no claim", func(h *sim.History) { h.Calls[0].Claims = 0 }, "was claimed 0 times"},
		{"refused and run", func(h *sim.History) { h.Calls[0].Refused = context.Canceled }, "refused"},
		{"another's answer", func(h *sim.History) { h.Calls[0].Outcome.Response.Result = h.Calls[1].Outcome.Response.Result }, "was answered"},
		{"run twice", func(h *sim.History) { repeat(h, fake.RunStarted) }, "ran 2 times"},
		{"two at once", func(h *sim.History) { overlap(h) }, "at once"},
		{"two controllers", func(h *sim.History) { overlap(h) }, "served ctl"},
		{"not run", func(h *sim.History) { drop(h, fake.RunStarted) }, "start 0 times"},
		{"unknown activation", func(h *sim.History) {
			h.Nodes[0].Events = append(h.Nodes[0].Events, fake.Event{Kind: fake.RunStarted, Activation: "x"})
		}, "nobody asked"},
		{"run after the end", func(h *sim.History) { drop(h, fake.Created) }, "does not exist"},
		{"oversold", func(h *sim.History) { h.NodeMemory = 256 * whisk.MB }, "are in use"},
		{"left over", func(h *sim.History) { h.Nodes[0].Living = 1 }, "are left"},
		{"too late", func(h *sim.History) {
			h.Calls[0].Outcome.Container, h.Calls[0].Outcome.Start = "", h.Calls[0].StartBy.Add(time.Minute)
		}, "was to start by"},
		{"violation", func(h *sim.History) {
			h.Nodes[0].Violations = append(h.Nodes[0].Violations, fake.Violation{What: "initialised twice"})
		}, "initialised twice"},
		{"stranger", func(h *sim.History) { h.Nodes[0].Tenants[0].Lessee = "another" }, "by its agent's word"},
		{"run for another", func(h *sim.History) { h.Calls[0].Runner = "another" }, "was run by another, which was not asked to"},
		{"forwarded twice", func(h *sim.History) {
			forward := whisk.Forward{Controller: "ctl2", Activation: h.Calls[0].ID}
			h.Messages = append(h.Messages, sim.Message{From: "ctl2", To: "ctl3", Body: forward})
		}, "which is not its own"},
		{"record", func(h *sim.History) { h.Nodes[0].Records = 1 }, "records of containers are left"},
		{"leak", func(h *sim.History) { linger(h) }, "nobody needs it"},
		{"frozen", func(h *sim.History) {
			linger(h)
			last := h.Nodes[0].Events[len(h.Nodes[0].Events)-1]
			last.Kind = fake.Suspended
			h.Nodes[0].Events = append(h.Nodes[0].Events, last)
		}, "left frozen"},
		{"not drained", func(h *sim.History) { linger(h); h.Emptied = []whisk.NodeID{h.Nodes[0].Node} }, "on a drained node"},
		{"too many prewarmed", func(h *sim.History) { linger(h); drop(h, fake.InitStarted); h.StemCells = 1 }, "1 are kept prewarmed"},
		{"as many prewarmed as wanted", func(h *sim.History) { linger(h); drop(h, fake.InitStarted); h.StemCells = 2 }, ""},
		{"made for an old leader", func(h *sim.History) { depose(h) }, "was made, which no leader ordered"},
		{"granted for nobody", func(h *sim.History) { say(h, whisk.LeaseGranted{Container: "c", Lessee: "x"}) }, "was granted to x, which no leader ordered"},
		{"removed for nobody", func(h *sim.History) { say(h, whisk.ContainerGone{Container: "c", Expected: true}) }, "was removed, which no leader ordered"},
		{"gone by itself", func(h *sim.History) { say(h, whisk.ContainerGone{Container: "c"}) }, ""},
		{"one container too many", func(h *sim.History) { bound(h) }, "and may in 1"},
		{"one that was given up", func(h *sim.History) { bound(h); h.Calls[0].Outcome.Run = 0 }, ""},
		{"one that another leader handed out", func(h *sim.History) { bound(h); crown(h) }, ""},
		{"the same when all is calm", func(h *sim.History) { bound(h); crown(h); h.Calm = h.Calls[0].Received.Add(-time.Second) }, "and may in 1"},
		{"fault", func(h *sim.History) { h.Faults = append(h.Faults, "c holds another's code") }, "another's code"},
	} {
		t.Run(row.name, func(t *testing.T) {
			history := quiet(t)
			row.change(&history)
			var wrong strings.Builder
			for _, finding := range sim.Check(history) {
				wrong.WriteString(finding.Text + "\n")
			}
			if row.want == "" && wrong.String() != "" || !strings.Contains(wrong.String(), row.want) {
				t.Errorf("the checker says %q, want %q", wrong.String(), row.want)
			}
		})
	}
}

// bound has the action run in one container at most, and all runs take until the end.
func bound(h *sim.History) {
	for i := range h.Calls {
		h.Calls[i].Action.Instances = 1
		h.Calls[i].Outcome.Run = time.Second
	}
	late := func(e fake.Event) bool { return e.Kind == fake.RunEnded || e.Kind == fake.Destroyed }
	events := h.Nodes[0].Events
	end := events[len(events)-1].At
	h.Nodes[0].Events = slices.DeleteFunc(slices.Clone(events), late)
	for _, event := range events {
		if late(event) {
			event.At = end
			h.Nodes[0].Events = append(h.Nodes[0].Events, event)
		}
	}
}

// crown has the first container handed out by another leader.
func crown(h *sim.History) {
	for i, m := range h.Messages {
		if _, is := m.Body.(whisk.Allocation); is {
			h.Messages[i].Leader = 99
			return
		}
	}
}

// repeat has the first event of a kind happen twice.
func repeat(h *sim.History, kind fake.EventKind) {
	events := h.Nodes[0].Events
	for i, event := range events {
		if event.Kind == kind {
			h.Nodes[0].Events = append(events[:i+1:i+1], events[i:]...)
			return
		}
	}
}

// drop removes all events of a kind.
func drop(h *sim.History, kind fake.EventKind) {
	var kept []fake.Event
	for _, event := range h.Nodes[0].Events {
		if event.Kind != kind {
			kept = append(kept, event)
		}
	}
	h.Nodes[0].Events = kept
}

// overlap moves every run into one sandbox, and its end to the end.
func overlap(h *sim.History) {
	var starts, ends, rest []fake.Event
	for _, event := range h.Nodes[0].Events {
		switch event.Kind {
		case fake.RunStarted:
			starts = append(starts, event)
		case fake.RunEnded:
			ends = append(ends, event)
		case fake.Created:
			rest = append(rest, event)
		}
	}
	for i := range starts {
		starts[i].Container, ends[i].Container = rest[0].Container, rest[0].Container
	}
	h.Nodes[0].Events = append(append(rest, starts...), ends...)
}

// linger has what was made stay, and looks later whether it is still there.
func linger(h *sim.History) {
	drop(h, fake.Destroyed)
	events := h.Nodes[0].Events
	h.Idle = []time.Time{events[len(events)-1].At.Add(time.Minute)}
}

// depose has a newer leader speak to the node first.
func depose(h *sim.History) {
	newer := sim.Message{From: "scheduler", To: string(h.Nodes[0].Node), Body: whisk.KeepAlive{Epoch: 99}}
	for i, m := range h.Messages {
		if _, first := m.Body.(whisk.NodeReport); first {
			h.Messages = slices.Insert(slices.Clone(h.Messages), i+1, newer)
			return
		}
	}
}

// say has the node's agent report something in the end.
func say(h *sim.History, report any) {
	h.Messages = append(h.Messages, sim.Message{From: string(h.Nodes[0].Node), To: "scheduler", Body: report})
}
