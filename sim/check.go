// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"time"

	"github.com/whirl-faas/whirl/driver/fake"
	"github.com/whirl-faas/whirl/whisk"
)

// slack is how much later than its bound something may be seen: what was under
// way at the bound still takes its steps.
const slack = 2 * time.Second

// Finding is a rule that a history breaks.
type Finding struct {
	Text      string
	Container whisk.ContainerID // "" if it is about none; [History.Story] tells more of it
}

// Check returns what a history shows that must never happen. The cluster must
// have been stopped.
func Check(h History) []Finding {
	c := checker{History: h, calls: map[whisk.ActivationID]*Call{}, runs: map[whisk.ActivationID]*runs{}}
	for i := range h.Calls {
		c.calls[h.Calls[i].ID] = &h.Calls[i]
	}
	for _, fault := range h.Faults {
		c.blame("%s", fault)
	}
	for _, node := range h.Nodes {
		c.node(node)
	}
	for i := range h.Calls {
		c.call(&h.Calls[i])
	}
	c.calm()
	c.leaders()
	c.forwards()
	c.instances()
	return c.wrong
}

type checker struct {
	History
	calls map[whisk.ActivationID]*Call
	runs  map[whisk.ActivationID]*runs
	wrong []Finding
}

// runs counts what sandboxes saw of one activation.
type runs struct {
	started, ended int
	in             whisk.ContainerID // where it started last but one, or at all
	latest         whisk.ContainerID // where it started last
}

func (c *checker) blame(format string, args ...any) {
	c.blameContainer("", format, args...)
}

func (c *checker) blameContainer(id whisk.ContainerID, format string, args ...any) {
	c.wrong = append(c.wrong, Finding{fmt.Sprintf(format, args...), id})
}

// node replays what happened on a node.
func (c *checker) node(node NodeHistory) {
	for _, violation := range node.Violations {
		c.blameContainer(violation.Container, "%s: %s", node.Node, violation)
	}
	if node.Living > 0 {
		c.blame("%s: %d sandboxes are left", node.Node, node.Living)
	}
	if node.Records > 0 {
		c.blame("%s: %d records of containers are left", node.Node, node.Records)
	}
	c.tenants(node)
	var used whisk.Bytes
	living := map[whisk.ContainerID]*tenancy{}
	for _, event := range node.Events {
		switch event.Kind {
		case fake.Created:
			if event.Err != "" {
				continue
			}
			living[event.Container] = &tenancy{}
			if used += c.Memory[event.Container]; used > c.NodeMemory {
				c.blame("%s %s: %s of %s are in use after %s was made", clock(event.At), node.Node, used, c.NodeMemory, event.Container)
			}
		case fake.Destroyed:
			if _, there := living[event.Container]; there {
				delete(living, event.Container)
				used -= c.Memory[event.Container]
			}
		case fake.RunStarted:
			c.started(node, event, living[event.Container])
		case fake.RunEnded:
			if seen := c.seen(event.Activation); seen != nil {
				seen.ended++
			}
			living[event.Container].leave(event.Activation)
		}
	}
}

// tenancy is who runs in a sandbox at a moment.
type tenancy struct{ inside []whisk.ActivationID }

func (t *tenancy) leave(id whisk.ActivationID) {
	if t == nil {
		return
	}
	for i, other := range t.inside {
		if other == id {
			t.inside = append(t.inside[:i], t.inside[i+1:]...)
			return
		}
	}
}

func (c *checker) seen(id whisk.ActivationID) *runs {
	if c.calls[id] == nil {
		c.blame("a sandbox saw activation %s, which nobody asked for", id)
		return nil
	}
	if c.runs[id] == nil {
		c.runs[id] = &runs{}
	}
	return c.runs[id]
}

// started checks a run against who else is in the sandbox.
func (c *checker) started(node NodeHistory, event fake.Event, sandbox *tenancy) {
	seen := c.seen(event.Activation)
	if seen == nil {
		return
	}
	seen.started++
	seen.in, seen.latest = cmp.Or(seen.latest, event.Container), event.Container
	if sandbox == nil {
		c.blameContainer(event.Container, "%s %s: %s ran in %s, which does not exist", clock(event.At), node.Node, event.Activation, event.Container)
		return
	}
	call := c.calls[event.Activation]
	for _, other := range sandbox.inside {
		if c.calls[other].Runner != call.Runner {
			c.blameContainer(event.Container, "%s %s: %s served %s and %s at once", clock(event.At), node.Node, event.Container, call.Runner, c.calls[other].Runner)
		}
	}
	if sandbox.inside = append(sandbox.inside, event.Activation); len(sandbox.inside) > call.Action.Concurrency {
		c.blameContainer(event.Container, "%s %s: %s ran %d at once, the action allows %d", clock(event.At), node.Node, event.Container, len(sandbox.inside), call.Action.Concurrency)
	}
}

// call checks one caller's view.
func (c *checker) call(call *Call) {
	if call.Answered != 1 {
		c.blame("%s was answered %d times", call.ID, call.Answered)
		return
	}
	seen := runs{}
	if c.runs[call.ID] != nil {
		seen = *c.runs[call.ID]
	}
	switch {
	case seen.started > 1:
		c.blameContainer(seen.in, "%s ran %d times, in %s and %s", call.ID, seen.started, seen.in, seen.latest)
	case seen.started > 0 && call.Claims != 1:
		c.blame("%s ran, and was claimed %d times", call.ID, call.Claims)
	case call.Claims > 1:
		c.blame("%s was claimed %d times", call.ID, call.Claims)
	case call.Refused != nil && (seen.started > 0 || call.Claims > 0):
		c.blame("%s was refused (%v), but it ran", call.ID, call.Refused)
	}
	if call.Refused == nil {
		c.outcome(call, seen)
	}
}

func (c *checker) outcome(call *Call, seen runs) {
	outcome := call.Outcome
	if outcome.Start.After(call.StartBy.Add(slack)) && outcome.Container == "" {
		c.blame("%s waited until %s, it was to start by %s", call.ID, clock(outcome.Start), clock(call.StartBy))
	}
	if outcome.Response.Status != whisk.Success {
		return
	}
	if seen.started != 1 || seen.ended != 1 {
		c.blame("%s succeeded, but sandboxes saw it start %d times and end %d times", call.ID, seen.started, seen.ended)
	}
	want, err := json.Marshal(parameters{call.Action.code(), call.Controller, call.ID})
	if err != nil || !bytes.Equal(outcome.Response.Result, want) {
		c.blame("%s was answered %s, want %s", call.ID, outcome.Response.Result, want)
	}
}

func clock(at time.Time) string { return at.Format("15:04:05.000") }
