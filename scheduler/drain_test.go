// SPDX-License-Identifier: Apache-2.0

package scheduler_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/scheduler"
	"github.com/whirl-faas/whirl/whisk"
)

func (st *stage) drain(id whisk.NodeID) {
	st.t.Helper()
	if err := st.s.Drain(st.t.Context(), id); err != nil {
		st.t.Fatal(err)
	}
}

func (st *stage) undrain(id whisk.NodeID) {
	st.t.Helper()
	if err := st.s.Undrain(st.t.Context(), id); err != nil {
		st.t.Fatal(err)
	}
}

// removes plays an agent's part in a removal.
func removes(p *agentPeer, c whisk.ContainerID, lessee whisk.ControllerID) {
	p.t.Helper()
	p.want(whisk.RemoveContainer{Epoch: 1, Container: c, Lessee: lessee})
	p.say(whisk.ContainerGone{Container: c, Expected: true})
}

func TestDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, func(c *scheduler.Config) {
			stemCells(1, nil)(c)
			c.Settle = 0
		})
		agent, ctl := st.agent(report("node")), st.controller("one")
		makes(agent)
		hold := func(id whisk.RequisitionID, name string) whisk.Container {
			synctest.Wait() // until there is a stem cell
			ctl.say(request(id, name))
			grant := agent.hear().(whisk.GrantLease)
			agent.say(whisk.LeaseGranted{Container: grant.Container, Lessee: "one", Order: grant.Order})
			makes(agent) // the next stem cell
			c := ctl.hear().(whisk.Allocation).Container
			return c
		}
		working, idle := hold(1, "working"), hold(2, "idle")
		ctl.say(states(idle, whisk.Free))
		synctest.Wait()
		synctest.Wait()
		ctl.say(request(3, "third")) // for a container that is still being given when the drain comes
		prewarmed := agent.hear().(whisk.GrantLease)
		agent.hear() // the stem cell in its place: it is never made
		synctest.Wait()

		st.drain("node")
		st.drain("node") // again is no more
		agent.want(whisk.DrainNode{Epoch: 1, Drain: true})
		st.wantStanding("node", "draining")
		unmade := agent.hear().(whisk.RemoveContainer)
		if unmade.Lessee != "" {
			t.Errorf("heard %+v", unmade)
		}
		agent.say(whisk.CreationFailed{Container: unmade.Container, Message: "broken off"})
		for range 2 {
			switch m := ctl.hear().(type) {
			case whisk.Reclaim:
				if m != (whisk.Reclaim{Container: idle.ID}) && m != (whisk.Reclaim{Container: working.ID, Drain: true}) {
					t.Errorf("heard %+v", m)
				}
			default:
				t.Errorf("heard %T%+v", m, m)
			}
		}
		agent.say(whisk.LeaseGranted{Container: prewarmed.Container, Lessee: "one", Order: prewarmed.Order})
		if got := ctl.hear().(whisk.Allocation); got.Container.ID != prewarmed.Container {
			t.Errorf("heard %+v", got)
		}
		ctl.want(whisk.Reclaim{Container: prewarmed.Container, Drain: true})
		ctl.say(request(4, "hello")) // nothing is placed there
		agent.silent(time.Second)

		ctl.say(whisk.Release{Container: idle.ID, Reason: whisk.ReleaseReclaimed})
		removes(agent, idle.ID, "one")
		ctl.say(whisk.Release{Container: prewarmed.Container, Reason: whisk.ReleaseReclaimed})
		removes(agent, prewarmed.Container, "one")
		st.wantStanding("node", "draining")
		ctl.say(whisk.Release{Container: working.ID, Reason: whisk.ReleaseReclaimed})
		removes(agent, working.ID, "one")
		st.wantStanding("node", "drained")

		st.undrain("node")
		agent.want(whisk.DrainNode{Epoch: 1})
		c := makes(agent) // for the request that waits
		ctl.want(whisk.Allocation{Requisition: 4, Container: c, Origin: whisk.Created})
		makes(agent) // a stem cell
		st.wantStanding("node", "up")
	})
}

func TestDrainOfAnIdleContainerThatIsUsedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, func(c *scheduler.Config) { c.Settle = 0 })
		agent, ctl := st.agent(report("node")), st.controller("one")
		ctl.say(request(1, "hello"))
		c := order(agent)
		agent.say(whisk.ContainerCreated{Container: whisk.Container{ID: c.Container, Node: "node", Spec: c.Spec}})
		held := ctl.hear().(whisk.Allocation).Container
		ctl.say(states(held, whisk.Free))
		synctest.Wait()
		st.drain("node")
		agent.hear()
		ctl.want(whisk.Reclaim{Container: held.ID})
		ctl.say(states(held, whisk.Busy))
		ctl.want(whisk.Reclaim{Container: held.ID, Drain: true})
		// The session breaks before it is given back: it is asked back again.
		ctl.stream.Close()
		synctest.Wait()
		ctl = st.controller("one", whisk.HeldContainer{Container: held.ID, Node: "node", Key: action("hello"), Concurrency: 1})
		ctl.want(whisk.Reclaim{Container: held.ID, Drain: true})
		ctl.say(whisk.Release{Container: held.ID, Reason: whisk.ReleaseReclaimed})
		removes(agent, held.ID, "one")
		st.wantStanding("node", "drained")
	})
}

func TestDrainLasts(t *testing.T) {
	bubble("over sessions and restarts of the agent", t, func(t *testing.T) {
		st := newStage(t, nil)
		agent := st.agent(report("node"))
		synctest.Wait()
		st.drain("node")
		agent.want(whisk.DrainNode{Epoch: 1, Drain: true})
		agent.stream.Close()
		st.wantStanding("node", "unresponsive")
		agent = st.agent(report("node", func(r *whisk.NodeReport) { r.Draining = true }))
		agent.silent(time.Minute) // it knows
		st.wantStanding("node", "drained")
		agent.stream.Close()
		synctest.Wait()
		agent = st.agent(report("node")) // a new process, which does not
		agent.want(whisk.DrainNode{Epoch: 1, Drain: true})
		agent.stream.Close()
		synctest.Wait()
		st.undrain("node") // while it is away
		agent = st.agent(report("node", func(r *whisk.NodeReport) { r.Draining = true }))
		agent.want(whisk.DrainNode{Epoch: 1})
		st.wantStanding("node", "up")
	})
	bubble("over a restart of the scheduler", t, func(t *testing.T) {
		st := newStage(t, stemCells(1, nil))
		hosts := []whisk.HostedContainer{
			{Container: whisk.Container{ID: "ready", Node: "node", Spec: small}},
			{Container: whisk.Container{ID: "used", Node: "node", Spec: small}, Lessee: "one", Used: true},
		}
		agent := st.agent(report("node", func(r *whisk.NodeReport) { r.Draining, r.Containers = true, hosts }))
		st.wantStanding("node", "draining")
		agent.silent(4 * time.Second) // nothing is removed before all had time to report
		ctl := st.controller("one", whisk.HeldContainer{Container: "used", Node: "node", Key: action("hello"), Concurrency: 1})
		ctl.want(whisk.Reclaim{Container: "used", Drain: true})
		removes(agent, "ready", "")
		ctl.say(whisk.Release{Container: "used", Reason: whisk.ReleaseReclaimed})
		removes(agent, "used", "one")
		st.wantStanding("node", "drained")
	})
	bubble("of a node that nobody knows", t, func(t *testing.T) {
		st := newStage(t, nil)
		if err := st.s.Drain(t.Context(), "nowhere"); whisk.KindOf(err) != whisk.NotFound {
			t.Errorf("ended in %v", err)
		}
	})
}
