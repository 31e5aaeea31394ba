// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"slices"
	"time"

	"github.com/whirl-faas/whirl/driver/fake"
	"github.com/whirl-faas/whirl/whisk"
)

// instances holds that no action ever has more containers at work than it may,
// a revision of it counted for itself. A run that was given up is none any more:
// its container goes as soon as its agent can be told.
//
// A leader that is new waits for what others hold, but does not wait for ever:
// what neither an agent nor its holder has told by then it cannot count. And one
// that a new leader has superseded goes on with those who have not heard of that,
// without what the others took along. So until all is calm the containers that one
// leader handed out, and no other was told of since, are held against the bound, and
// from then on all.
func (c *checker) instances() {
	bounds := map[string]int{}
	for _, call := range c.calls {
		if n := call.Action.Instances; n > 0 {
			bounds[call.Action.code()] = n
		}
	}
	if len(bounds) == 0 {
		return
	}
	leaders := c.lessors()
	working := map[string]map[whisk.ContainerID][]*Call{} // that run there, by their code
	for _, event := range c.inOrder() {
		if event.Kind == fake.Destroyed {
			for _, containers := range working {
				delete(containers, event.Container)
			}
			continue
		}
		call := c.calls[event.Activation]
		if call == nil || bounds[call.Action.code()] == 0 {
			continue
		}
		code := call.Action.code()
		if working[code] == nil {
			working[code] = map[whisk.ContainerID][]*Call{}
		}
		switch event.Kind {
		case fake.RunStarted:
			working[code][event.Container] = append(working[code][event.Container], call)
			c.bounded(event, code, bounds[code], working[code], leaders)
		case fake.RunEnded:
			runs := working[code][event.Container]
			working[code][event.Container] = slices.DeleteFunc(runs, func(other *Call) bool { return other == call })
		}
	}
}

// bounded checks a moment in which a container began to work.
func (c *checker) bounded(event fake.Event, code string, bound int, working map[whisk.ContainerID][]*Call, leaders map[whisk.ContainerID][]lessor) {
	leader := latest(leaders[event.Container], event.At)
	calm := !c.Calm.IsZero() && event.At.After(c.Calm)
	var at []whisk.ContainerID
	for id, runs := range working {
		goesOn := slices.ContainsFunc(runs, func(call *Call) bool { return call.over().After(event.At) })
		if goesOn && (calm || leader != 0 && latest(leaders[id], event.At) == leader) {
			at = append(at, id)
		}
	}
	if len(at) > bound {
		slices.Sort(at)
		c.blameContainer(event.Container, "%s: %s runs in %d containers, %s, and may in %d", clock(event.At), code, len(at), at, bound)
	}
}

// over is when the caller's controller had done with the activation.
func (c *Call) over() time.Time {
	return c.Outcome.Start.Add(c.Outcome.Init + c.Outcome.Run)
}

// inOrder returns what happened on all nodes.
func (c *checker) inOrder() (all []fake.Event) {
	for _, node := range c.Nodes {
		all = append(all, node.Events...)
	}
	slices.SortStableFunc(all, func(a, b fake.Event) int { return a.At.Compare(b.At) })
	return all
}

// lessor is a leader that handed a container out, or nobody once its holder has told
// another one of it.
type lessor struct {
	at     time.Time
	leader uint64 // 0 for nobody
}

// lessors returns who handed out or heard of which container when.
func (c *checker) lessors() map[whisk.ContainerID][]lessor {
	all := map[whisk.ContainerID][]lessor{}
	for _, m := range c.Messages {
		switch body := m.Body.(type) {
		case whisk.Allocation:
			all[body.Container.ID] = append(all[body.Container.ID], lessor{m.At, m.Leader})
		case whisk.Register:
			for _, held := range body.Held {
				if latest(all[held.Container], m.At) != m.Leader {
					all[held.Container] = append(all[held.Container], lessor{m.At, 0})
				}
			}
		}
	}
	return all
}

// latest returns the last of a container's lessors by then.
func latest(lessors []lessor, at time.Time) (leader uint64) {
	for _, l := range lessors {
		if !l.at.After(at) {
			leader = l.leader
		}
	}
	return leader
}
