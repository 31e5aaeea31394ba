// SPDX-License-Identifier: Apache-2.0

package scheduler_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Those that have waited for long have their turns one right after the other, and
// do not wait anew because another one was first.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, nil)
		agent, ctl := st.agent(node(512*whisk.MB)), st.controller("one")
		hot := request(1, "hot")
		hot.Count = 50
		ctl.say(hot)
		first, second := makes(agent), whisk.Container{}
		ctl.hear()
		second = makes(agent)
		ctl.hear()
		time.Sleep(6 * time.Second) // until it has settled
		cold, cool := request(2, "cold"), request(3, "cool")
		cold.Count, cool.Count = 5, 5 // but one container each is all they get from one that has one left
		ctl.say(cold)
		ctl.say(cool)
		asked := time.Now()
		ctl.want(whisk.Reclaim{Container: first.ID, Drain: true})
		ctl.say(whisk.Release{Container: first.ID, Reason: whisk.ReleaseReclaimed})
		agent.want(whisk.RemoveContainer{Epoch: 1, Container: first.ID, Lessee: "one"})
		agent.say(whisk.ContainerGone{Container: first.ID, Expected: true})
		ctl.want(whisk.Reclaim{Container: second.ID, Drain: true})
		if waited := time.Since(asked); waited != time.Second {
			t.Errorf("the second had its turn after %s", waited)
		}
		if c := makes(agent); !strings.HasSuffix(string(c.ID), "_cold") {
			t.Errorf("made %s", c.ID)
		}
		ctl.hear()
		ctl.say(whisk.Release{Container: second.ID, Reason: whisk.ReleaseReclaimed})
		agent.want(whisk.RemoveContainer{Epoch: 1, Container: second.ID, Lessee: "one"})
		agent.say(whisk.ContainerGone{Container: second.ID, Expected: true})
		if c := makes(agent); !strings.HasSuffix(string(c.ID), "_cool") {
			t.Errorf("made %s", c.ID)
		}
	})
}

// A container that was dear to make is left at work for longer, within limits.
func TestDearContainersStay(t *testing.T) {
	for took, stays := range map[time.Duration]time.Duration{150 * time.Millisecond: 3 * time.Second, 20 * time.Second: 5 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			st := newStage(t, nil)
			agent, ctl := st.agent(node(256*whisk.MB)), st.controller("one")
			time.Sleep(6 * time.Second) // until it has settled
			hot := request(1, "hot")
			hot.Count = 5
			ctl.say(hot)
			order := agent.hear().(whisk.CreateContainer)
			ctl.say(request(2, "cold"))
			time.Sleep(took)
			agent.say(whisk.ContainerCreated{Container: whisk.Container{ID: order.Container, Node: "node", Spec: order.Spec}})
			ctl.hear()
			made := time.Now()
			ctl.want(whisk.Reclaim{Container: order.Container, Drain: true})
			if worked := time.Since(made); worked != stays {
				t.Errorf("made in %s, it was drained after %s at work", took, worked)
			}
		})
	}
}

// A container that stays until it has paid off has no place that is due to another
// namespace.
func TestIdleContainersPayOffForTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, nil)
		agent, ctl := st.agent(node(1*whisk.GB)), st.controller("one")
		time.Sleep(6 * time.Second) // until it has settled
		var idle whisk.StateReport
		for id, name := range []string{"cold", "cool"} {
			ctl.say(of("noisy", whisk.RequisitionID(id), name))
			order := agent.hear().(whisk.CreateContainer)
			time.Sleep(300 * time.Millisecond)
			agent.say(whisk.ContainerCreated{Container: whisk.Container{ID: order.Container, Node: "node", Spec: order.Spec}})
			ctl.hear()
			idle.States = append(idle.States, whisk.ContainerUse{Container: order.Container, State: whisk.Free, Since: time.Now()})
		}
		hot := of("noisy", 10, "hot")
		hot.Count = 50
		ctl.say(hot)
		for range 2 {
			makes(agent)
			ctl.hear()
		}
		ctl.say(idle)
		synctest.Wait()
		asked := time.Now()
		crowd(ctl, "meek", 101, 3) // of which a third would have more than noisy then
		for _, use := range idle.States {
			ctl.want(whisk.Reclaim{Container: use.Container})
		}
		for _, use := range idle.States {
			ctl.say(whisk.Release{Container: use.Container, Reason: whisk.ReleaseReclaimed})
			agent.want(whisk.RemoveContainer{Epoch: 1, Container: use.Container, Lessee: "one"})
			agent.say(whisk.ContainerGone{Container: use.Container, Expected: true})
			if got := namespaceOf(t, makes(agent)); got != "meek" {
				t.Errorf("%s has the place", got)
			}
			ctl.hear()
		}
		if waited := time.Since(asked); waited != 0 {
			t.Errorf("the places were had after %s", waited)
		}
	})
}

// Where an action has more to do than its containers can, one that was made for
// another stays until it has paid off, though it is idle, and nothing is drained meanwhile.
func TestIdleContainersPayOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, nil)
		agent, ctl := st.agent(node(512*whisk.MB)), st.controller("one")
		time.Sleep(6 * time.Second) // until it has settled
		ask := func(id whisk.RequisitionID, name string, count int, took time.Duration) (whisk.ContainerID, time.Time) {
			m := request(id, name)
			m.Count = count
			ctl.say(m)
			order := agent.hear().(whisk.CreateContainer)
			time.Sleep(took)
			agent.say(whisk.ContainerCreated{Container: whisk.Container{ID: order.Container, Node: "node", Spec: order.Spec}})
			ctl.hear()
			return order.Container, time.Now()
		}
		cold, made := ask(1, "cold", 1, 150*time.Millisecond)
		ask(2, "hot", 50, 50*time.Millisecond) // worth no more than a second
		idle := whisk.StateReport{States: []whisk.ContainerUse{{Container: cold, State: whisk.Free, Since: time.Now()}}}
		ctl.say(idle)
		ctl.say(request(3, "cool"))
		ctl.want(whisk.Reclaim{Container: cold})
		if stayed := time.Since(made); stayed != 3*time.Second {
			t.Errorf("made in 150ms, it was asked for after %s", stayed)
		}
	})
}

// fills adds a node that an action of a namespace has all of, and is busy on.
func (st *stage) fills(ctl *peer[whisk.FactoryRequest, whisk.FactoryEvent], id whisk.RequisitionID, namespace string, on whisk.NodeID, containers int) (made []whisk.Container) {
	agent := st.agent(report(on, func(r *whisk.NodeReport) { r.Memory = whisk.Bytes(containers) * small.Memory }))
	m := of(namespace, id, namespace)
	m.Count = containers
	ctl.say(m)
	for range containers {
		made = append(made, makes(agent))
		ctl.hear()
	}
	return made
}

// A container that takes long to end what it is at holds up those that wait for room
// on its node, and nobody else.
func TestALongDrainHoldsUpNoOtherNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, nil)
		ctl := st.controller("one")
		time.Sleep(6 * time.Second) // until it has settled
		slow := st.fills(ctl, 1, "slow", "a", 2)
		quick := st.fills(ctl, 2, "quick", "b", 2)
		ctl.say(of("slow", 3, "cold"))
		ctl.say(of("slow", 4, "cool")) // waits for the end of what is drained for cold
		time.Sleep(500 * time.Millisecond)
		ctl.say(of("quick", 5, "cold"))
		asked := time.Now()
		ctl.want(whisk.Reclaim{Container: slow[0].ID, Drain: true})
		ctl.want(whisk.Reclaim{Container: quick[0].ID, Drain: true})
		if waited := time.Since(asked); waited > 2*time.Second {
			t.Errorf("it had its turn after %s", waited)
		}
		ctl.silent(time.Minute) // a node makes room for one at a time
	})
}

// What was to be made where a container takes long to end is made elsewhere when there
// is room.
func TestPlansLeaveALongDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, nil)
		agent, ctl := st.agent(node(512*whisk.MB)), st.controller("one")
		time.Sleep(6 * time.Second) // until it has settled
		hot := of("hot", 1, "hot")
		hot.Count = 2
		ctl.say(hot)
		slow := makes(agent)
		ctl.hear()
		idle := makes(agent)
		ctl.hear()
		ctl.say(of("cold", 2, "cold"))
		ctl.want(whisk.Reclaim{Container: slow.ID, Drain: true})
		ctl.say(states(idle, whisk.Free))
		synctest.Wait()
		ctl.say(of("cool", 3, "cool"))
		ctl.want(whisk.Reclaim{Container: idle.ID})
		ctl.say(whisk.Release{Container: idle.ID, Reason: whisk.ReleaseReclaimed})
		removes(agent, idle.ID, "one")
		makes(agent) // for cold, which came first
		ctl.hear()
		other := st.agent(report("other"))
		came := time.Now()
		if c := makes(other); !strings.HasSuffix(string(c.ID), "_cool") {
			t.Errorf("made %s", c.ID)
		}
		if waited := time.Since(came); waited > time.Second {
			t.Errorf("it was made after %s", waited)
		}
	})
}

// Nobody is passed over on a node where it could have its turn a little later.
func TestTurnsAreKeptWhileContainersPayOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, nil)
		agent, ctl := st.agent(node(512*whisk.MB)), st.controller("one")
		time.Sleep(6 * time.Second) // until it has settled
		ctl.say(of("cheap", 1, "hot"))
		cheap := makes(agent)
		ctl.hear()
		ctl.say(of("dear", 2, "hot"))
		order := agent.hear().(whisk.CreateContainer)
		ctl.say(of("dear", 3, "cold"))
		time.Sleep(150 * time.Millisecond)
		agent.say(whisk.ContainerCreated{Container: whisk.Container{ID: order.Container, Node: "node", Spec: order.Spec}})
		ctl.hear()
		made := time.Now()
		ctl.say(of("cheap", 4, "cold"))
		ctl.want(whisk.Reclaim{Container: order.Container, Drain: true})
		if worked := time.Since(made); worked != 3*time.Second {
			t.Errorf("the dear one was drained after %s at work", worked)
		}
		ctl.say(whisk.Release{Container: order.Container, Reason: whisk.ReleaseReclaimed})
		agent.want(whisk.RemoveContainer{Epoch: 1, Container: order.Container, Lessee: "one"})
		agent.say(whisk.ContainerGone{Container: order.Container, Expected: true})
		ctl.want(whisk.Reclaim{Container: cheap.ID, Drain: true})
	})
}

// Who insists has no use for what the action with most has at work on nodes that are
// unhealthy or too small. Then another one gives up a container.
func TestTurnsPassOverNodesOfNoUse(t *testing.T) {
	for name, row := range map[string]struct {
		memory  whisk.Bytes // of the container that is wanted
		problem string      // of the nodes with most at work
	}{
		"unhealthy": {256 * whisk.MB, "the disk is full"},
		"small":     {768 * whisk.MB, ""},
	} {
		bubble(name, t, func(t *testing.T) {
			st := newStage(t, nil)
			ctl := st.controller("one")
			time.Sleep(6 * time.Second) // until it has settled
			fill := func(namespace string, id whisk.RequisitionID, node whisk.NodeID, memory whisk.Bytes) *agentPeer {
				agent := st.agent(report(node, func(r *whisk.NodeReport) { r.Memory = memory }))
				m := of(namespace, id, namespace)
				m.Count = int(memory / m.Spec.Memory)
				ctl.say(m)
				for range m.Count {
					makes(agent)
					ctl.hear()
				}
				return agent
			}
			for i, node := range []whisk.NodeID{"a", "b"} {
				agent := fill("most", whisk.RequisitionID(i+1), node, 512*whisk.MB)
				agent.say(report(node, func(r *whisk.NodeReport) { r.Memory, r.Problem = 512*whisk.MB, row.problem }))
			}
			fill("less", 3, "c", 768*whisk.MB)
			cold := of("none", 4, "cold")
			cold.Spec.Memory, cold.Deadline = row.memory, time.Now().Add(time.Minute)
			ctl.say(cold)
			if reclaim, ok := ctl.hear().(whisk.Reclaim); !ok || !reclaim.Drain || !strings.HasSuffix(string(reclaim.Container), "_less") {
				t.Errorf("heard %+v, want one of less's drained", reclaim)
			}
		})
	}
}

// outnumbered makes a node with one container of a namespace, and three of another, which
// waits for more.
func outnumbered(t *testing.T) (*peer[whisk.FactoryRequest, whisk.FactoryEvent], whisk.Container) {
	st := newStage(t, nil)
	agent, ctl := st.agent(node(1*whisk.GB)), st.controller("one")
	time.Sleep(6 * time.Second) // until it has settled
	ctl.say(of("meek", 100, "meek"))
	meek := makes(agent)
	ctl.hear()
	crowd(ctl, "noisy", 1, 3)
	for range 3 {
		makes(agent)
		ctl.hear()
	}
	ctl.say(of("noisy", 4, "noisy0"))
	return ctl, meek
}

// Where activations are short a few callers have one wait nearly always, but none of
// their requisitions stands for long.
func TestShortWaitsAddUp(t *testing.T) {
	for _, row := range []struct {
		name  string
		pause time.Duration // between two requisitions
		want  bool
	}{
		{"short pauses", 10 * time.Millisecond, true},
		{"long pauses", 300 * time.Millisecond, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctl, _ := outnumbered(t)
				if drained := waitsOffAndOn(ctl, row.pause); drained != row.want {
					t.Errorf("that a busy container was asked back is %t", drained)
				}
			})
		})
	}
}

// waitsOffAndOn plays an action with one container whose further requisitions are
// withdrawn, and reports whether a busy container was asked back for one of them.
func waitsOffAndOn(ctl *peer[whisk.FactoryRequest, whisk.FactoryEvent], pause time.Duration) bool {
	for id := whisk.RequisitionID(101); id < 115; id++ {
		ctl.say(of("meek", id, "meek"))
		if m, ok := ctl.within(100 * time.Millisecond); ok {
			reclaim, ok := m.(whisk.Reclaim)
			return ok && reclaim.Drain
		}
		ctl.say(whisk.Withdraw{ID: id, Count: 1})
		time.Sleep(pause)
	}
	return false
}

// Who has short activations does not lose its containers between them to a namespace
// with more, but does when it pauses for longer.
func TestShortPausesAreSpared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctl, meek := outnumbered(t)
		for range 10 {
			ctl.say(states(meek, whisk.Free))
			ctl.silent(200 * time.Millisecond)
			ctl.say(states(meek, whisk.Busy))
			ctl.silent(10 * time.Millisecond)
		}
		ctl.say(states(meek, whisk.Free))
		ctl.silent(249 * time.Millisecond)
		if m, ok := ctl.within(time.Second); !ok || m != any(whisk.Reclaim{Container: meek.ID}) {
			t.Errorf("after the pause the controller hears %#v, want the container asked back", m)
		}
	})
}

// What is spared is there for another action of the same namespace.
func TestPausesAreNotSparedFromOnesOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctl, meek := outnumbered(t)
		ctl.say(states(meek, whisk.Free))
		ctl.silent(10 * time.Millisecond)
		ctl.say(of("meek", 101, "other"))
		if m, ok := ctl.within(time.Millisecond); !ok || m != any(whisk.Reclaim{Container: meek.ID}) {
			t.Errorf("the controller hears %#v, want the container asked back", m)
		}
	})
}
