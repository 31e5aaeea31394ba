// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"maps"
	"slices"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

type worldAgent struct {
	w       *world
	id      whisk.NodeID
	memory  whisk.Bytes
	session sessionID // 0 while away
	hosts   map[whisk.ContainerID]*hosted
	drained bool         // as the scheduler last said
	cursed  time.Time    // until then every creation fails by the node's fault
	route   *whisk.Error // what its health route answers
}

type hosted struct {
	whisk.HostedContainer
	making   bool
	removing bool
}

func (w *world) addAgent(id whisk.NodeID, memory whisk.Bytes) {
	a := &worldAgent{w: w, id: id, memory: memory, hosts: make(map[whisk.ContainerID]*hosted)}
	w.agents[id] = a
	a.connect()
}

func (a *worldAgent) connect() {
	a.session = a.w.dial(a.obey)
	a.w.say(a.session, agentSaid{a.session, a.report()})
}

func (a *worldAgent) report() whisk.NodeReport {
	r := whisk.NodeReport{Node: a.id, Memory: a.memory, Draining: a.drained}
	for _, id := range slices.Sorted(maps.Keys(a.hosts)) {
		h := a.hosts[id].HostedContainer
		h.Making = a.hosts[id].making
		r.Containers = append(r.Containers, h)
	}
	return r
}

func (a *worldAgent) tell(m whisk.AgentReport) {
	if a.session != 0 {
		a.w.say(a.session, agentSaid{a.session, m})
	}
}

func (a *worldAgent) disconnect(away time.Duration) {
	if a.session == 0 {
		return
	}
	a.w.hangUp(a.session)
	a.session = 0
	a.w.at(a.w.now.Add(60*time.Millisecond+a.w.delay(away)), a.connect)
}

func (a *worldAgent) obey(e effect) {
	w := a.w
	if e.check != nil {
		answer := checkedUp{e.session, a.route}
		w.after(3*time.Second, func() { w.handle(answer) })
		return
	}
	switch m := e.command.(type) {
	case whisk.DrainNode:
		a.drained = m.Drain
	case whisk.CreateContainer:
		if a.hosts[m.Container] != nil {
			w.fail("container %s made twice", m.Container)
		}
		a.hosts[m.Container] = &hosted{making: true, HostedContainer: whisk.HostedContainer{
			Container: whisk.Container{ID: m.Container, Node: a.id, Spec: m.Spec}, Lessee: m.Lessee, Used: m.Lessee != "",
		}}
		var sum whisk.Bytes
		for _, h := range a.hosts {
			sum += h.Container.Spec.Memory
		}
		if sum > a.memory {
			w.fail("node %s really hosts %s of %s", a.id, sum, a.memory)
		}
		w.after(300*time.Millisecond, func() { a.made(m.Container) })
	case whisk.GrantLease:
		h := a.hosts[m.Container]
		if h == nil {
			a.tell(whisk.LeaseRefused{Container: m.Container, Order: m.Order, Reason: "there is no such container"})
			return
		}
		if h.Lessee != m.From || h.removing {
			a.tell(whisk.LeaseRefused{Container: m.Container, Lessee: h.Lessee, Order: m.Order, Reason: "another lessee"})
			return
		}
		h.Lessee, h.Used = m.To, h.Used || m.To != ""
		a.tell(whisk.LeaseGranted{Container: m.Container, Lessee: m.To, Order: m.Order})
	case whisk.RemoveContainer:
		h := a.hosts[m.Container]
		if h != nil && h.Lessee != m.Lessee {
			a.tell(whisk.LeaseRefused{Container: m.Container, Lessee: h.Lessee, Reason: "another lessee"})
			return
		}
		if h != nil {
			h.removing = true
		}
		w.after(100*time.Millisecond, func() { a.destroy(m.Container, true) })
	}
}

func (a *worldAgent) made(id whisk.ContainerID) {
	h := a.hosts[id]
	if h == nil || !h.making {
		return
	}
	cursed := a.w.now.Before(a.cursed)
	if !a.w.calm && (cursed || a.w.rng.IntN(10) == 0) {
		delete(a.hosts, id)
		fault := whisk.NodeFault
		if !cursed && a.w.rng.IntN(4) == 0 {
			fault = whisk.UserFault
		}
		a.tell(whisk.CreationFailed{Container: id, Fault: fault, Message: "scripted"})
		return
	}
	h.making = false
	a.tell(whisk.ContainerCreated{Container: h.Container})
}

func (a *worldAgent) destroy(id whisk.ContainerID, expected bool) {
	delete(a.hosts, id)
	a.tell(whisk.ContainerGone{Container: id, Expected: expected})
}

// crash ends one container by itself.
func (a *worldAgent) crash() {
	for _, id := range slices.Sorted(maps.Keys(a.hosts)) {
		if !a.hosts[id].making && a.w.rng.IntN(3) == 0 {
			a.hosts[id].removing = true // nothing can be done with it from now on
			a.w.after(100*time.Millisecond, func() { a.destroy(id, false) })
			return
		}
	}
}

// expire ends the leases of a dead controller.
func (a *worldAgent) expire(dead whisk.ControllerID) {
	news := false
	for _, id := range slices.Sorted(maps.Keys(a.hosts)) {
		h := a.hosts[id]
		switch {
		case h.Lessee != dead || h.making:
		case a.w.rng.IntN(2) == 0:
			a.destroy(id, false)
		default:
			h.Lessee, news = "", true
		}
	}
	if news {
		a.tell(a.report())
	}
}

// muffle has a node's health route answer ill, or not at all, for a while.
func (a *worldAgent) muffle() {
	a.route = &whisk.Error{Kind: []whisk.Kind{whisk.Internal, whisk.Timeout}[a.w.rng.IntN(2)], Text: "scripted"}
	a.w.after(30*time.Second, func() { a.route = nil })
}

// trouble has an agent report a problem, which goes away again.
func (a *worldAgent) trouble() {
	report := a.report()
	report.Problem = "scripted"
	a.tell(report)
	a.w.after(5*time.Second, func() { a.tell(a.report()) })
}
