// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"context"
	"fmt"
	"iter"
	"math"
	"slices"

	"github.com/whirl-faas/whirl/store/internal/block"
	"github.com/whirl-faas/whirl/whisk"
)

// archiveBlocks is how many blocks an archive reads at a time: some megabytes,
// but for those with a record that is as long.
const archiveBlocks = 32

// AllActivations implements [whisk.ActivationArchive]. Records that come while it
// goes on may be left out.
func (a *Activations) AllActivations(ctx context.Context) iter.Seq2[whisk.Activation, error] {
	return func(yield func(whisk.Activation, error) bool) {
		err := a.compact(ctx)
		for namespace := ""; err == nil; {
			if namespace, err = a.namespaceAfter(ctx, namespace); namespace == "" {
				break
			}
			var goes bool
			if goes, err = a.archiveNamespace(ctx, namespace, yield); !goes {
				return
			}
		}
		if err != nil {
			yield(whisk.Activation{}, fmt.Errorf("read all records: %w", err))
		}
	}
}

func (a *Activations) compact(ctx context.Context) error {
	var aside []damage
	err := a.db.write(ctx, 0, func(c *connection) (err error) {
		aside, err = compact(c)
		return err
	})
	if err == nil {
		report(a.log, aside)
	}
	return err
}

// namespaceAfter returns the next namespace that has records, "" if there is none.
func (a *Activations) namespaceAfter(ctx context.Context, last string) (next string, err error) {
	err = a.db.read(ctx, func(c *connection) error {
		return c.prepare("SELECT min(namespace) FROM blocks INDEXED BY blocks_list WHERE namespace > ?").text(last).
			each(func(r *row) error { next = r.text(); return nil })
	})
	return next, err
}

// archiveNamespace yields the records of a namespace, oldest first. It reports
// false if the consumer wants no more.
func (a *Activations) archiveNamespace(ctx context.Context, namespace string, yield func(whisk.Activation, error) bool) (goes bool, err error) {
	page := archivePart{namespace: namespace, since: math.MinInt64, most: archiveBlocks}
	for !page.ends {
		if err := a.db.readAll(ctx, page.read); err != nil {
			return true, err
		}
		for _, r := range page.records {
			if !yield(*r.Activation, nil) {
				return false, nil
			}
		}
	}
	return true, nil
}

// archivePart is the records of a namespace in a span of time.
type archivePart struct {
	namespace string
	since     int64 // all older ones were read
	most      int   // blocks
	ends      bool  // there are no later ones
	records   []keyed
}

// read goes on where the last one ended. Blocks come in the order of their last
// record, so that the first of those that were not read tells how old these can be.
func (p *archivePart) read(c *connection) error {
	var places []place
	err := c.prepare("SELECT position, max_start FROM blocks INDEXED BY blocks_list WHERE namespace = ? AND max_start >= ? ORDER BY max_start LIMIT ?").
		text(p.namespace).integer(p.since).integer(int64(p.most) + 1).
		each(func(r *row) error {
			places = append(places, place{position: r.integer(), maxStart: r.integer()})
			return nil
		})
	if err != nil {
		return err
	}
	upto := int64(math.MaxInt64)
	if p.ends = len(places) <= p.most; !p.ends {
		upto = places[p.most].maxStart - blockSpan
		places = places[:p.most]
	}
	p.records = p.records[:0]
	if upto <= p.since { // all of these overlap
		p.most *= 2
		return nil
	}
	for _, place := range places {
		if err := p.take(c, place, upto); err != nil {
			return err
		}
	}
	slices.SortFunc(p.records, byStart)
	p.since = upto
	return nil
}

// take adds a block's records that are older than upto.
func (p *archivePart) take(c *connection, place place, upto int64) error {
	heads, err := place.heads(c, nil)
	if err != nil {
		return err
	}
	heads = slices.DeleteFunc(heads, func(h block.Head) bool { return h.Start < p.since || h.Start >= upto && upto != math.MaxInt64 })
	if len(heads) == 0 {
		return nil
	}
	bodies, err := place.bodies(c)
	if err != nil {
		return err
	}
	for i := range heads {
		record, err := heads[i].Whole(bodies)
		if err != nil {
			return err
		}
		p.records = append(p.records, keyed{heads[i].Key, &record})
	}
	return nil
}
