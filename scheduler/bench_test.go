// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// A park is the state among peers that answer at once and as hoped, to measure
// what deciding costs.
type park struct {
	b     *testing.B
	s     *state
	now   time.Time
	nodes map[sessionID]whisk.NodeID
	last  whisk.Allocation
	turn  whisk.RequisitionID
	count int // effects
}

const parkController sessionID = 1

// newPark fills nodes with containers of 128 MB, each of an action of its own
// and idle, and leaves some room on each node.
func newPark(b *testing.B, nodes, containers, room int) *park {
	cfg := Default()
	cfg.MaxWaiting = 1 << 30
	ids, err := newIdentities(1, strings.NewReader("12345"))
	if err != nil {
		b.Fatal(err)
	}
	p := &park{b: b, now: time.Unix(1_000_000, 0), nodes: make(map[sessionID]whisk.NodeID)}
	p.s = newState(cfg, ids, slog.New(slog.DiscardHandler), p.now)
	var held []whisk.HeldContainer
	perNode := containers / nodes
	for i := range nodes {
		node := whisk.NodeID(fmt.Sprintf("node%05d", i))
		report := whisk.NodeReport{Node: node, Memory: whisk.Bytes(perNode+room) * 128 * whisk.MB}
		for j := range perNode {
			id := whisk.ContainerID(fmt.Sprintf("c%d-%d", i, j))
			report.Containers = append(report.Containers, whisk.HostedContainer{
				Container: whisk.Container{ID: id, Node: node, Spec: parkSpec}, Lessee: "ctl", Used: true,
			})
			held = append(held, whisk.HeldContainer{Container: id, Node: node, Key: parkKey(i*perNode + j), Concurrency: 1, State: whisk.Free})
		}
		session := sessionID(2 + i)
		p.nodes[session] = node
		p.s.handle(p.now, agentSaid{session, report})
	}
	p.s.handle(p.now, controllerSaid{parkController, whisk.Register{Controller: "ctl", Held: held}})
	p.now = p.now.Add(time.Minute)
	p.handle(timePassed{})
	return p
}

var parkSpec = whisk.ContainerSpec{Kind: "nodejs:20", Memory: 128 * whisk.MB}

func parkKey(i int) whisk.ActionKey {
	return whisk.ActionKey{Namespace: "guest", Action: whisk.FullName{Namespace: "guest", Name: fmt.Sprint("action", i)}, Revision: 1}
}

// handle gives the state an event, and then whatever its effects are answered with.
func (p *park) handle(e event) {
	var answers []event
	for _, do := range p.s.handle(p.now, e) {
		p.count++
		switch m := do.command.(type) {
		case whisk.CreateContainer:
			answers = append(answers, agentSaid{do.session, whisk.ContainerCreated{Container: whisk.Container{ID: m.Container, Node: p.nodes[do.session], Spec: m.Spec}}})
		case whisk.GrantLease:
			answers = append(answers, agentSaid{do.session, whisk.LeaseGranted{Container: m.Container, Lessee: m.To, Order: m.Order}})
		case whisk.RemoveContainer:
			answers = append(answers, agentSaid{do.session, whisk.ContainerGone{Container: m.Container, Expected: true}})
		}
		switch m := do.event.(type) {
		case whisk.Reclaim:
			answers = append(answers, controllerSaid{do.session, whisk.Release{Container: m.Container, Reason: whisk.ReleaseReclaimed}})
		case whisk.Allocation:
			p.last = m
		case whisk.Rejection:
			p.b.Fatalf("rejected: %+v", m)
		}
	}
	for _, answer := range answers {
		p.handle(answer)
	}
}

// obtain asks for one container of an action and gets it.
func (p *park) obtain(action int) {
	p.now = p.now.Add(time.Millisecond)
	p.turn++
	p.handle(controllerSaid{parkController, whisk.Requisition{
		ID: p.turn, Key: parkKey(action), Spec: parkSpec, Concurrency: 1, Count: 1, Deadline: p.now.Add(time.Minute),
	}})
	if p.last.Requisition != p.turn {
		p.b.Fatalf("requisition %d got nothing", p.turn)
	}
}

func (p *park) report(use whisk.UseState) {
	p.handle(controllerSaid{parkController, whisk.StateReport{States: []whisk.ContainerUse{{Container: p.last.Container.ID, State: use, Since: p.now}}}})
}

// cpu reports the processor time of one turn of the loop, which other programs
// on the machine disturb less than they do the time on the clock. It counts the
// garbage collector's share too.
func cpu(b *testing.B) func() {
	used := func() time.Duration {
		var usage syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
			b.Fatal(err)
		}
		return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	}
	before := used()
	return func() { b.ReportMetric(float64(used()-before)/float64(b.N), "cpu-ns/op") }
}

// BenchmarkDecisions measures one requisition from its arrival to its
// allocation, all events and effects in between included.
func BenchmarkDecisions(b *testing.B) {
	for _, size := range []struct{ nodes, containers int }{{10, 1000}, {100, 10_000}, {1000, 100_000}} {
		name := fmt.Sprintf("nodes=%d/containers=%d", size.nodes, size.containers)
		b.Run("create/"+name, func(b *testing.B) {
			p := newPark(b, size.nodes, size.containers, 8)
			b.ReportAllocs()
			runtime.GC() // of what the park left
			defer cpu(b)()
			action := size.containers
			for b.Loop() {
				action++
				p.obtain(action)
				p.handle(controllerSaid{parkController, whisk.Release{Container: p.last.Container.ID, Reason: whisk.ReleaseFailed}})
			}
		})
		b.Run("evict/"+name, func(b *testing.B) {
			p := newPark(b, size.nodes, size.containers, 0)
			b.ReportAllocs()
			runtime.GC() // of what the park left
			defer cpu(b)()
			action := size.containers
			for b.Loop() {
				action++
				p.obtain(action)
				p.report(whisk.Free)
			}
		})
		b.Run("report/"+name, func(b *testing.B) {
			p := newPark(b, size.nodes, size.containers, 1)
			p.obtain(size.containers)
			b.ReportAllocs()
			runtime.GC() // of what the park left
			defer cpu(b)()
			for b.Loop() {
				p.report(whisk.Free)
				p.report(whisk.Busy)
			}
		})
	}
}

// BenchmarkOverload measures a requisition that cannot be served, while very
// many wait already.
func BenchmarkOverload(b *testing.B) {
	for _, nodes := range []int{10, 1000} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			p := newPark(b, nodes, nodes*10, 0)
			for _, c := range p.s.containers {
				p.handle(controllerSaid{parkController, whisk.StateReport{States: []whisk.ContainerUse{{Container: c.ID, State: whisk.Busy}}}})
			}
			ask := func() {
				p.turn++
				p.handle(controllerSaid{parkController, whisk.Requisition{
					ID: p.turn, Key: parkKey(int(p.turn)), Spec: parkSpec, Concurrency: 1, Count: 1, Deadline: p.now.Add(time.Minute),
				}})
			}
			for range 10_000 {
				ask()
			}
			b.ReportAllocs()
			runtime.GC() // of what the park left
			defer cpu(b)()
			for b.Loop() {
				ask()
				p.handle(controllerSaid{parkController, whisk.Withdraw{ID: p.turn, Count: 1}})
			}
		})
	}
}

// BenchmarkLook measures how long a look at everything holds the owner loop up.
func BenchmarkLook(b *testing.B) {
	p := newPark(b, 1000, 100_000, 1)
	for name, look := range map[string]func(){
		"snapshot": func() { p.s.snapshot() },
		"metrics":  func() { p.s.metrics() },
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			runtime.GC() // of what the park left
			defer cpu(b)()
			for b.Loop() {
				look()
			}
		})
	}
}

// BenchmarkEnlist measures how a node is taken in, and how news of it are,
// among so many others.
func BenchmarkEnlist(b *testing.B) {
	for _, nodes := range []int{100, 1000, 10_000} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			p := newPark(b, nodes, 0, 10)
			report := whisk.NodeReport{Node: "node00050x", Memory: whisk.GB}
			session := sessionID(nodes + 2)
			p.nodes[session] = report.Node
			b.ReportAllocs()
			runtime.GC() // of what the park left
			defer cpu(b)()
			for b.Loop() {
				p.now = p.now.Add(p.s.cfg.ForgetAfter)
				p.handle(agentSaid{session, report})
				report.Memory = whisk.GB - report.Memory/2
				p.handle(agentSaid{session, report})
				p.handle(sessionEnded{session: session})
				p.now = p.now.Add(p.s.cfg.AgentGrace)
				p.handle(timePassed{}) // it is given up
				session++
			}
		})
	}
}
