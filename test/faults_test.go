// SPDX-License-Identifier: Apache-2.0

//go:build e2e && docker

package test

import (
	"slices"
	"strings"
	"syscall"
	"time"
)

// recovery is how long anything may take that is waited for: sessions are given up after 15 s of
// silence, leases and nodes after 10 s, and a call that waits for a container after a minute.
const recovery = 90 * time.Second

// fault is something that goes wrong with a fleet.
type fault struct {
	name   string
	about  []int          // roles; a node must be at work before, and again afterwards
	strike func(f *fleet) // begins it, and returns when it is noticed
	calls  int64          // that are answered then before it ends
	mend   func(f *fleet) // ends it
	spares bool           // no blocking call may fail
}

// The roles that a fault may be about, beside the nodes.
const (
	scheduling = -1
	serving    = -2
)

// faults are what the suite plays, one after the other.
func faults() []fault {
	return []fault{
		{"scheduler killed", []int{scheduling}, func(f *fleet) { f.leader.kill(f.t) }, 500, (*fleet).startScheduler, true},
		{"scheduler restarted", []int{scheduling}, func(f *fleet) { f.leader.stop(f.t) }, 0, (*fleet).startScheduler, true},
		{"scheduler cut off", []int{scheduling}, (*fleet).cutScheduler, 100, func(f *fleet) { f.desk.replug(f.t) }, true},
		{"scheduler and controller cut from each other", []int{scheduling, serving}, (*fleet).part, 100, (*fleet).rejoin, true},
		{"controller killed", []int{serving}, func(f *fleet) { f.controller.kill(f.t) }, 0, (*fleet).startController, false},
		{"controller restarted", []int{serving}, func(f *fleet) { f.controller.stop(f.t) }, 0, (*fleet).startController, false},
		agentKilled("docker agent killed", dockered, true),
		agentKilled("process agent killed", keeping, processSurvives),
		{"docker agent upgraded", []int{dockered}, leave, 0, func(f *fleet) { f.upgrade(dockered) }, true},
		{"process agent upgraded", []int{keeping}, leave, 0, func(f *fleet) { f.upgrade(keeping) }, processSurvives},
		{"process agent stopped", []int{plain}, func(f *fleet) { f.agents[plain].stop(f.t) }, 100, func(f *fleet) { f.startAgent(plain) }, false},
		{"process agent drained, stopped", []int{plain, scheduling}, (*fleet).drain, 100, (*fleet).undrain, true},
		{"docker agent cut off", []int{dockered}, func(f *fleet) { f.nodes[dockered].unplug(f.t); f.awaitLoss(dockered) }, 100,
			func(f *fleet) { f.nodes[dockered].replug(f.t) }, false},
		{"nothing comes from a process agent", []int{keeping}, func(f *fleet) { f.nodes[keeping].lose(f.t, f.others(keeping)...); f.awaitLoss(keeping) }, 100,
			func(f *fleet) { f.nodes[keeping].find(f.t, f.others(keeping)...) }, false},
		{"nothing comes to a process agent", []int{plain}, (*fleet).deafen, 100, (*fleet).undeafen, false},
		{"docker engine stopped", []int{dockered}, func(f *fleet) { f.engine.stop(f.t); f.awaitLoss(dockered) }, 100, func(f *fleet) { f.engine.start(f.t) }, true},
		{"docker engine hung", []int{dockered}, func(f *fleet) { f.engine.signal(f.t, syscall.SIGSTOP); f.awaitLoss(dockered) }, 100,
			func(f *fleet) { f.engine.signal(f.t, syscall.SIGCONT) }, true},
	}
}

// and has another fault begin in the midst of one, and end before or after it.
func (one fault) and(other fault, before bool) fault {
	both := fault{name: one.name + "; " + other.name, about: slices.Concat(one.about, other.about), calls: 50}
	both.strike = func(f *fleet) { one.strike(f); other.strike(f) }
	both.mend = func(f *fleet) { one.mend(f); other.mend(f) }
	if before {
		both.mend = func(f *fleet) { other.mend(f); one.mend(f) }
	}
	return both
}

// leave does nothing: the fault is all in its end.
func leave(*fleet) {}

// agentKilled kills an agent and starts the next one. Its containers survive it or do not.
func agentKilled(name string, i int, survives bool) fault {
	var left footprint
	return fault{
		name:  name,
		about: []int{i},
		strike: func(f *fleet) {
			left = f.agents[i].kill(f.t)
			f.awaitLoss(i)
		},
		calls: 50, // its successor must come before the leases end
		mend: func(f *fleet) {
			f.startAgent(i)
			if !survives {
				left.checkGone(f.t, recovery)
			}
		},
		spares: survives,
	}
}

// awaitLoss waits until the scheduler knows that a node is not up.
func (f *fleet) awaitLoss(i int) {
	f.t.Helper()
	if f.leader.hasEnded() {
		return // by another fault: nobody is there to miss it
	}
	eventually(f.t, recovery, "the scheduler misses "+f.nodes[i].name, func() bool { return f.state(i) != "up" })
}

func (f *fleet) state(i int) string {
	f.t.Helper()
	for _, n := range f.status().Nodes {
		if n.Node == f.nodes[i].name {
			return n.State
		}
	}
	return ""
}

// noSession is what the controller's log says of a broken session with the scheduler.
const noSession = "no session with the scheduler"

// awaitBreak does something, and waits until the controller has lost the scheduler by it.
func (f *fleet) awaitBreak(do func()) {
	f.t.Helper()
	if f.controller.hasEnded() {
		do()
		return
	}
	before := strings.Count(f.controller.output.String(), noSession)
	do()
	eventually(f.t, recovery, "the controller misses the scheduler", func() bool {
		return strings.Count(f.controller.output.String(), noSession) > before
	})
}

func (f *fleet) cutScheduler() { f.awaitBreak(func() { f.desk.unplug(f.t) }) }

func (f *fleet) part() {
	f.awaitBreak(func() {
		f.desk.lose(f.t, f.gateway)
		f.gateway.lose(f.t, f.desk)
	})
}

func (f *fleet) rejoin() {
	f.desk.find(f.t, f.gateway)
	f.gateway.find(f.t, f.desk)
}

// others are all hosts but a node's.
func (f *fleet) others(i int) []host {
	others := []host{f.desk, f.gateway, f.users}
	for k, n := range f.nodes {
		if k != i {
			others = append(others, n.host)
		}
	}
	return others
}

func (f *fleet) deafen() {
	for _, other := range f.others(plain) {
		other.lose(f.t, f.nodes[plain].host)
	}
	f.awaitLoss(plain)
}

func (f *fleet) undeafen() {
	for _, other := range f.others(plain) {
		other.find(f.t, f.nodes[plain].host)
	}
}

// drain takes a node out of service as docs/operations.md says, and stops its agent.
func (f *fleet) drain() {
	f.admin("agent", "drain", f.nodes[plain].name)
	eventually(f.t, recovery, "the node is drained", func() bool { return f.state(plain) == "drained" })
	f.agents[plain].stop(f.t)
}

func (f *fleet) undrain() {
	f.startAgent(plain)
	f.admin("agent", "undrain", f.nodes[plain].name)
}
