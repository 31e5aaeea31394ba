// SPDX-License-Identifier: Apache-2.0

package recorder

import "github.com/whirl-faas/whirl/whisk"

// backlog has the slots whose records are announced and not stored yet, by what the
// store knows a record by: namespace and id. It is not safe for concurrent use.
type backlog struct {
	piles map[string]*pile // of the namespaces that have any
	slots int              // in all piles

	// Empty piles are for the next namespaces, most of which have records for
	// moments only. Maps never shrink: what spare piles have room for is bounded.
	spare []*pile
	room  int // in all spare piles
	limit int // of room
}

// pile is what is pending of one namespace.
type pile struct {
	slots map[whisk.ActivationID]*Slot
	left  int // slots added and not removed; of one id there may be several
	room  int // about how many slots the map has memory for
}

// leastRoom is what the smallest map has memory for.
const leastRoom = 8

// newBacklog returns an empty backlog, which keeps memory for limit slots beside
// that for those it has.
func newBacklog(limit int) backlog { return backlog{piles: map[string]*pile{}, limit: limit} }

// add takes a slot with its record.
func (b *backlog) add(s *Slot) {
	s.pile = b.pileOf(s.record.Namespace)
	s.pile.slots[s.record.ID] = s
	s.pile.left++
	s.pile.room = max(s.pile.room, s.pile.left)
	b.slots++
}

func (b *backlog) pileOf(namespace string) *pile {
	if p := b.piles[namespace]; p != nil {
		return p
	}
	var p *pile
	if last := len(b.spare) - 1; last >= 0 {
		p, b.spare = b.spare[last], b.spare[:last]
		b.room -= p.room
	} else {
		p = &pile{slots: map[whisk.ActivationID]*Slot{}, room: leastRoom}
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
	if b.room+p.room <= b.limit {
		b.spare = append(b.spare, p)
		b.room += p.room
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
