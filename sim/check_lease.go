// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"slices"
	"time"

	"github.com/whirl-faas/whirl/driver/fake"
	"github.com/whirl-faas/whirl/whisk"
)

// AgentStarted is in a history's messages where a node's next agent begins.
type AgentStarted struct{}

// tenants holds each run against what the agent said at its beginning: whoever
// runs something in a container is its lessee.
func (c *checker) tenants(node NodeHistory) {
	for _, tenant := range node.Tenants {
		if c.calls[tenant.Activation] != nil && tenant.Runner != tenant.Lessee {
			c.blameContainer(tenant.Container, "%s %s: %s ran %s in %s, which %q holds by its agent's word",
				clock(tenant.At), node.Node, tenant.Runner, tenant.Activation, tenant.Container, tenant.Lessee)
		}
	}
}

// forwards holds who ran what against who was asked to: a controller runs its
// own calls, and those that came to it straight from the caller's controller.
func (c *checker) forwards() {
	type errand struct {
		activation whisk.ActivationID
		to         string
	}
	asked := map[errand]bool{}
	for _, m := range c.Messages {
		forward, is := m.Body.(whisk.Forward)
		if !is {
			continue
		}
		asked[errand{forward.Activation, m.To}] = true
		if call := c.calls[forward.Activation]; call == nil || string(call.Controller) != m.From || forward.Controller != call.Controller {
			c.blame("%s: %s forwarded %s to %s, which is not its own", clock(m.At), m.From, forward.Activation, m.To)
		}
	}
	for _, call := range c.calls {
		if by := call.Runner; by != "" && by != call.Controller && !asked[errand{call.ID, string(by)}] {
			c.blame("%s of %s was run by %s, which was not asked to", call.ID, call.Controller, by)
		}
	}
}

// resting looks at a node when all idle containers must have been given back:
// what is left is prewarmed, which is never used and never frozen. It returns
// what there is, the oldest first.
func (c *checker) resting(node NodeHistory, at time.Time) (left []whisk.ContainerID) {
	const used, frozen = 1, 2
	living := map[whisk.ContainerID]int{}
	for _, event := range node.Events {
		if !event.At.Before(at) { // the next calls come in the same moment
			break
		}
		id := event.Container
		switch {
		case event.Err != "":
		case event.Kind == fake.Created:
			living[id] = 0
			left = append(left, id)
		case event.Kind == fake.Destroyed:
			delete(living, id)
		case event.Kind == fake.InitStarted:
			living[id] |= used
		case event.Kind == fake.Suspended:
			living[id] |= frozen
		case event.Kind == fake.Resumed:
			living[id] &^= frozen
		}
	}
	for id, state := range living {
		if state&used != 0 {
			c.blameContainer(id, "%s %s: %s was used and is still there, nobody needs it", clock(at), node.Node, id)
		}
		if state&frozen != 0 {
			c.blameContainer(id, "%s %s: %s is left frozen", clock(at), node.Node, id)
		}
	}
	return slices.DeleteFunc(left, func(id whisk.ContainerID) bool {
		_, lives := living[id]
		return !lives
	})
}

// calm checks what is left when nothing happens any more.
func (c *checker) calm() {
	for i, at := range c.Idle {
		var left []whisk.ContainerID
		for _, node := range c.Nodes {
			here := c.resting(node, at)
			left = append(left, here...)
			if len(here) > 0 && i == len(c.Idle)-1 && slices.Contains(c.Emptied, node.Node) {
				c.blameContainer(here[0], "%s %s: left on a drained node: %s", clock(at), node.Node, here)
			}
		}
		if kept := c.StemCells * len(c.Nodes); len(left) > kept {
			c.blameContainer(left[0], "%s: %d sandboxes are left, %d are kept prewarmed: %s", clock(at), len(left), kept, left)
		}
	}
}

// reign is what a node's agents heard from leaders.
type reign struct {
	epoch   uint64                                     // the highest that the present agent heard of
	created map[whisk.ContainerID]bool                 // ordered by who led then
	removed map[whisk.ContainerID]bool                 // likewise
	granted map[whisk.ContainerID][]whisk.ControllerID // likewise
}

// leaders holds what agents did against what they were told: who has heard of a
// leader does nothing any more for those before.
func (c *checker) leaders() {
	reigns := map[string]*reign{}
	for _, node := range c.Nodes {
		reigns[string(node.Node)] = &reign{
			created: map[whisk.ContainerID]bool{}, removed: map[whisk.ContainerID]bool{}, granted: map[whisk.ContainerID][]whisk.ControllerID{},
		}
	}
	for _, m := range c.Messages {
		switch {
		case m.To == schedulerName && reigns[m.From] != nil:
			c.obeyed(m, reigns[m.From])
		case reigns[m.To] != nil:
			reigns[m.To].hear(m.Body)
		}
	}
}

// hear notes a command if it is not of a leader that is over.
func (r *reign) hear(message any) {
	follow := func(epoch uint64) bool {
		r.epoch = max(r.epoch, epoch)
		return epoch == r.epoch
	}
	switch m := message.(type) {
	case AgentStarted:
		r.epoch = 0 // it knows what the records of its containers say
	case whisk.KeepAlive:
		follow(m.Epoch)
	case whisk.DrainNode:
		follow(m.Epoch)
	case whisk.CreateContainer:
		if follow(m.Epoch) {
			r.created[m.Container] = true
		}
	case whisk.GrantLease:
		if follow(m.Epoch) {
			r.granted[m.Container] = append(r.granted[m.Container], m.To)
		}
	case whisk.RemoveContainer:
		if follow(m.Epoch) {
			r.removed[m.Container] = true
		}
	}
}

// obeyed blames an agent that did what none of its leaders wanted.
func (c *checker) obeyed(m Message, r *reign) {
	var id whisk.ContainerID
	var done string
	switch said := m.Body.(type) {
	case whisk.ContainerCreated:
		if !r.created[said.Container.ID] {
			id, done = said.Container.ID, "made"
		}
	case whisk.LeaseGranted:
		if !slices.Contains(r.granted[said.Container], said.Lessee) {
			id, done = said.Container, "granted to "+string(said.Lessee)
		}
	case whisk.ContainerGone:
		if said.Expected && !r.removed[said.Container] {
			id, done = said.Container, "removed"
		}
	}
	if done != "" {
		c.blameContainer(id, "%s %s: %s was %s, which no leader ordered in its time", clock(m.At), m.From, id, done)
	}
}
