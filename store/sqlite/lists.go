// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/whirl-faas/whirl/store/internal/block"
	"github.com/whirl-faas/whirl/whisk"
)

// selection is a query with its times in milliseconds, both inclusive.
type selection struct {
	whisk.ActivationQuery
	since, upto int64
}

func selectionOf(query whisk.ActivationQuery) selection {
	s := selection{query, math.MinInt64, math.MaxInt64}
	if !query.Since.IsZero() {
		s.since = ceilMilli(query.Since)
	}
	if !query.Upto.IsZero() {
		s.upto = query.Upto.UnixMilli()
	}
	if s.Name == "" {
		s.Package = nil
	}
	return s
}

// ceilMilli rounds up: stored times are whole milliseconds, and one that is at
// or after t is at or after this.
func ceilMilli(t time.Time) int64 { return t.Add(time.Millisecond - 1).UnixMilli() }

// spanAfter is the latest start in a block that has one at milli.
func spanAfter(milli int64) int64 {
	if milli > math.MaxInt64-blockSpan {
		return math.MaxInt64
	}
	return milli + blockSpan
}

// filter is the same for what is in a block.
func (s *selection) filter() *block.Filter {
	return &block.Filter{Namespace: s.Namespace, Name: s.Name, Package: s.Package, Since: s.since, Upto: s.upto}
}

// rows selects from the index that serves the selection. Its first parameters are
// bound; those of the conditions follow.
func (s *selection) rows(c *connection, blockColumns, nameColumns, conditions string) *statement {
	if s.Name == "" {
		return c.prepare("SELECT " + blockColumns + " FROM blocks INDEXED BY blocks_list WHERE namespace = ? AND " + conditions).text(s.Namespace)
	}
	if s.Package == nil {
		return c.prepare("SELECT " + nameColumns + " FROM names WHERE namespace = ? AND name = ? AND " + conditions).text(s.Namespace).text(s.Name)
	}
	return c.prepare("SELECT " + nameColumns + " FROM names WHERE namespace = ? AND name = ? AND package = ? AND " + conditions).
		text(s.Namespace).text(s.Name).text(*s.Package)
}

// recentPlaces returns the rows of recent that may have what is selected, newest first.
func (s *selection) recentPlaces(c *connection) (places []place, err error) {
	err = c.prepare("SELECT position, max_start FROM recent WHERE max_start >= ? AND min_start <= ?").integer(s.since).integer(s.upto).
		each(func(r *row) error {
			places = append(places, place{recent: true, position: r.integer(), maxStart: r.integer()})
			return nil
		})
	slices.SortFunc(places, func(a, b place) int { return cmp.Compare(b.maxStart, a.maxStart) })
	return places, err
}

// ListActivations implements [whisk.ActivationStore].
func (a *Activations) ListActivations(ctx context.Context, query whisk.ActivationQuery) (records []whisk.Activation, err error) {
	l := newListing(query)
	err = a.db.readAll(ctx, func(c *connection) error {
		if err := l.collect(c); err != nil {
			return err
		}
		records, err = l.page(c)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list activations of %s: %w", query.Namespace, err)
	}
	return records, nil
}

// listing collects the newest records of a selection.
type listing struct {
	selection
	most  int            // that are collected
	found []listed       // when it has the most of them, in the list's order
	kept  int            // of found, when some were last passed over
	seen  map[int64]bool // blocks, where the name alone is selected
}

func newListing(query whisk.ActivationQuery) *listing {
	return &listing{selection: selectionOf(query), most: query.Skip + max(query.Limit, 0), seen: make(map[int64]bool)}
}

type listed struct {
	block.Head
	place place
}

// collect reads rows from the newest on, until all others are older than what it has.
func (l *listing) collect(c *connection) error {
	recent, err := l.recentPlaces(c)
	if err != nil {
		return err
	}
	err = l.rows(c, "max_start, position", namingColumns, "max_start >= ? AND max_start <= ? AND min_start <= ? ORDER BY max_start DESC").
		integer(l.since).integer(spanAfter(l.upto)).integer(l.upto).
		each(func(r *row) error {
			maxStart, blocks, err := l.blocks(r)
			if err != nil {
				return err
			}
			for len(recent) > 0 && recent[0].maxStart >= maxStart {
				if err := l.add(c, recent[0]); err != nil {
					return err
				}
				recent = recent[1:]
			}
			if l.enough(maxStart) {
				return errEnough
			}
			l.passOver(maxStart)
			for _, next := range blocks { // of another group there may be later ones
				if err := l.add(c, next); err != nil {
					return ignoreEnough(err)
				}
			}
			return nil
		})
	for ; err == nil && len(recent) > 0; recent = recent[1:] {
		err = l.add(c, recent[0])
	}
	l.order()
	return ignoreEnough(err)
}

func ignoreEnough(err error) error {
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// blocks returns the blocks of a row that may have what is selected and were not
// returned before, newest first, and a time that neither they nor those of later rows exceed.
func (l *listing) blocks(r *row) (maxStart int64, blocks []place, err error) {
	if l.Name == "" {
		p := place{maxStart: r.integer(), position: r.integer()}
		return p.maxStart, []place{p}, nil
	}
	n, err := r.naming()
	for _, p := range n.parts {
		if p.maxStart < l.since || p.minStart > l.upto {
			continue
		}
		if l.Package == nil { // several may have the name
			if l.seen[p.block] {
				continue
			}
			l.seen[p.block] = true
		}
		blocks = append(blocks, place{position: p.block, maxStart: p.maxStart})
	}
	slices.SortFunc(blocks, func(a, b place) int { return cmp.Compare(b.maxStart, a.maxStart) })
	return n.maxStart, blocks, err
}

// add takes what a row has of the selection, or returns errEnough if neither that
// row nor a later one can have any that is wanted.
func (l *listing) add(c *connection, p place) error {
	if l.enough(p.maxStart) {
		return errEnough
	}
	heads, err := p.heads(c, l.filter())
	for _, h := range heads {
		l.found = append(l.found, listed{h, p})
	}
	if len(l.found) >= l.most {
		l.order()
	}
	return err
}

// enough reports whether none that started then or before is wanted.
func (l *listing) enough(maxStart int64) bool {
	return l.most == 0 || len(l.found) == l.most && l.found[l.most-1].Start > maxStart
}

func (l *listing) order() {
	slices.SortFunc(l.found, func(a, b listed) int { return cmp.Or(cmp.Compare(b.Start, a.Start), b.Key.Compare(a.Key)) })
	l.found = l.found[:min(len(l.found), l.most)]
}

// passLeast is how many records are collected, beside those that had to be kept,
// before it is worth the while to pass over some.
const passLeast = 1000

// passOver forgets those that are skipped for sure, when no more come that started
// after a time: so a list takes no memory for all that it skips.
func (l *listing) passOver(maxStart int64) {
	if l.Skip == 0 || len(l.found) < 2*l.kept+passLeast {
		return
	}
	l.order()
	n := 0
	for n < min(l.Skip, len(l.found)) && l.found[n].Start > maxStart {
		n++
	}
	l.found = slices.Delete(l.found, 0, n)
	l.Skip, l.most, l.kept = l.Skip-n, l.most-n, len(l.found)
}

// page makes the records that are listed.
func (l *listing) page(c *connection) (records []whisk.Activation, err error) {
	bodies := make(map[place][]byte)
	for i := min(l.Skip, len(l.found)); i < len(l.found); i++ {
		found := &l.found[i]
		if !l.Full {
			record, err := found.Record()
			if err != nil {
				return nil, err
			}
			record.Response.Size = 0
			records = append(records, record)
			continue
		}
		body, read := bodies[found.place]
		if !read {
			if body, err = found.place.bodies(c); err != nil {
				return nil, err
			}
			bodies[found.place] = body
		}
		record, err := found.Whole(body)
		if err != nil {
			return nil, err
		}
		records = append(records, record)
	}
	return records, nil
}

// CountActivations implements [whisk.ActivationStore].
func (a *Activations) CountActivations(ctx context.Context, query whisk.ActivationQuery) (n int, err error) {
	s := selectionOf(query)
	err = a.db.readAll(ctx, func(c *connection) error {
		n, err = s.count(c)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("count activations of %s: %w", query.Namespace, err)
	}
	return n, nil
}

// count adds what the index says of blocks that lie within the span of time, and
// looks into those at its edges.
func (s *selection) count(c *connection) (n int, err error) {
	err = s.rows(c, "sum(count)", "sum(count)", "max_start >= ? AND max_start <= ? AND min_start >= ?").
		integer(s.since).integer(s.upto).integer(s.since).
		each(func(r *row) error { n = int(r.integer()); return nil })
	if err != nil {
		return 0, err
	}
	recent, err := s.recentPlaces(c)
	if err != nil {
		return 0, err
	}
	for _, p := range recent {
		some, err := s.countWithin(c, p)
		if err != nil {
			return 0, err
		}
		n += some
	}
	edges, err := s.countEdges(c)
	return n + edges, err
}

func (s *selection) countWithin(c *connection, p place) (int, error) {
	heads, err := p.heads(c, s.filter())
	return len(heads), err
}

// countEdges counts in the blocks that lie across the beginning, and then in those
// across the end and not the beginning.
func (s *selection) countEdges(c *connection) (n int, err error) {
	look := func(r *row) error {
		some, err := s.countRow(c, r)
		n += some
		return err
	}
	if s.since != math.MinInt64 {
		err = s.rows(c, "position", namingColumns, "max_start >= ? AND max_start <= ? AND min_start < ?").
			integer(s.since).integer(spanAfter(s.since)).integer(s.since).each(look)
	}
	if err == nil && s.upto != math.MaxInt64 {
		err = s.rows(c, "position", namingColumns, "max_start > ? AND max_start <= ? AND min_start <= ? AND min_start >= ?").
			integer(s.upto).integer(spanAfter(s.upto)).integer(s.upto).integer(s.since).each(look)
	}
	return n, err
}

// countRow counts in the blocks of a row.
func (s *selection) countRow(c *connection, r *row) (n int, err error) {
	if s.Name == "" {
		return s.countWithin(c, place{position: r.integer()})
	}
	of, err := r.naming()
	if err != nil {
		return 0, err
	}
	within := *s
	within.Package = &of.pkg
	for _, p := range of.parts {
		if p.minStart >= s.since && p.maxStart <= s.upto {
			n += p.count
			continue
		}
		some, err := within.countWithin(c, place{position: p.block})
		if err != nil {
			return 0, err
		}
		n += some
	}
	return n, nil
}
