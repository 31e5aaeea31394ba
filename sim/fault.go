// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"errors"
	"fmt"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Fault is what is done to a cluster. Its numbers count what there is.
type Fault struct {
	Kind       FaultKind
	Node       int
	Controller int
	Action     int
	For        time.Duration // 0 if it does not last
	Lag        time.Duration // of messages, at most
	Back       bool          // what comes back is held, not what goes there
	Keep       bool          // the next agent leaves its containers when it stops
	Redial     int           // who loses its session with the old leader at once: a bit for each
}

// FaultKind says what is done.
type FaultKind uint8

// What is done. A way leads from a controller to the scheduler, from a node to
// the scheduler, from a controller to a node, or from a controller to another.
const (
	CutController FaultKind = iota // from the scheduler
	CutNode                        // from the scheduler
	CutBetween                     // a controller from a node
	SlowController
	SlowNode
	SlowBetween
	HoldController // what goes one way stands still, on the way to the scheduler
	HoldNode
	HoldBetween
	PauseController // all its messages stand still
	PauseNode
	RestartScheduler
	SupersedeScheduler // the old one goes on for a while
	KillController     // another comes
	KillAgent
	UpgradeAgent
	RebootNode
	DrainNode
	SickenEngine
	FailLogs // of the log store; the disk of a node is full besides
	RaiseRevision
	CutPeers // the two ways between two controllers
	SlowPeers
	HoldPeers
)

var faultNames = [...]string{
	"cut controller", "cut node", "cut between", "slow controller", "slow node", "slow between",
	"hold controller", "hold node", "hold between", "pause controller", "pause node",
	"restart scheduler", "supersede scheduler", "kill controller", "kill agent", "upgrade agent", "reboot node",
	"drain node", "sicken engine", "fail logs", "raise revision",
	"cut peers", "slow peers", "hold peers",
}

// String returns the kind in words.
func (k FaultKind) String() string { return faultNames[k] }

// String tells the fault with all its numbers; not each kind uses all.
func (f Fault) String() string {
	return fmt.Sprintf("%v: controller %d, node %d, action %d, for %v, lag %v, back %t, keep %t, redial %b",
		f.Kind, f.Controller, f.Node, f.Action, f.For.Round(time.Millisecond), f.Lag.Round(time.Millisecond), f.Back, f.Keep, f.Redial)
}

// often says how often faults are drawn.
var often = [...]int{
	CutController: 4, CutNode: 2, CutBetween: 4, SlowController: 2, SlowNode: 2, SlowBetween: 2,
	HoldController: 2, HoldNode: 2, HoldBetween: 2, PauseController: 2, PauseNode: 2,
	RestartScheduler: 2, SupersedeScheduler: 3, KillController: 2, KillAgent: 4, UpgradeAgent: 3, RebootNode: 1,
	DrainNode: 2, SickenEngine: 2, FailLogs: 2, RaiseRevision: 2,
	CutPeers: 3, SlowPeers: 2, HoldPeers: 2,
}

func (d dice) fault() Fault {
	f := Fault{Node: d.IntN(3), Controller: d.IntN(4), Action: d.IntN(7), Lag: time.Millisecond + d.upTo(3*time.Second), Back: d.chance(50), Keep: d.chance(60), Redial: d.IntN(32)}
	sum := 0
	for _, n := range often {
		sum += n
	}
	at := d.IntN(sum)
	for at >= often[f.Kind] {
		at -= often[f.Kind]
		f.Kind++
	}
	f.For = time.Millisecond + d.upTo(25*time.Second)
	switch f.Kind {
	case CutController, CutNode, CutBetween, CutPeers:
		if d.chance(60) {
			f.For = 0 // interrupted, not away
		}
	}
	return f
}

// hurt does one thing to the cluster. It returns what ends it, nil if nothing
// has to.
func (p *play) hurt(f Fault) (end func() error, err error) {
	node := p.cluster.nodes[f.Node%len(p.cluster.nodes)]
	ctl := p.controller(f.Controller)
	switch f.Kind {
	case RestartScheduler:
		return nil, p.cluster.RestartScheduler()
	case SupersedeScheduler:
		return p.supersede(f.Redial)
	case KillController:
		return nil, errors.Join(p.cluster.KillController(ctl), p.cluster.AddController())
	case KillAgent:
		return nil, p.cluster.KillAgent(node, f.Keep)
	case UpgradeAgent:
		return nil, p.cluster.UpgradeAgent(node, f.Keep)
	case RebootNode:
		return nil, p.cluster.RebootNode(node, f.Keep)
	case DrainNode:
		return p.drain(node.ID), nil
	case SickenEngine:
		node.sick.Store(true)
		return func() error { node.sick.Store(false); return nil }, nil
	case FailLogs:
		mended := p.failLogs()
		node.book.full.Store(true)
		return func() error { node.book.full.Store(false); return mended() }, nil
	case RaiseRevision:
		p.raise(f.Action % len(p.storm.Actions))
		return nil, nil
	}
	return p.disturb(f, ctl, node), nil
}

// disturb hurts what connects the parts.
func (p *play) disturb(f Fault, ctl *Controller, node *Node) (end func() error) {
	var links []*link
	switch f.Kind {
	case PauseController:
		links = append(links, ctl.uplink)
		for _, n := range p.cluster.nodes {
			links = append(links, ctl.agents[n.ID])
		}
		for _, other := range p.cluster.controllers {
			links = append(links, p.cluster.between(ctl, other)...)
		}
		return holdAll(links, there, back)
	case PauseNode:
		links = append(links, node.uplink)
		for _, each := range p.cluster.controllers {
			links = append(links, each.agents[node.ID])
		}
		return holdAll(links, there, back)
	}
	links = p.ways(f, ctl, node)
	switch f.Kind {
	case CutController, CutNode, CutBetween, CutPeers:
		return cutFor(links, f.For > 0)
	case SlowController, SlowNode, SlowBetween, SlowPeers:
		return slowAll(links, f.Lag)
	}
	if f.Back {
		return holdAll(links, back)
	}
	return holdAll(links, there)
}

// drain empties a node for a while. The scheduler may not know it yet, then or
// in the end; the calm sees to it that no node stays closed.
func (p *play) drain(node whisk.NodeID) (end func() error) {
	_ = p.cluster.Leader().Drain(p.ctx, node)
	return func() error {
		_ = p.cluster.Leader().Undrain(p.ctx, node)
		return nil
	}
}

// supersede starts a second leader. Some of the others find themselves without a
// session then, and reach one of the two.
func (p *play) supersede(redial int) (end func() error, err error) {
	old, err := p.cluster.Supersede()
	var uplinks []*link
	for _, ctl := range p.cluster.controllers {
		uplinks = append(uplinks, ctl.uplink)
	}
	for _, node := range p.cluster.nodes {
		uplinks = append(uplinks, node.uplink)
	}
	for i, l := range uplinks {
		if redial>>i&1 == 1 {
			l.cut(false)
		}
	}
	return func() error { return p.cluster.EndLeader(old) }, err
}

// ways returns the links that the fault is about, none if there are too few
// controllers for it.
func (p *play) ways(f Fault, ctl *Controller, node *Node) []*link {
	switch f.Kind {
	case CutController, SlowController, HoldController:
		return []*link{ctl.uplink}
	case CutNode, SlowNode, HoldNode:
		return []*link{node.uplink}
	case CutPeers, SlowPeers, HoldPeers:
		return p.cluster.between(ctl, p.controller(f.Controller+1))
	}
	return []*link{ctl.agents[node.ID]}
}

func cutFor(links []*link, away bool) (end func() error) {
	for _, l := range links {
		l.cut(away)
	}
	if !away {
		return nil
	}
	return func() error {
		for _, l := range links {
			l.mend()
		}
		return nil
	}
}

func slowAll(links []*link, lag time.Duration) (end func() error) {
	each := func(lag time.Duration) {
		for _, l := range links {
			l.slow(lag)
		}
	}
	each(lag)
	return func() error { each(0); return nil }
}

func holdAll(links []*link, ways ...direction) (end func() error) {
	each := func(f func(*link, direction)) {
		for _, l := range links {
			for _, way := range ways {
				f(l, way)
			}
		}
	}
	each((*link).hold)
	return func() error { each((*link).release); return nil }
}

// failLogs has the log store fail, before and after it did its work in turn.
func (p *play) failLogs() (end func() error) {
	p.cluster.logs.SetFault(func(_ string, done bool) error {
		if done == (time.Now().UnixMilli()%2 == 0) {
			return whisk.Errorf(whisk.Unavailable, "the log store is out of order")
		}
		return nil
	})
	return func() error { p.cluster.logs.SetFault(nil); return nil }
}

func (p *play) raise(action int) {
	a := &p.actions[action]
	a.Revision++
	if a.Instances > 0 {
		a.Instances = 3 - a.Instances // one or two
	}
	for _, each := range p.cluster.controllers {
		each.Balancer.Retire(a.key().Action, a.Revision)
	}
}
