// SPDX-License-Identifier: Apache-2.0

package sqlite

import (
	"bytes"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/whirl-faas/whirl/whisk"
)

// openLogged opens a new store that logs to a buffer.
func openLogged(t *testing.T) (*Activations, *bytes.Buffer) {
	t.Helper()
	log := new(bytes.Buffer)
	s, err := OpenActivations(t.Context(), filepath.Join(t.TempDir(), "activations.db"), slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, log
}

func (a *Activations) putGrouped(t *testing.T, from, n int) {
	t.Helper()
	var records []whisk.Activation
	for i := range n {
		records = append(records, groupedRecord(from+i))
	}
	if err := a.PutActivations(t.Context(), records); err != nil {
		t.Fatal(err)
	}
}

func (a *Activations) exec(t *testing.T, statement string) {
	t.Helper()
	if err := a.db.write(t.Context(), 0, func(c *connection) error { return classify(c.Exec(statement)) }); err != nil {
		t.Fatal(err)
	}
}

func (a *Activations) wantNumber(t *testing.T, query string, want int64) {
	t.Helper()
	err := a.db.read(t.Context(), func(c *connection) error {
		n, err := c.number(query)
		if n != want {
			t.Errorf("%s is %d, want %d", query, n, want)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// listed is how many records are listed, with what the store has of each.
func (a *Activations) listed(t *testing.T, name string) int {
	t.Helper()
	records, err := a.ListActivations(t.Context(), whisk.ActivationQuery{Namespace: "guest", Name: name, Limit: 1 << 20, Full: true})
	if err != nil {
		t.Fatal(err)
	}
	return len(records)
}

// Rows of recent that cannot be read fail no write: what can be read of them
// becomes blocks with the rest, and they are set aside, which is said once.
func TestDamagedRecent(t *testing.T) {
	s, log := openLogged(t)
	s.putGrouped(t, 0, 1)
	s.putGrouped(t, 1, 3)
	s.putGrouped(t, 4, 1)
	s.exec(t, `UPDATE recent SET heads = x'ff' WHERE position = 1;
		UPDATE recent SET bodies = substr(bodies, 1, 2*length(bodies)/3) WHERE position = 2`)
	s.putGrouped(t, 0, 1) // the one that nobody can read
	for i := range 3 * recentRows {
		s.putGrouped(t, 5+i, 1)
	}
	const all = 5 + 3*recentRows
	if n := s.listed(t, ""); n != all-1 {
		t.Errorf("%d records are listed, want all %d but one", n, all)
	}
	s.wantNumber(t, "SELECT count(*) FROM damaged WHERE length(heads) > 0", 2)
	text := log.String()
	if strings.Count(text, "\n") != 2 || !strings.Contains(text, "table=recent row=1 records=1 readable=0") ||
		!strings.Contains(text, "table=recent row=2 records=3 readable=2") || !strings.Contains(text, string(groupedRecord(3).ID)) {
		t.Errorf("logged %s", text)
	}
	if _, err := s.ExpireActivations(t.Context(), groupedRecord(2).Start, 1<<20); err != nil {
		t.Fatal(err)
	}
	s.wantNumber(t, "SELECT row FROM damaged", 2) // the other one has expired
}

// A block that cannot be read stops neither the expiry nor the writing of the ids
// that it spans.
func TestDamagedBlock(t *testing.T) {
	const all, each = 3*blockRecords - 84, blockRecords // 300 in three blocks of a group
	for _, test := range []struct {
		damage string
		block  int // from 1
		before int // records up to this one are to expire
		limit  int
		left   int // records
		aside  int64
	}{
		{"heads = x'ff'", 1, 30, 2 * all, all - each, 1},
		{"heads = x'ff'", 2, each + 30, 2 * all, all - 2*each, 1},
		{"heads = x'ff'", 2, all, 2 * all, 0, 0},
		{"heads = x'ff'", 3, all, 2 * all, 0, 0},
		{"heads = x''", 1, all, 7, all - each - 7, 1},
		{"bodies = substr(bodies, 1, length(bodies) - 1)", 1, 30, 2 * all, all - 30 - 1, 1},
		{"bodies = x''", 2, all, 2 * all, 0, 0},
	} {
		for _, grouped := range []bool{true, false} {
			t.Run(fmt.Sprint(test.damage, " of ", test.block, " before ", test.before, " grouped ", grouped), func(t *testing.T) {
				s, log := openLogged(t)
				for from, n := 0, all; from < all; from += n {
					if !grouped {
						n = min(each, all-from)
					}
					s.putGrouped(t, from, n)
					if err := s.compact(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				s.exec(t, fmt.Sprintf("UPDATE blocks SET %s WHERE position = %d", test.damage, test.block))
				within := groupedRecord((test.block-1)*each + 5)
				within.ID, within.Start = within.ID[:17]+"f"+within.ID[18:], groupedRecord(all).Start
				if err := s.PutActivations(t.Context(), []whisk.Activation{within}); err != nil {
					t.Fatal(err)
				}
				if _, err := s.ExpireActivations(t.Context(), groupedRecord(test.before).Start, test.limit); err != nil {
					t.Fatal(err)
				}
				if n := s.listed(t, ""); n != test.left+1 {
					t.Errorf("%d records are left, want %d", n, test.left+1)
				}
				for i := range 5 {
					s.listed(t, fmt.Sprint("action", i))
				}
				s.wantNumber(t, "SELECT (SELECT coalesce(sum(count), 0) FROM names) - (SELECT coalesce(sum(count), 0) FROM blocks)", 0)
				s.wantNumber(t, "SELECT count(*) FROM damaged", test.aside)
				t.Log(log)
			})
		}
	}
}
