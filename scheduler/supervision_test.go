// SPDX-License-Identifier: Apache-2.0

package scheduler_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/scheduler"
	"github.com/whirl-faas/whirl/whisk"
)

// standing returns how a node stands, "gone" if it is not known.
func (st *stage) standing(id whisk.NodeID) string {
	st.t.Helper()
	synctest.Wait()
	shot, err := st.s.Snapshot(st.t.Context())
	if err != nil {
		st.t.Fatal(err)
	}
	for _, n := range shot.Nodes {
		if n.Node == id {
			return n.State.String()
		}
	}
	return "gone"
}

func (st *stage) wantStanding(id whisk.NodeID, want string) {
	st.t.Helper()
	if got := st.standing(id); got != want {
		st.t.Fatalf("%s is %s, want %s", id, got, want)
	}
}

// order hears an order to make a container.
func order(p *agentPeer) whisk.CreateContainer {
	p.t.Helper()
	m := p.hear()
	create, ok := m.(whisk.CreateContainer)
	if !ok {
		p.t.Fatalf("heard %T%+v, want an order to create", m, m)
	}
	return create
}

func (st *stage) fails(p *agentPeer, fault whisk.Fault) whisk.CreateContainer {
	st.t.Helper()
	m := order(p)
	p.say(whisk.CreationFailed{Container: m.Container, Fault: fault, Message: "disk full"})
	return m
}

func report(id whisk.NodeID, alter ...func(*whisk.NodeReport)) whisk.NodeReport {
	r := whisk.NodeReport{Node: id, Memory: 1 * whisk.GB}
	for _, change := range alter {
		change(&r)
	}
	return r
}

// runtimes has a default runtime to try nodes with, and no stem cells.
func runtimes(c *scheduler.Config) {
	c.Manifest.Families = []whisk.RuntimeFamily{{Name: "nodejs", Runtimes: []whisk.Runtime{{Kind: "nodejs:20", Default: true}}}}
}

func TestFailingNodeProvesItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, runtimes)
		agent, ctl := st.agent(report("node")), st.controller("one")
		ctl.say(request(1, "hello"))
		for range 3 {
			st.fails(agent, whisk.NodeFault)
		}
		if m := ctl.hear().(whisk.Rejection); m.Reason != whisk.StartFailed {
			t.Errorf("heard %+v", m)
		}
		st.wantStanding("node", "unhealthy")
		ctl.say(request(2, "hello"))
		began := time.Now()
		for _, pause := range []time.Duration{1, 3, 7} { // after one second, two more, four more
			m := order(agent)
			if waited := time.Since(began); waited != pause*time.Second {
				t.Errorf("tried after %s, want %d seconds", waited, pause)
			}
			if m.Lessee != "" || m.Spec != (whisk.ContainerSpec{Kind: "nodejs:20", Memory: 128 * whisk.MB}) {
				t.Fatalf("tried with %+v", m)
			}
			if pause < 7 {
				agent.say(whisk.CreationFailed{Container: m.Container, Message: "disk full"})
				continue
			}
			agent.say(whisk.ContainerCreated{Container: whisk.Container{ID: m.Container, Node: "node", Spec: m.Spec}})
		}
		c := makes(agent)
		ctl.want(whisk.Allocation{Requisition: 2, Container: c, Origin: whisk.Created})
		st.wantStanding("node", "up")
	})
}

// What is made already is as good as ever; and it serves while nothing can be made.
func TestUnhealthyNodesContainersServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, stemCells(1, nil))
		agent, ctl := st.agent(report("node")), st.controller("one")
		ready := makes(agent)
		agent.say(report("node", func(r *whisk.NodeReport) {
			r.Problem = "the engine does not answer"
			r.Containers = []whisk.HostedContainer{{Container: ready}}
		}))
		st.wantStanding("node", "unhealthy")
		ctl.say(request(1, "hello"))
		grants(agent, ready, "", "one")
		ctl.want(whisk.Allocation{Requisition: 1, Container: ready, Origin: whisk.Prewarmed})
		agent.silent(time.Minute) // no stem cell in its place, and no trial while there is a problem
		agent.say(report("node", func(r *whisk.NodeReport) {
			r.Containers = []whisk.HostedContainer{{Container: ready, Lessee: "one", Used: true}}
		}))
		makes(agent) // the trial
		st.wantStanding("node", "up")
		agent.silent(time.Minute) // it is the stem cell
	})
}

func TestFaultsAreRetriedElsewhere(t *testing.T) {
	bubble("the node's", t, func(t *testing.T) {
		st := newStage(t, nil)
		agents := map[whisk.NodeID]*agentPeer{}
		for _, id := range []whisk.NodeID{"a", "b", "c"} {
			agents[id] = st.agent(report(id))
			synctest.Wait()
		}
		orders := make(chan whisk.NodeID)
		var wg sync.WaitGroup
		for id, agent := range agents {
			wg.Go(func() {
				for {
					m, err := agent.stream.Recv(t.Context())
					if err != nil {
						return
					}
					if m, ok := m.(whisk.CreateContainer); ok {
						orders <- id
						agent.say(whisk.CreationFailed{Container: m.Container, Fault: whisk.NodeFault, Message: "no"})
					}
				}
			})
		}
		ctl := st.controller("one")
		ctl.say(request(1, "hello"))
		var tried []whisk.NodeID
		for range 3 {
			tried = append(tried, <-orders)
		}
		if slices.Sort(tried); !slices.Equal(tried, []whisk.NodeID{"a", "b", "c"}) {
			t.Errorf("tried on %v, want each once", tried)
		}
		if m := ctl.hear().(whisk.Rejection); m.Reason != whisk.StartFailed {
			t.Errorf("heard %+v", m)
		}
		for _, agent := range agents {
			agent.stream.Close()
		}
		wg.Wait()
	})
	bubble("the user's", t, func(t *testing.T) {
		st := newStage(t, nil)
		ctl := st.controller("one")
		ctl.say(request(1, "hello"))
		first := st.agent(report("a"))
		st.fails(first, whisk.UserFault)
		if m := ctl.hear().(whisk.Rejection); m.Reason != whisk.BadImage {
			t.Errorf("heard %+v", m)
		}
		st.agent(report("b")).silent(time.Minute)
		first.silent(time.Minute)
		st.wantStanding("a", "up")
	})
}

// script is a health route that answers as it is told.
type script struct {
	mu     sync.Mutex
	answer error
	hang   bool
}

func (s *script) set(answer error, hang bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer, s.hang = answer, hang
}

func (s *script) ask(ctx context.Context, _ whisk.NodeID, _ string) error {
	s.mu.Lock()
	answer, hang := s.answer, s.hang
	s.mu.Unlock()
	if hang {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return answer
}

func probed(r *whisk.NodeReport) { r.Probes = "node:3243" }

func TestHealthRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		route := new(script)
		st := newStageWith(t, scheduler.Deps{Health: route.ask}, nil)
		agent := st.agent(report("node", probed))
		st.wantStanding("node", "up")
		route.set(whisk.Errorf(whisk.Internal, "dockerd does not answer"), false)
		time.Sleep(11 * time.Second)
		st.wantStanding("node", "unhealthy")
		shot, err := st.s.Snapshot(t.Context())
		if err != nil || shot.Nodes[0].Problem != "dockerd does not answer" {
			t.Errorf("%+v, %v", shot.Nodes, err)
		}
		route.set(nil, true)
		time.Sleep(14 * time.Second) // one question is not answered
		st.wantStanding("node", "unhealthy")
		time.Sleep(14 * time.Second)
		st.wantStanding("node", "unresponsive")
		route.set(whisk.Errorf(whisk.Unavailable, "connection refused"), false)
		time.Sleep(30 * time.Second)
		st.wantStanding("node", "unresponsive")
		ctl := st.controller("one")
		ctl.say(request(1, "hello"))
		agent.silent(15 * time.Second)
		route.set(nil, false)
		time.Sleep(13 * time.Second)
		st.wantStanding("node", "up")
		makes(agent)
	})
}

// The scheduler ends while health routes are being asked.
func TestHealthRouteOutlivesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		route := new(script)
		route.set(nil, true)
		st := newStageWith(t, scheduler.Deps{Health: route.ask}, nil)
		st.agent(report("node", probed))
		synctest.Wait()
		st.end()
		if err := <-st.ran; err != nil {
			t.Error(err)
		}
		st.ran <- nil
	})
}

func TestDownAndForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, nil)
		ctl := st.controller("one")
		agent := st.agent(report("node"))
		st.wantStanding("node", "up")
		agent.stream.Close()
		st.wantStanding("node", "unresponsive")
		time.Sleep(11 * time.Second)
		st.wantStanding("node", "down")
		ctl.say(request(1, "hello")) // it waits: somebody may come
		ctl.want(whisk.Rejection{Requisition: 1, Reason: whisk.NoCapacity, Message: "Failed to provision resources to run the action.", RetryAfter: time.Second})
		if want := []whisk.NodeStanding{{Node: "node", State: whisk.NodeDown}}; !slices.Equal(ctl.roster.Nodes, want) {
			t.Errorf("the controller knows %+v", ctl.roster)
		}
		time.Sleep(30 * time.Minute)
		agent = st.agent(report("node"))
		st.wantStanding("node", "up")
		agent.stream.Close()
		time.Sleep(62 * time.Minute)
		st.wantStanding("node", "gone")
	})
}

func TestRosterIsCoalesced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, nil)
		ctl := st.controller("one")
		heard := make(chan whisk.Roster, 100)
		go func() {
			for {
				m, err := ctl.stream.Recv(t.Context())
				if err != nil {
					return
				}
				if m, ok := m.(whisk.Roster); ok {
					heard <- m
				}
			}
		}()
		agent := st.agent(report("node"))
		synctest.Wait()
		if m := <-heard; len(m.Nodes) != 1 || m.Nodes[0].State != whisk.NodeUp {
			t.Errorf("heard %+v", m)
		}
		for range 10 {
			agent.say(report("node", func(r *whisk.NodeReport) { r.Problem = "ill" }))
			agent.say(report("node"))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if len(heard) > 1 {
			t.Errorf("%d rosters in a second", len(heard))
		}
		agent.say(report("node", func(r *whisk.NodeReport) { r.Problem = "ill" }))
		time.Sleep(2 * time.Second)
		synctest.Wait()
		var last whisk.Roster
		for len(heard) > 0 {
			last = <-heard
		}
		if len(last.Nodes) != 1 || last.Nodes[0].State != whisk.NodeUnhealthy {
			t.Errorf("the last one heard is %+v", last)
		}
		second := st.controller("two") // is told at once
		second.silent(time.Millisecond)
		if len(second.roster.Nodes) != 1 || second.roster.Nodes[0].State != whisk.NodeUnhealthy || second.roster.Controllers != 2 {
			t.Errorf("a new controller heard %+v", second.roster)
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if last = <-heard; last.Controllers != 2 || !last.Partial {
			t.Errorf("when another one came, the first heard %+v", last)
		}
		time.Sleep(5 * time.Second) // the settle time is over
		synctest.Wait()
		if last = <-heard; last.Controllers != 2 || last.Partial {
			t.Errorf("when all had had time to come, the first heard %+v", last)
		}
		second.stream.Close()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if last = <-heard; last.Controllers != 1 {
			t.Errorf("when it had gone, the first heard %+v", last)
		}
	})
}
