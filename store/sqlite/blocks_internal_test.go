// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/store/internal/block"
	"github.com/whirl-faas/whirl/whisk"
)

// TestBlocksAgainstModel stores, repeats and expires at random: batches that go
// into recent and those that do not, ids of one moment and of all times, results
// of all lengths. Whatever shape the rows have then, lists, counts and the archive
// are those of a plain slice.
func TestBlocksAgainstModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	m := &blockModel{t: t, random: rand.New(rand.NewPCG(seed, 1)), now: 1_700_000_000_000, stored: make(map[modelID]whisk.Activation)}
	var err error
	if m.store, err = OpenActivations(t.Context(), filepath.Join(t.TempDir(), "activations.db"), nil); err != nil {
		t.Fatal(err)
	}
	defer m.store.Close()
	for round := range 120 {
		m.put(round)
		if m.random.IntN(12) == 0 {
			m.expire()
		}
		for range 6 {
			m.compareList()
		}
		m.compareOne()
		m.consistent()
	}
	m.compareArchive()
	if !m.grouped {
		t.Error("no row of names ever told of several blocks")
	}
}

type modelID struct {
	namespace string
	id        whisk.ActivationID
}

type blockModel struct {
	t      *testing.T
	random *rand.Rand
	store  *Activations
	now    int64 // ms since 1970
	stored map[modelID]whisk.Activation
	last   []whisk.Activation // batch

	grouped bool // there was an action with several blocks in one row of names
}

func (m *blockModel) pick(from ...int64) int64 { return from[m.random.IntN(len(from))] }

func (m *blockModel) record() whisk.Activation {
	m.now += m.pick(0, 1, 1, 5, 300)
	made := m.now - m.pick(0, 0, 0, 2, 900, 70_000) // it took long
	if m.random.IntN(40) == 0 {
		made = m.random.Int64N(1 << 48) // no UUID of version 7
	}
	start := m.now - m.pick(0, 0, 1, 4, 4000)
	r := whisk.Activation{
		ID:        whisk.ActivationID(fmt.Sprintf("%012x7%03x8%015x", made, m.random.IntN(1<<12), m.random.Int64N(1<<60))),
		Namespace: fmt.Sprint("ns", m.random.IntN(3)), Name: fmt.Sprint("name", m.random.IntN(4)), Package: []string{"", "p"}[m.random.IntN(2)],
		Version: whisk.FirstVersion, Start: time.UnixMilli(start).UTC(),
		Response: whisk.Response{Result: json.RawMessage(`"` + strings.Repeat("x", int(m.pick(0, 10, 10, 1000))) + `"`), Size: 3},
	}
	if m.random.IntN(100) == 0 {
		r.Response.Result = json.RawMessage(`"` + strings.Repeat("y", 100_000) + `"`)
	}
	return r
}

func (m *blockModel) put(round int) {
	n := m.pick(1, 1, 3, 20, 60)
	if round%30 == 29 {
		n = 700
	}
	if round%40 == 39 {
		m.now += 100_000
	}
	var batch []whisk.Activation
	for range n {
		batch = append(batch, m.record())
	}
	if m.random.IntN(4) == 0 { // repeats, and the same id elsewhere
		batch = append(batch, m.last[:min(len(m.last), 5)]...)
		for _, r := range m.stored {
			r.Name = "changed"
			batch = append(batch, r)
			r.Namespace = "ns9"
			batch = append(batch, r)
			break
		}
	}
	if err := m.store.PutActivations(m.t.Context(), batch); err != nil {
		m.t.Fatal(err)
	}
	for _, r := range batch {
		if _, there := m.stored[modelID{r.Namespace, r.ID}]; !there {
			m.stored[modelID{r.Namespace, r.ID}] = r
		}
	}
	m.last = batch
}

func (m *blockModel) expire() {
	before := m.now - m.pick(200, 5_000, 60_000)
	limit := int(m.pick(1, 7, 300, 100_000))
	n, err := m.store.ExpireActivations(m.t.Context(), time.UnixMilli(before), limit)
	if err != nil {
		m.t.Fatal(err)
	}
	old := 0
	for _, r := range m.stored {
		if r.Start.UnixMilli() < before {
			old++
		}
	}
	if n != min(old, limit) {
		m.t.Fatalf("expired %d of %d, the limit was %d", n, old, limit)
	}
	// Which of the old ones went is the store's business.
	gone := 0
	for key, r := range m.stored {
		_, err := m.store.Activation(m.t.Context(), r.Namespace, r.ID)
		if err == nil {
			continue
		}
		if whisk.KindOf(err) != whisk.NotFound || r.Start.UnixMilli() >= before {
			m.t.Fatalf("%s that started at %d: %v", r.ID, r.Start.UnixMilli(), err)
		}
		delete(m.stored, key)
		gone++
	}
	if gone != n {
		m.t.Fatalf("%d are gone, %d were said to be", gone, n)
	}
}

func (m *blockModel) query() whisk.ActivationQuery {
	q := whisk.ActivationQuery{Namespace: fmt.Sprint("ns", m.random.IntN(4)), Skip: int(m.pick(0, 0, 1, 40, 1200)), Limit: int(m.pick(1, 10, 200, 1<<30)), Full: m.random.IntN(2) == 0}
	if m.random.IntN(2) == 0 {
		q.Name = fmt.Sprint("name", m.random.IntN(5))
		if m.random.IntN(2) == 0 {
			q.Package = new([]string{"", "p"}[m.random.IntN(2)])
		}
	}
	if m.random.IntN(2) == 0 {
		q.Since = time.UnixMilli(m.now - m.pick(0, 100, 3_000, 12_000, 150_000))
	}
	if m.random.IntN(2) == 0 {
		q.Upto = time.UnixMilli(m.now - m.pick(0, 50, 2_000, 9_000, 100_000))
	}
	return q
}

func (m *blockModel) compareList() {
	q := m.query()
	var want []whisk.Activation
	for _, r := range m.stored {
		if r.Namespace == q.Namespace && (q.Name == "" || r.Name == q.Name && (q.Package == nil || r.Package == *q.Package)) &&
			!r.Start.Before(q.Since) && (q.Upto.IsZero() || !r.Start.After(q.Upto)) {
			if !q.Full {
				r.Response = whisk.Response{Status: r.Response.Status}
			}
			want = append(want, r)
		}
	}
	if n, err := m.store.CountActivations(m.t.Context(), q); err != nil || n != len(want) {
		m.t.Fatalf("count of %+v is %d, want %d; %v", q, n, len(want), err)
	}
	slices.SortFunc(want, func(a, b whisk.Activation) int {
		return cmp.Or(b.Start.Compare(a.Start), cmp.Compare(b.ID, a.ID))
	})
	want = want[min(q.Skip, len(want)):]
	want = want[:min(q.Limit, len(want))]
	got, err := m.store.ListActivations(m.t.Context(), q)
	if err != nil || len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
		m.t.Fatalf("list of %+v has %d, want %d, or others; %v", q, len(got), len(want), err)
	}
}

func (m *blockModel) compareOne() {
	for _, want := range m.stored {
		got, err := m.store.Activation(m.t.Context(), want.Namespace, want.ID)
		if err != nil || !reflect.DeepEqual(got, want) {
			m.t.Fatalf("got %+v, %v\nwant %+v", got, err, want)
		}
		return
	}
}

func (m *blockModel) compareArchive() {
	var want, got []whisk.Activation
	for _, r := range m.stored {
		want = append(want, r)
	}
	slices.SortFunc(want, func(a, b whisk.Activation) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), a.Start.Compare(b.Start), cmp.Compare(a.ID, b.ID))
	})
	for r, err := range m.store.AllActivations(m.t.Context()) {
		if err != nil {
			m.t.Fatal(err)
		}
		got = append(got, r)
	}
	if !reflect.DeepEqual(got, want) {
		m.t.Errorf("the archive has %d records, want %d in their order", len(got), len(want))
	}
}

// consistent checks what the reading relies on: that rows are as wide as they
// may be, that recent stays small, and that names are those of blocks.
func (m *blockModel) consistent() {
	for what, query := range map[string]string{
		"spans":        fmt.Sprintf("SELECT count(*) FROM blocks WHERE max_start - min_start > %d", blockSpan),
		"recent":       fmt.Sprintf("SELECT count(*) >= %d FROM recent", recentRows),
		"names' count": "SELECT (SELECT coalesce(sum(count), 0) FROM names) - (SELECT coalesce(sum(count), 0) FROM blocks)",
	} {
		err := m.store.db.read(m.t.Context(), func(c *connection) error {
			n, err := c.number(query)
			if err == nil && n != 0 {
				err = fmt.Errorf("%s: %d", what, n)
			}
			return err
		})
		if err != nil {
			m.t.Fatal(err)
		}
	}
	if err := m.store.db.read(m.t.Context(), m.named); err != nil {
		m.t.Fatal(err)
	}
}

// named checks that each block's names are what its heads have.
func (m *blockModel) named(c *connection) error {
	type key struct {
		block     int64
		name, pkg string
	}
	want, got := make(map[key]part), make(map[key]part)
	groups := make(map[int64][2]int64) // the last start and the position of what began it
	err := c.prepare("SELECT position, max_start, coalesce(named, max_start), coalesce(rank, 0), heads FROM blocks").each(func(r *row) error {
		position, maxStart := r.integer(), r.integer()
		groups[position] = [2]int64{r.integer(), position - r.integer()}
		heads, err := block.Heads(r.bytes())
		for _, h := range heads {
			p, known := want[key{position, h.Name, h.Package}]
			if !known {
				p = part{position, maxStart, h.Start, 0}
			}
			p.count, p.minStart = p.count+1, min(p.minStart, h.Start)
			want[key{position, h.Name, h.Package}] = p
		}
		return err
	})
	if err != nil {
		return err
	}
	err = c.prepare("SELECT name, min_start, max_start, " + namingColumns + " FROM names").each(func(r *row) error {
		name, span := r.text(), -r.integer()
		span += r.integer()
		n, err := r.naming()
		if span > blockSpan {
			return fmt.Errorf("names of %v ms", span)
		}
		m.grouped = m.grouped || len(n.parts) > 1
		for _, p := range n.parts {
			if groups[p.block] != [2]int64{n.maxStart, n.group} {
				return fmt.Errorf("block %d is of %v, and named by %+v", p.block, groups[p.block], n)
			}
			got[key{p.block, name, n.pkg}] = p
		}
		return err
	})
	if err == nil && !reflect.DeepEqual(got, want) {
		err = fmt.Errorf("names have %d, blocks %d, or others", len(got), len(want))
	}
	return err
}
