// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"cmp"
	"slices"
	"time"

	"github.com/whirl-faas/whirl/scheduler/policy"
	"github.com/whirl-faas/whirl/whisk"
)

// pool is all containers of one spec that hold no code yet, and who waits for
// one. Pools of stem cells are for ever, others as long as they are in use.
type pool struct {
	spec    whisk.ContainerSpec
	members int // actions and containers of this spec, and 1 for being a stem cell

	ready     list[*container] // prewarmed, the longest first
	coming    list[*container] // being made, for nobody in particular
	creating  int              // being made, for anybody
	returning int              // given back unused, on their way to ready
	waiting   line[*action]
	plans     list[*plan]

	cells      []whisk.StemCell
	wanted     int           // prewarmed containers
	ttl        time.Duration // of unused ones, 0 for ever
	coldStarts int           // since the last adjustment
	lastStarts int           // between the two before
	pause      time.Duration
	retryAt    time.Time
	retry      alarm
}

// stock returns how many containers it has or will soon have ready.
func (p *pool) stock() int { return p.ready.count + p.coming.count + p.returning }

// failed notes that a stem cell could not be made.
func (p *pool) failed(now time.Time) {
	p.pause = min(max(2*p.pause, firstPause), lastPause)
	p.retryAt = now.Add(p.pause)
}

func (s *state) poolFor(spec whisk.ContainerSpec) *pool {
	p := s.pools[spec]
	if p == nil {
		p = &pool{spec: spec}
		p.retry.ring = func() { s.restock = true }
		s.pools[spec] = p
	}
	return p
}

func (s *state) dropPool(p *pool) {
	if p.members == 0 {
		s.alarms.stop(&p.retry)
		delete(s.pools, p.spec)
	}
}

// stock takes the manifest's stem cells in. Their containers are made from the
// driver's own image for the kind, as those of actions are.
func (s *state) stock(m whisk.Manifest) {
	for _, family := range m.Families {
		for _, runtime := range family.Runtimes {
			for _, cell := range runtime.StemCells {
				p := s.poolFor(whisk.ContainerSpec{Kind: runtime.Kind, Memory: cell.Memory})
				if len(p.cells) == 0 {
					p.members++
					s.stemCells = append(s.stemCells, p)
				}
				p.cells = append(p.cells, cell)
				if cell.Reactive != nil {
					p.ttl = cell.Reactive.TTL
				}
			}
		}
	}
	slices.SortFunc(s.stemCells, func(a, b *pool) int {
		return cmp.Or(cmp.Compare(a.spec.Kind, b.spec.Kind), cmp.Compare(a.spec.Memory, b.spec.Memory))
	})
	s.restock = len(s.stemCells) > 0
}

// adjust counts reactive stem cells anew, and lets those beyond the wanted
// number end in time.
func (s *state) adjust() {
	s.alarms.set(&s.adjustAlarm, s.now.Add(s.cfg.AdjustEvery))
	for _, p := range s.stemCells {
		p.lastStarts, p.coldStarts = p.coldStarts, 0
	}
	s.recount()
	for _, p := range s.stemCells {
		excess := p.stock() - p.wanted
		for c := range p.ready.all() {
			if excess <= 0 {
				break
			}
			if !c.surplus {
				s.relink(c, func() { c.surplus = true })
				s.arm(c)
			}
			excess--
		}
	}
}

// recount finds how many stem cells are wanted, after that or the number of
// nodes changed.
func (s *state) recount() {
	for _, p := range s.stemCells {
		p.wanted = 0
		for _, cell := range p.cells {
			p.wanted += policy.StemCells(cell, s.open, p.lastStarts)
		}
	}
	s.restock = true
}

// refill orders the stem cells that are lacking, spread over the nodes. It does
// so only when no requisition waits, and where memory is free: stem cells never
// keep work out.
func (s *state) refill() {
	if !s.restock || len(s.sizes) > 0 || s.plans > 0 {
		return
	}
	s.restock = false
	for _, p := range s.stemCells {
		if p.retryAt.After(s.now) {
			continue
		}
		for p.stock() < p.wanted {
			q := policy.Request{Memory: p.spec.Memory, Cap: s.cfg.CreationsPerNode}
			i := policy.LeastLoaded(s.view, q)
			if i == policy.None || s.view[i].Creating >= s.cfg.CreationsPerNode {
				break // what frees memory or ends a creation sets restock
			}
			s.create(s.order[i], p.spec, nil, clean("prewarm_"+p.spec.Kind))
		}
	}
}

// expire decides about a prewarmed container whose time is up: it stays if it
// would only be replaced.
func (s *state) expire(c *container) {
	if s.settled && c.pool.stock() > c.pool.wanted {
		s.remove(c)
		return
	}
	s.relink(c, func() { c.surplus = c.surplus && !s.settled })
	s.arm(c)
}
