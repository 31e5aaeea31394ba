// SPDX-License-Identifier: Apache-2.0

package scheduler_test

import (
	"context"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/rpc/inmem"
	"github.com/whirl-faas/whirl/scheduler"
	"github.com/whirl-faas/whirl/whisk"
)

// stage is a running scheduler with peers that the test plays by hand. It is
// made inside a synctest bubble, whose clock it runs on.
type stage struct {
	t   *testing.T
	s   *scheduler.Scheduler
	end context.CancelFunc
	ran chan error
}

func newStage(t *testing.T, alter func(*scheduler.Config)) *stage {
	return newStageWith(t, scheduler.Deps{}, alter)
}

func newStageWith(t *testing.T, deps scheduler.Deps, alter func(*scheduler.Config)) *stage {
	cfg := scheduler.Default()
	if alter != nil {
		alter(&cfg)
	}
	s, err := scheduler.New(cfg, deps)
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	st := &stage{t: t, s: s, end: end, ran: make(chan error, 1)}
	go func() { st.ran <- s.Run(ctx) }()
	t.Cleanup(func() {
		end()
		<-st.ran
	})
	return st
}

// peer is the far end of a session. Alive peers send a keep-alive now and then.
type peer[Out, In any] struct {
	t      *testing.T
	stream whisk.Stream[Out, In]
	over   chan error   // what Serve returned
	roster whisk.Roster // the last one heard
}

func (st *stage) agent(report whisk.NodeReport) *peer[whisk.AgentReport, whisk.AgentCommand] {
	near, far := inmem.Pipe[whisk.AgentReport, whisk.AgentCommand]()
	p := &peer[whisk.AgentReport, whisk.AgentCommand]{t: st.t, stream: near, over: make(chan error, 1)}
	go func() { p.over <- st.s.ServeAgent(st.t.Context(), far) }()
	p.live(whisk.KeepAlive{})
	p.say(report)
	return p
}

func (st *stage) controller(id whisk.ControllerID, held ...whisk.HeldContainer) *peer[whisk.FactoryRequest, whisk.FactoryEvent] {
	return st.register(whisk.Register{Controller: id, Held: held})
}

// forwarding is a controller that others reach at an address.
func (st *stage) forwarding(id whisk.ControllerID, peers string) *peer[whisk.FactoryRequest, whisk.FactoryEvent] {
	return st.register(whisk.Register{Controller: id, Peers: peers})
}

func (st *stage) register(first whisk.Register) *peer[whisk.FactoryRequest, whisk.FactoryEvent] {
	near, far := inmem.Pipe[whisk.FactoryRequest, whisk.FactoryEvent]()
	p := &peer[whisk.FactoryRequest, whisk.FactoryEvent]{t: st.t, stream: near, over: make(chan error, 1)}
	go func() { p.over <- st.s.ServeController(st.t.Context(), far) }()
	p.live(whisk.KeepAlive{})
	p.say(first)
	return p
}

func (p *peer[Out, In]) live(alive Out) {
	go func() {
		for tick := time.NewTicker(5 * time.Second); ; {
			select {
			case <-tick.C:
			case <-p.t.Context().Done():
				return
			}
			if p.stream.Send(p.t.Context(), alive) != nil {
				return
			}
		}
	}()
	p.t.Cleanup(func() { p.stream.Close() })
}

func (p *peer[Out, In]) say(m Out) {
	p.t.Helper()
	if err := p.stream.Send(p.t.Context(), m); err != nil {
		p.t.Fatalf("send %+v: %v", m, err)
	}
}

// aside reports whether a message is no part of the conversation: a keep-alive,
// or a roster, which it notes.
func (p *peer[Out, In]) aside(m In) bool {
	switch m := any(m).(type) {
	case whisk.KeepAlive:
		return true
	case whisk.Roster:
		p.roster = m
		return true
	}
	return false
}

// hear returns the next message of the conversation, within ten minutes.
func (p *peer[Out, In]) hear() any {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), 10*time.Minute)
	defer cancel()
	for {
		m, err := p.stream.Recv(ctx)
		if err != nil {
			p.t.Fatalf("nothing heard: %v", err)
		}
		if !p.aside(m) {
			return m
		}
	}
}

// want hears a message and compares it.
func (p *peer[Out, In]) want(m any) {
	p.t.Helper()
	if got := p.hear(); !reflect.DeepEqual(got, m) {
		p.t.Fatalf("heard %T%+v, want %T%+v", got, got, m, m)
	}
}

// silent checks that nothing of the conversation comes for a while.
func (p *peer[Out, In]) silent(while time.Duration) {
	p.t.Helper()
	if m, ok := p.within(while); ok {
		p.t.Fatalf("heard %T%+v, want silence", m, m)
	}
}

// within returns the next message of the conversation, if one comes in time.
func (p *peer[Out, In]) within(while time.Duration) (message any, ok bool) {
	ctx, cancel := context.WithTimeout(p.t.Context(), while)
	defer cancel()
	for {
		m, err := p.stream.Recv(ctx)
		if err != nil {
			return nil, false
		}
		if !p.aside(m) {
			return m, true
		}
	}
}

type agentPeer = peer[whisk.AgentReport, whisk.AgentCommand]

// makes plays an agent's part in a creation, and returns what was made.
func makes(p *agentPeer) whisk.Container {
	p.t.Helper()
	m, ok := p.hear().(whisk.CreateContainer)
	if !ok {
		p.t.Fatalf("heard %T%+v, want an order to create", m, m)
	}
	c := whisk.Container{ID: m.Container, Node: "node", Spec: m.Spec, Address: whisk.Address{Network: "memory", Address: string(m.Container)}}
	p.say(whisk.ContainerCreated{Container: c})
	return c
}

// grants plays an agent's part in a change of the lessee.
func grants(p *agentPeer, c whisk.Container, from, to whisk.ControllerID) {
	p.t.Helper()
	order := p.hear().(whisk.GrantLease)
	if order.Container != c.ID || order.From != from || order.To != to {
		p.t.Fatalf("heard %+v, want %s to go from %q to %q", order, c.ID, from, to)
	}
	p.say(whisk.LeaseGranted{Container: c.ID, Lessee: to, Order: order.Order})
}

var small = whisk.ContainerSpec{Kind: "nodejs:20", Memory: 256 * whisk.MB}

func action(name string) whisk.ActionKey {
	return whisk.ActionKey{Namespace: "guest", Action: whisk.FullName{Namespace: "guest", Name: name}, Revision: 1}
}

func request(id whisk.RequisitionID, name string) whisk.Requisition {
	return whisk.Requisition{ID: id, Key: action(name), Spec: small, Concurrency: 1, Count: 1, Deadline: time.Now().Add(30 * time.Second), Label: name}
}

func node(memory whisk.Bytes, hosts ...whisk.HostedContainer) whisk.NodeReport {
	return whisk.NodeReport{Node: "node", Memory: memory, Containers: hosts}
}

func states(c whisk.Container, state whisk.UseState) whisk.StateReport {
	return whisk.StateReport{States: []whisk.ContainerUse{{Container: c.ID, State: state, Since: time.Now()}}}
}

func bubble(name string, t *testing.T, play func(t *testing.T)) {
	t.Run(name, func(t *testing.T) { synctest.Test(t, play) })
}

func TestServingOrder(t *testing.T) {
	bubble("created", t, func(t *testing.T) {
		st := newStage(t, nil)
		agent, ctl := st.agent(node(1*whisk.GB)), st.controller("one")
		ctl.say(request(1, "hello"))
		c := makes(agent)
		if !strings.HasSuffix(string(c.ID), "_hello") || len(c.ID) > 63 {
			t.Errorf("id is %q", c.ID)
		}
		ctl.want(whisk.Allocation{Requisition: 1, Container: c, Origin: whisk.Created})
	})
	bubble("kept warm after its controller left", t, func(t *testing.T) {
		st := newStage(t, nil)
		agent, one, two := st.agent(node(1*whisk.GB)), st.controller("one"), st.controller("two")
		one.say(request(1, "hello"))
		c := makes(agent)
		one.hear()
		one.say(whisk.Release{Container: c.ID, Reason: whisk.ReleaseLeaving})
		grants(agent, c, "one", "")
		synctest.Wait()
		two.say(request(1, "hello"))
		grants(agent, c, "", "two")
		two.want(whisk.Allocation{Requisition: 1, Container: c, Origin: whisk.Transferred})
	})
	bubble("free at another controller", t, func(t *testing.T) {
		st := newStage(t, nil)
		agent, one, two := st.agent(node(1*whisk.GB)), st.controller("one"), st.controller("two")
		one.say(request(1, "hello"))
		c := makes(agent)
		one.hear()
		one.say(states(c, whisk.Free))
		synctest.Wait()
		two.say(request(1, "hello"))
		one.want(whisk.Reclaim{Container: c.ID})
		one.say(whisk.Release{Container: c.ID, Reason: whisk.ReleaseReclaimed})
		grants(agent, c, "one", "two")
		two.want(whisk.Allocation{Requisition: 1, Container: c, Origin: whisk.Transferred})
	})
	bubble("free at another controller, which needs it again", t, func(t *testing.T) {
		st := newStage(t, nil)
		agent, one, two := st.agent(node(1*whisk.GB)), st.controller("one"), st.controller("two")
		one.say(request(1, "hello"))
		c := makes(agent)
		one.hear()
		one.say(states(c, whisk.Free))
		synctest.Wait()
		two.say(request(1, "hello"))
		one.want(whisk.Reclaim{Container: c.ID})
		one.say(states(c, whisk.Busy))
		other := makes(agent)
		two.want(whisk.Allocation{Requisition: 1, Container: other, Origin: whisk.Created})
	})
	bubble("prewarmed, and replaced", t, func(t *testing.T) {
		st := newStage(t, stemCells(1, nil))
		agent, ctl := st.agent(node(1*whisk.GB)), st.controller("one")
		c := makes(agent)
		synctest.Wait()
		ctl.say(request(1, "hello"))
		grants(agent, c, "", "one")
		ctl.want(whisk.Allocation{Requisition: 1, Container: c, Origin: whisk.Prewarmed})
		if next := makes(agent); next.Spec != small {
			t.Errorf("replaced by %+v", next)
		}
	})
	bubble("given back unused", t, func(t *testing.T) {
		st := newStage(t, nil)
		agent, ctl := st.agent(node(1*whisk.GB)), st.controller("one")
		ctl.say(request(1, "hello"))
		c := makes(agent)
		ctl.hear()
		ctl.say(whisk.Release{Container: c.ID, Reason: whisk.ReleaseUnused})
		grants(agent, c, "one", "")
		synctest.Wait()
		ctl.say(request(2, "other"))
		grants(agent, c, "", "one")
		ctl.want(whisk.Allocation{Requisition: 2, Container: c, Origin: whisk.Prewarmed})
	})
	bubble("the least recently used idle one goes", t, func(t *testing.T) {
		st := newStage(t, nil)
		agent, ctl := st.agent(node(512*whisk.MB)), st.controller("one")
		var made []whisk.Container
		for i, name := range []string{"first", "second"} {
			ctl.say(request(whisk.RequisitionID(i+1), name))
			made = append(made, makes(agent))
			ctl.hear()
		}
		for _, i := range []int{1, 0} {
			time.Sleep(time.Second)
			ctl.say(states(made[i], whisk.Free))
		}
		ctl.say(request(3, "third"))
		ctl.want(whisk.Reclaim{Container: made[1].ID})
		ctl.say(whisk.Release{Container: made[1].ID, Reason: whisk.ReleaseReclaimed})
		agent.want(whisk.RemoveContainer{Epoch: 1, Container: made[1].ID, Lessee: "one"})
		agent.silent(time.Second) // its memory is not free yet
		agent.say(whisk.ContainerGone{Container: made[1].ID, Expected: true})
		c := makes(agent)
		ctl.want(whisk.Allocation{Requisition: 3, Container: c, Origin: whisk.Created})
	})
	bubble("redirected to spare concurrency", t, func(t *testing.T) {
		st := newStage(t, nil)
		agent, one, two := st.agent(node(1*whisk.GB)), st.forwarding("one", "one:1"), st.forwarding("two", "two:1")
		r := request(1, "hello")
		r.Concurrency = 3
		one.say(r)
		makes(agent)
		one.hear()
		r.Count = 3
		two.say(r)
		two.want(whisk.Redirect{Requisition: 1, Controller: "one", Peers: "one:1"})
		two.want(whisk.Redirect{Requisition: 1, Controller: "one", Peers: "one:1"})
		c := makes(agent) // for what it cannot hold
		two.want(whisk.Allocation{Requisition: 1, Container: c, Origin: whisk.Created})
	})
	for name, row := range map[string]struct {
		holder, asker string // where they are reached
		own           bool
	}{
		"the holder takes nothing":      {"", "two:1", false},
		"who asks forwards nothing":     {"one:1", "", false},
		"who asks wants one of its own": {"one:1", "two:1", true},
	} {
		bubble("not redirected: "+name, t, func(t *testing.T) {
			st := newStage(t, nil)
			agent, one, two := st.agent(node(1*whisk.GB)), st.forwarding("one", row.holder), st.forwarding("two", row.asker)
			r := request(1, "hello")
			r.Concurrency = 3
			one.say(r)
			makes(agent)
			one.hear()
			r.Own = row.own
			two.say(r)
			c := makes(agent)
			two.want(whisk.Allocation{Requisition: 1, Container: c, Origin: whisk.Created})
		})
	}
}

func stemCells(count int, reactive *whisk.ReactiveStemCell) func(*scheduler.Config) {
	return func(c *scheduler.Config) {
		c.Manifest.Families = []whisk.RuntimeFamily{{Name: "nodejs", Runtimes: []whisk.Runtime{{
			Kind: "nodejs:20", Default: true, Image: "shown only",
			StemCells: []whisk.StemCell{{Count: count, Memory: 256 * whisk.MB, Reactive: reactive}},
		}}}}
	}
}

func TestRejections(t *testing.T) {
	const text = "Failed to provision resources to run the action."
	bubble("no capacity by the deadline", t, func(t *testing.T) {
		st := newStage(t, nil)
		agent, ctl := st.agent(node(256*whisk.MB)), st.controller("one")
		ctl.say(request(1, "hello"))
		makes(agent)
		ctl.hear()
		start := time.Now()
		ctl.say(request(2, "hello"))
		ctl.want(whisk.Rejection{Requisition: 2, Reason: whisk.NoCapacity, Message: text, RetryAfter: time.Second})
		if waited := time.Since(start); waited != 30*time.Second {
			t.Errorf("rejected after %s", waited)
		}
	})
	bubble("no node could hold it", t, func(t *testing.T) {
		st := newStage(t, nil)
		st.agent(node(128 * whisk.MB))
		ctl := st.controller("one")
		start := time.Now()
		ctl.say(request(1, "hello"))
		ctl.want(whisk.Rejection{Requisition: 1, Reason: whisk.NeverFits, Message: text})
		if waited := time.Since(start); waited != 5*time.Second {
			t.Errorf("rejected after %s, want the settle time", waited)
		}
		ctl.say(request(2, "hello"))
		ctl.want(whisk.Rejection{Requisition: 2, Reason: whisk.NeverFits, Message: text})
		if waited := time.Since(start); waited != 5*time.Second {
			t.Errorf("then rejected after %s, want at once", waited)
		}
	})
	bubble("no node is known yet", t, func(t *testing.T) {
		st := newStage(t, nil)
		ctl := st.controller("one")
		ctl.say(request(1, "hello"))
		time.Sleep(20 * time.Second)
		c := makes(st.agent(node(256 * whisk.MB)))
		ctl.want(whisk.Allocation{Requisition: 1, Container: c, Origin: whisk.Created})
	})
	bubble("the node fails", t, func(t *testing.T) {
		st := newStage(t, nil)
		agent, ctl := st.agent(node(1*whisk.GB)), st.controller("one")
		ctl.say(request(1, "hello"))
		for range 3 {
			order := agent.hear().(whisk.CreateContainer)
			agent.say(whisk.CreationFailed{Container: order.Container, Fault: whisk.NodeFault, Message: "disk full"})
		}
		ctl.want(whisk.Rejection{Requisition: 1, Reason: whisk.StartFailed, Message: text})
		agent.silent(time.Minute)
	})
	bubble("the image is bad", t, func(t *testing.T) {
		st := newStage(t, nil)
		agent, ctl := st.agent(node(1*whisk.GB)), st.controller("one")
		ctl.say(request(1, "hello"))
		order := agent.hear().(whisk.CreateContainer)
		agent.say(whisk.CreationFailed{Container: order.Container, Fault: whisk.UserFault, Message: "no such image"})
		ctl.want(whisk.Rejection{Requisition: 1, Reason: whisk.BadImage, Message: "no such image"})
		agent.silent(time.Minute)
	})
	bubble("too many wait", t, func(t *testing.T) {
		st := newStage(t, func(c *scheduler.Config) { c.MaxWaiting = 4 })
		ctl := st.controller("one")
		for id := range whisk.RequisitionID(3) {
			ctl.say(request(id+1, "hello"))
		}
		got := ctl.hear().(whisk.Rejection)
		if got.Requisition != 3 || got.Reason != whisk.Overloaded || got.RetryAfter <= 0 {
			t.Errorf("heard %+v", got)
		}
	})
}

func TestWithdrawnWhileMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, nil)
		agent, ctl := st.agent(node(1*whisk.GB)), st.controller("one")
		ctl.say(request(1, "hello"))
		order := agent.hear().(whisk.CreateContainer)
		ctl.say(whisk.Withdraw{ID: 1, Count: 1})
		synctest.Wait()
		c := whisk.Container{ID: order.Container, Node: "node", Spec: order.Spec}
		agent.say(whisk.ContainerCreated{Container: c})
		grants(agent, c, "one", "")
		made := time.Now()
		agent.want(whisk.RemoveContainer{Epoch: 1, Container: c.ID})
		if lived := time.Since(made); lived != time.Minute {
			t.Errorf("nobody wanted it for %s, then it went", lived)
		}
	})
}

// An allocation tells what its creation took of the time since the requisition: all of
// it, the rest of what had begun before, or nothing.
func TestAllocationTellsItsCreation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, stemCells(1, nil))
		agent, ctl := st.agent(node(256*whisk.MB)), st.controller("one")
		made := func(order whisk.CreateContainer, took time.Duration) whisk.Container {
			c := whisk.Container{ID: order.Container, Node: "node", Spec: order.Spec}
			agent.say(whisk.ContainerCreated{Container: c, Took: took})
			return c
		}
		order := agent.hear().(whisk.CreateContainer)
		time.Sleep(30 * time.Millisecond)
		ctl.say(request(1, "hello"))
		time.Sleep(20 * time.Millisecond)
		c := made(order, 50*time.Millisecond)
		grants(agent, c, "", "one")
		ctl.want(whisk.Allocation{Requisition: 1, Container: c, Origin: whisk.Created, Creation: 20 * time.Millisecond})

		ctl.say(whisk.Release{Container: c.ID, Reason: whisk.ReleaseUnused})
		grants(agent, c, "one", "")
		time.Sleep(time.Second)
		ctl.say(request(2, "hello"))
		grants(agent, c, "", "one")
		ctl.want(whisk.Allocation{Requisition: 2, Container: c, Origin: whisk.Prewarmed})

		r := request(3, "other")
		r.Spec.Kind = "python:3"
		ctl.say(whisk.Release{Container: c.ID, Reason: whisk.ReleaseFailed})
		ctl.say(r)
		agent.want(whisk.RemoveContainer{Epoch: 1, Container: c.ID, Lessee: "one"})
		time.Sleep(10 * time.Millisecond)
		agent.say(whisk.ContainerGone{Container: c.ID})
		order = agent.hear().(whisk.CreateContainer)
		time.Sleep(7 * time.Millisecond)
		c = made(order, 7*time.Millisecond)
		ctl.want(whisk.Allocation{Requisition: 3, Container: c, Origin: whisk.Created, Creation: 7 * time.Millisecond})
	})
}

func TestCreationsPerNodeAreCapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, func(c *scheduler.Config) { c.CreationsPerNode = 2 })
		agent, ctl := st.agent(node(1*whisk.GB)), st.controller("one")
		r := request(1, "hello")
		r.Count = 4
		ctl.say(r)
		first := agent.hear().(whisk.CreateContainer)
		agent.hear()
		agent.silent(time.Second)
		agent.say(whisk.ContainerCreated{Container: whisk.Container{ID: first.Container, Node: "node", Spec: small}})
		agent.hear()
		agent.silent(time.Second)
	})
}

// A hot action must not keep another out: after a while one of its containers
// is drained, though all of them are always busy.
func TestFairness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, nil)
		agent, ctl := st.agent(node(512*whisk.MB)), st.controller("one")
		hot := request(1, "hot")
		hot.Count = 50
		ctl.say(hot)
		held := makes(agent)
		ctl.hear()
		makes(agent)
		ctl.hear()
		time.Sleep(6 * time.Second)
		ctl.say(request(2, "cold"))
		asked := time.Now()
		ctl.want(whisk.Reclaim{Container: held.ID, Drain: true})
		if waited := time.Since(asked); waited != time.Second {
			t.Errorf("drained after %s", waited)
		}
		ctl.silent(5 * time.Second) // one at a time
		ctl.say(whisk.Release{Container: held.ID, Reason: whisk.ReleaseReclaimed})
		agent.want(whisk.RemoveContainer{Epoch: 1, Container: held.ID, Lessee: "one"})
		agent.say(whisk.ContainerGone{Container: held.ID, Expected: true})
		c := makes(agent)
		if !strings.HasSuffix(string(c.ID), "_cold") {
			t.Errorf("made %s", c.ID)
		}
		ctl.want(whisk.Allocation{Requisition: 2, Container: c, Origin: whisk.Created})
	})
}

// A controller that keeps the only container of an action at work has to share it.
func TestFairnessBetweenControllers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, nil)
		agent := st.agent(node(256 * whisk.MB))
		one, two := st.controller("one"), st.controller("two")
		time.Sleep(6 * time.Second) // until it has settled
		one.say(request(1, "hello"))
		c := makes(agent)
		one.hear()
		two.say(request(1, "hello"))
		one.want(whisk.Reclaim{Container: c.ID, Drain: true})
		one.silent(10 * time.Second) // it is asked for once
		one.say(whisk.Release{Container: c.ID, Reason: whisk.ReleaseReclaimed})
		grants(agent, c, "one", "two")
		if got := two.hear().(whisk.Allocation); got.Origin != whisk.Transferred || got.Container.ID != c.ID {
			t.Errorf("heard %+v", got)
		}
	})
}

func TestStemCellsMakeWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, stemCells(2, nil))
		agent, ctl := st.agent(node(512*whisk.MB)), st.controller("one")
		makes(agent)
		makes(agent)
		time.Sleep(6 * time.Second)
		r := request(1, "python")
		r.Spec.Kind = "python:3"
		ctl.say(r)
		gone := agent.hear().(whisk.RemoveContainer)
		agent.say(whisk.ContainerGone{Container: gone.Container, Expected: true})
		c := makes(agent)
		ctl.want(whisk.Allocation{Requisition: 1, Container: c, Origin: whisk.Created})
		agent.silent(time.Minute) // there is no room for another stem cell
	})
}

func TestReactiveStemCells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, stemCells(0, &whisk.ReactiveStemCell{Min: 0, Max: 2, TTL: 2 * time.Minute, Threshold: 1, Increment: 1}))
		agent, ctl := st.agent(node(2*whisk.GB)), st.controller("one")
		start := time.Now()
		for id := range whisk.RequisitionID(4) {
			ctl.say(request(id+1, fmt.Sprint("action", id)))
			makes(agent)
			ctl.hear()
		}
		first, second := makes(agent), makes(agent)
		if after := time.Since(start); after != time.Minute {
			t.Errorf("cold starts were followed after %s", after)
		}
		gone := map[whisk.ContainerID]bool{}
		for range 2 {
			gone[agent.hear().(whisk.RemoveContainer).Container] = true
		}
		if after := time.Since(start); after != 3*time.Minute || !gone[first.ID] || !gone[second.ID] {
			t.Errorf("after %s %v went", after, gone)
		}
	})
}

func TestRebuiltFromReports(t *testing.T) {
	host := func(id whisk.ContainerID, lessee whisk.ControllerID, used bool) whisk.HostedContainer {
		return whisk.HostedContainer{Container: whisk.Container{ID: id, Node: "node", Spec: small}, Lessee: lessee, Used: used}
	}
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, nil)
		agent := st.agent(node(1*whisk.GB, host("known", "one", true), host("past", "", true), host("ready", "", false)))
		agent.silent(4 * time.Second) // nothing is removed before all had time to report
		one := st.controller("one", whisk.HeldContainer{Container: "known", Node: "node", Key: action("hello"), Concurrency: 1, State: whisk.Free})
		two := st.controller("two")
		synctest.Wait()
		two.say(request(1, "hello"))
		one.want(whisk.Reclaim{Container: "known"})
		one.say(whisk.Release{Container: "known", Reason: whisk.ReleaseReclaimed})
		grants(agent, whisk.Container{ID: "known"}, "one", "two")
		if got := two.hear().(whisk.Allocation); got.Origin != whisk.Transferred || got.Container.ID != "known" {
			t.Errorf("heard %+v", got)
		}
		agent.want(whisk.RemoveContainer{Epoch: 1, Container: "past"})
		two.say(request(2, "other"))
		if order := agent.hear().(whisk.GrantLease); order.Container != "ready" || order.To != "two" {
			t.Errorf("heard %+v", order)
		}
		snapshot, err := st.s.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if got, want := snapshot.Nodes[0].Pools, (scheduler.Pools{Busy: 1, Granting: 1, Removing: 1}); got != want {
			t.Errorf("pools are %+v, want %+v", got, want)
		}
		if len(snapshot.Waiting) != 1 || snapshot.Waiting[0].UnderWay != 1 {
			t.Errorf("waiting are %+v", snapshot.Waiting)
		}
	})
}

func TestLostAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, nil)
		agent, ctl := st.agent(node(1*whisk.GB)), st.controller("one")
		ctl.say(request(1, "hello"))
		c := makes(agent)
		ctl.hear()
		agent.stream.Close()
		if err := <-agent.over; err != nil {
			t.Errorf("a closed session ended in %v", err)
		}
		// Its lease is between it and the agent; the scheduler has no say in it.
		ctl.silent(time.Minute)
		host := whisk.HostedContainer{Container: c, Lessee: "one", Used: true}
		agent = st.agent(node(1*whisk.GB, host))
		agent.silent(time.Minute)
		agent.stream.Close()
		ctl.silent(time.Minute)
		st.agent(node(1 * whisk.GB)) // it lost everything
		ctl.want(whisk.Lost{Container: c.ID, Reason: "its agent knows of no such lease"})
	})
}

func TestRegistrationEndsWhatIsNotListed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, nil)
		agent, ctl := st.agent(node(1*whisk.GB)), st.controller("one")
		ctl.say(request(1, "hello"))
		c := makes(agent)
		ctl.hear()
		ctl.stream.Close()
		st.controller("one")
		agent.want(whisk.RemoveContainer{Epoch: 1, Container: c.ID, Lessee: "one"})
	})
}

// A container whose action is not known may hold anybody's code.
func TestUnknownCodeIsNotHandedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, nil)
		host := whisk.HostedContainer{Container: whisk.Container{ID: "c", Node: "node", Spec: small}, Lessee: "one", Used: true}
		agent := st.agent(node(256*whisk.MB, host))
		ctl := st.controller("one", whisk.HeldContainer{Container: "c", Node: "node", Concurrency: 1, State: whisk.Busy})
		ctl.say(request(1, "hello"))
		synctest.Wait()
		ctl.say(whisk.Release{Container: "c", Reason: whisk.ReleaseReclaimed})
		agent.want(whisk.RemoveContainer{Epoch: 1, Container: "c", Lessee: "one"})
	})
}

// What a controller says of a container counts also before its agent has reported.
func TestUseReportedBeforeTheAgentCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, nil)
		c := whisk.Container{ID: "c", Node: "node", Spec: small}
		one := st.controller("one", whisk.HeldContainer{Container: "c", Node: "node", Key: action("hello"), Concurrency: 1, State: whisk.Free})
		one.say(states(c, whisk.Busy))
		two := st.controller("two")
		two.say(request(1, "hello"))
		synctest.Wait()
		agent := st.agent(node(1*whisk.GB, whisk.HostedContainer{Container: c, Lessee: "one", Used: true}))
		makes(agent) // rather than to ask for what is at work
		one.silent(time.Second)
	})
}

func TestSessions(t *testing.T) {
	bubble("a silent peer is dead", t, func(t *testing.T) {
		st := newStage(t, nil)
		near, far := inmem.Pipe[whisk.FactoryRequest, whisk.FactoryEvent]()
		start := time.Now()
		over := make(chan error, 1)
		go func() { over <- st.s.ServeController(t.Context(), far) }()
		for {
			if _, err := near.Recv(t.Context()); err != nil {
				break
			}
		}
		if err := <-over; whisk.KindOf(err) != whisk.Timeout || time.Since(start) != 15*time.Second {
			t.Errorf("ended after %s in %v", time.Since(start), err)
		}
	})
	bubble("a peer that takes nothing is closed", t, func(t *testing.T) {
		st := newStage(t, func(c *scheduler.Config) { c.Outbox = 4 })
		ctl := st.controller("one")
		for id := range whisk.RequisitionID(3000) { // each is answered by a rejection
			r := request(id+1, "hello")
			r.Spec.Memory = 0
			if ctl.stream.Send(t.Context(), r) != nil {
				break
			}
		}
		if err := <-ctl.over; whisk.KindOf(err) != whisk.Unavailable {
			t.Errorf("ended in %v", err)
		}
	})
	bubble("a second session replaces the first", t, func(t *testing.T) {
		st := newStage(t, nil)
		first := st.controller("one")
		synctest.Wait()
		st.controller("one")
		if err := <-first.over; whisk.KindOf(err) != whisk.Conflict {
			t.Errorf("the first ended in %v", err)
		}
	})
	bubble("keep-alives carry the epoch", t, func(t *testing.T) {
		st := newStage(t, func(c *scheduler.Config) { c.Epoch = 7 })
		m, err := st.controller("one").stream.Recv(t.Context())
		if err != nil || m != (whisk.KeepAlive{Epoch: 7}) {
			t.Errorf("heard %+v, %v", m, err)
		}
	})
	bubble("a newer leader ends the run", t, func(t *testing.T) {
		st := newStage(t, nil)
		ctl := st.controller("one")
		ctl.say(whisk.KeepAlive{Epoch: 2})
		err := <-st.ran
		if whisk.KindOf(err) != whisk.Unavailable {
			t.Errorf("ended in %v", err)
		}
		if err := <-ctl.over; err != nil {
			t.Errorf("the session ended in %v", err)
		}
		if _, err := st.s.Snapshot(t.Context()); whisk.KindOf(err) != whisk.Unavailable {
			t.Errorf("a snapshot of the past: %v", err)
		}
		st.ran <- nil
	})
	bubble("the end of the run ends the sessions", t, func(t *testing.T) {
		st := newStage(t, nil)
		ctl := st.controller("one")
		synctest.Wait()
		st.end()
		if err := <-ctl.over; err != nil {
			t.Errorf("the session ended in %v", err)
		}
		for {
			if _, err := ctl.stream.Recv(t.Context()); err != nil {
				if err != io.EOF {
					t.Errorf("the stream ended in %v", err)
				}
				return
			}
		}
	})
}

func TestConfig(t *testing.T) {
	if err := scheduler.Default().Validate(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*scheduler.Config){
		"epoch":     func(c *scheduler.Config) { c.Epoch = 0 },
		"placement": func(c *scheduler.Config) { c.Place = "elsewhere" },
		"creations": func(c *scheduler.Config) { c.CreationsPerNode = 0 },
		"grace":     func(c *scheduler.Config) { c.AgentGrace = 0 },
		"settle":    func(c *scheduler.Config) { c.Settle = -1 },
		"silence":   func(c *scheduler.Config) { c.Silence = c.KeepAlive },
	} {
		cfg := scheduler.Default()
		spoil(&cfg)
		if _, err := scheduler.New(cfg, scheduler.Deps{}); whisk.KindOf(err) != whisk.Invalid || !strings.Contains(err.Error(), name) {
			t.Errorf("bad %s: %v", name, err)
		}
	}
}
