// SPDX-License-Identifier: Apache-2.0

package recorder

import "github.com/whirl-faas/whirl/whisk"

// backlog has the slots whose records are announced and not stored yet, by what the
// store knows a record by: namespace and id. It is not safe for concurrent use.
type backlog struct {
	piles map[string]*pile // of the namespaces that have any
	spare []*pile          // empty ones, never more than there once were slots
	slots int              // in all piles
}

// pile is what is pending of one namespace.
type pile struct {
	slots map[whisk.ActivationID]*Slot
	left  int // slots added and not removed; of one id there may be several
	most  int // that left ever was
}

// spareSize is how many slots a pile may have had for another namespace to get it:
// most have few records at once, and would need a new one for each few. Maps never
// shrink, and one of so many is the smallest there is.
const spareSize = 8

func newBacklog() backlog { return backlog{piles: map[string]*pile{}} }

// add takes a slot with its record.
func (b *backlog) add(s *Slot) {
	s.pile = b.pileOf(s.record.Namespace)
	s.pile.slots[s.record.ID] = s
	s.pile.left++
	s.pile.most = max(s.pile.most, s.pile.left)
	b.slots++
}

func (b *backlog) pileOf(namespace string) *pile {
	if p := b.piles[namespace]; p != nil {
		return p
	}
	var p *pile
	if last := len(b.spare) - 1; last >= 0 {
		p, b.spare = b.spare[last], b.spare[:last]
	} else {
		p = &pile{slots: map[whisk.ActivationID]*Slot{}}
	}
	b.piles[namespace] = p
	return p
}

// remove drops a slot that was added.
func (b *backlog) remove(s *Slot) {
	p := s.pile
	delete(p.slots, s.record.ID)
	p.left--
	b.slots--
	if p.left > 0 {
		return
	}
	delete(b.piles, s.record.Namespace)
	if p.most <= spareSize {
		b.spare = append(b.spare, p)
	}
}

// find returns the slot of a record, nil if there is none.
func (b *backlog) find(namespace string, id whisk.ActivationID) *Slot { return b.of(namespace)[id] }

// of returns the slots of a namespace, to be read only. It may be nil.
func (b *backlog) of(namespace string) map[whisk.ActivationID]*Slot {
	if p := b.piles[namespace]; p != nil {
		return p.slots
	}
	return nil
}
