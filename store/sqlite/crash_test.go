// SPDX-License-Identifier: Apache-2.0

package sqlite_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/whirl-faas/whirl/store/sqlite"
	"github.com/whirl-faas/whirl/whisk"
)

// TestKill kills a process that writes to all stores, again and again on the same
// files. What was acknowledged must be there, and nothing by halves.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	history := newHistory()
	for round, acknowledgements := range []int{1, 50, 250} {
		writer := startChild(t, "write", dir)
		for range acknowledgements {
			if !writer.lines.Scan() {
				t.Fatal("the writing process ended by itself")
			}
			history.note(t, writer.lines.Text())
		}
		must(t, writer.cmd.Process.Kill())
		for writer.lines.Scan() { // what it said before it died
			history.note(t, writer.lines.Text())
		}
		_ = writer.cmd.Wait() // it was killed
		history.check(t, dir)
		t.Logf("round %d: %d acknowledged", round, len(history.lines))
	}
}

const crashBatch = 10

// writeForEver is the process that is killed. Each of its writers works on names
// and ids of its own and says on standard output, in one write, what was done.
func writeForEver(dir string) error {
	ctx := context.Background()
	entities, err := sqlite.OpenEntities(ctx, filepath.Join(dir, "entities.db"))
	if err != nil {
		return err
	}
	activations, err := sqlite.OpenActivations(ctx, filepath.Join(dir, "activations.db"), nil)
	if err != nil {
		return err
	}
	logs, err := sqlite.OpenLogs(ctx, filepath.Join(dir, "logs.db"))
	if err != nil {
		return err
	}
	var writers errgroup.Group
	first := time.Now().UnixNano() // ids of this round are above those of the last
	for i := range int64(4) {
		writers.Go(func() error { return putDocuments(ctx, entities, fmt.Sprint("writer", i)) })
		writers.Go(func() error { return queueEntries(ctx, entities, first+i<<40) })
	}
	writers.Go(func() error { return putBatches(ctx, activations, logs, first) })
	return writers.Wait()
}

func putDocuments(ctx context.Context, s *sqlite.Entities, name string) error {
	doc := whisk.Document{Collection: whisk.Actions, Name: whisk.FullName{Namespace: "guest", Name: name}}
	if stored, err := s.Get(ctx, doc.Name); err == nil {
		doc.Revision = stored.Revision
	}
	for n := 0; ; n++ {
		// The parts of a document must stay together.
		doc.Summary = json.RawMessage(fmt.Sprint(n))
		doc.Body = json.RawMessage(`["` + strings.Repeat(fmt.Sprintf("%d,", n), 500) + `"]`)
		doc.Updated = time.UnixMilli(int64(n))
		revision, err := s.Put(ctx, doc)
		if err != nil {
			return err
		}
		doc.Revision = revision
		fmt.Fprintf(os.Stdout, "document %s %d\n", name, revision)
	}
}

// queueEntries leaves some entries accepted, some claimed, and completes the rest.
func queueEntries(ctx context.Context, s *sqlite.Entities, first int64) error {
	for n := first; ; n++ {
		if err := s.Accept(ctx, whisk.Accepted{Activation: id(n), Namespace: "guest", Body: json.RawMessage(`{}`)}); err != nil {
			return err
		}
		switch n % 3 {
		case 0:
			fmt.Fprintf(os.Stdout, "accepted %s\n", id(n))
			continue
		case 1:
			if err := s.Claim(ctx, id(n), "me"); err != nil {
				return err
			}
			fmt.Fprintf(os.Stdout, "claimed %s\n", id(n))
		case 2:
			if err := s.Complete(ctx, []whisk.ActivationID{id(n)}); err != nil {
				return err
			}
			fmt.Fprintf(os.Stdout, "completed %s\n", id(n))
		}
	}
}

// putBatches writes batches of records and logs; a batch's name is its number.
func putBatches(ctx context.Context, activations *sqlite.Activations, logs *sqlite.Logs, first int64) error {
	for n := first; ; n += crashBatch {
		var records []whisk.Activation
		var entries []whisk.LogEntry
		for i := range int64(crashBatch) {
			record := benchRecord(0)
			record.ID, record.Namespace, record.Name = id(n+i), "guest", fmt.Sprint(n)
			records = append(records, record)
			entries = append(entries, whisk.LogEntry{Activation: id(n + i), Namespace: "guest", Lines: []string{fmt.Sprint(n)}})
		}
		if err := activations.PutActivations(ctx, records); err != nil {
			return err
		}
		fmt.Fprintf(os.Stdout, "records %d\n", n)
		if err := logs.AppendLogs(ctx, entries); err != nil {
			return err
		}
		fmt.Fprintf(os.Stdout, "logs %d\n", n)
	}
}

// history is what was acknowledged, over all rounds.
type history struct {
	lines     []string
	documents map[string]whisk.Revision     // the last acknowledged write of each
	queue     map[whisk.ActivationID]string // the last acknowledged stage of each
	batches   map[string]map[string]bool    // of records and of logs, by number
}

func newHistory() *history {
	return &history{
		documents: make(map[string]whisk.Revision),
		queue:     make(map[whisk.ActivationID]string),
		batches:   map[string]map[string]bool{"records": {}, "logs": {}},
	}
}

func (h *history) note(t *testing.T, line string) {
	t.Helper()
	h.lines = append(h.lines, line)
	words := strings.Fields(line)
	switch what := words[0]; what {
	case "document":
		var revision whisk.Revision
		_, err := fmt.Sscan(words[2], &revision)
		must(t, err)
		h.documents[words[1]] = revision
	case "accepted", "claimed", "completed":
		h.queue[whisk.ActivationID(words[1])] = what
	case "records", "logs":
		h.batches[what][words[1]] = true
	default:
		t.Fatalf("the child said %q", line)
	}
}

func (h *history) check(t *testing.T, dir string) {
	t.Helper()
	for _, file := range []string{"entities.db", "activations.db", "logs.db"} {
		if _, err := os.Stat(filepath.Join(dir, file)); err == nil {
			mustBeSound(t, filepath.Join(dir, file))
		}
	}
	entities := openEntities(t, dir)
	defer entities.Close()
	h.checkDocuments(t, entities)
	h.checkQueue(t, entities)
	h.checkBatches(t, dir)
}

func (h *history) checkDocuments(t *testing.T, s *sqlite.Entities) {
	t.Helper()
	last, err := s.LastChange(t.Context())
	must(t, err)
	for name, revision := range h.documents {
		doc, err := s.Get(t.Context(), whisk.FullName{Namespace: "guest", Name: name})
		must(t, err)
		if doc.Revision < revision || int64(doc.Revision) > last {
			t.Errorf("%s has revision %d, acknowledged was %d; the feed ends at %d", name, doc.Revision, revision, last)
		}
		if whole := `["` + strings.Repeat(string(doc.Summary)+",", 500) + `"]`; whole != string(doc.Body) ||
			fmt.Sprint(doc.Updated.UnixMilli()) != string(doc.Summary) {
			t.Errorf("%s is a mixture of writes", name)
		}
	}
}

func (h *history) checkQueue(t *testing.T, s *sqlite.Entities) {
	t.Helper()
	stored := make(map[whisk.ActivationID]whisk.Accepted)
	for entry, err := range s.Pending(t.Context()) {
		must(t, err)
		stored[entry.Activation] = entry
	}
	for id, stage := range h.queue {
		entry, there := stored[id]
		if want := stage != "completed"; there != want {
			t.Errorf("%s entry is there: %v, want %v", stage, there, want)
		}
		if claimed := entry.ClaimedBy != ""; claimed != (stage == "claimed") {
			t.Errorf("%s entry is claimed: %v", stage, claimed)
		}
	}
}

// checkBatches finds every batch whole, or not at all if it was not acknowledged.
func (h *history) checkBatches(t *testing.T, dir string) {
	t.Helper()
	activations, logs := openActivations(t, dir), openLogs(t, dir)
	defer activations.Close()
	defer logs.Close()
	records, err := activations.ListActivations(t.Context(), whisk.ActivationQuery{Namespace: "guest", Limit: 1 << 30})
	must(t, err)
	sizes := make(map[string]int)
	for _, record := range records {
		sizes[record.Name]++
	}
	for batch, size := range sizes {
		if size != crashBatch {
			t.Errorf("batch %s has %d of %d records", batch, size, crashBatch)
		}
		h.checkLogs(t, logs, batch)
	}
	for batch := range h.batches["records"] {
		if sizes[batch] == 0 {
			t.Errorf("batch %s of records is gone", batch)
		}
	}
}

func (h *history) checkLogs(t *testing.T, s *sqlite.Logs, batch string) {
	t.Helper()
	var first int64
	_, err := fmt.Sscan(batch, &first)
	must(t, err)
	size := 0
	for i := range int64(crashBatch) {
		lines, err := s.Logs(t.Context(), "guest", id(first+i))
		must(t, err)
		size += len(lines)
	}
	if size != crashBatch && (size != 0 || h.batches["logs"][batch]) {
		t.Errorf("batch %s has %d of %d logs, acknowledged: %v", batch, size, crashBatch, h.batches["logs"][batch])
	}
}
