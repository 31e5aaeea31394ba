// SPDX-License-Identifier: Apache-2.0

package ledger_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/whirl-faas/whirl/agent/ledger"
	"github.com/whirl-faas/whirl/agent/output"
	"github.com/whirl-faas/whirl/whisk"
)

// book is a ledger under test.
type book struct {
	*ledger.Dir
	t    *testing.T
	path string
}

func open(t *testing.T, path string) *book {
	t.Helper()
	dir, err := ledger.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	b := &book{dir, t, path}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

// reload returns what a later process finds, by container.
func (b *book) reload() map[whisk.ContainerID]ledger.Record {
	b.t.Helper()
	records, err := b.reopen()
	if err != nil {
		b.t.Errorf("Load = %v", err)
	}
	found := map[whisk.ContainerID]ledger.Record{}
	for _, r := range records {
		found[r.Container] = r
	}
	return found
}

func (b *book) reopen() ([]ledger.Record, error) {
	b.t.Helper()
	dir, err := ledger.Open(b.path)
	if whisk.KindOf(err) != whisk.Conflict {
		b.t.Errorf("Open beside another = %v", err)
	}
	if err = b.Close(); err == nil {
		dir, err = ledger.Open(b.path)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	b.Dir = dir
	return dir.Load()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRecordsAndMarks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "down")
	dir := open(t, path)
	first := ledger.Record{Container: "c1", Label: "guest/hello", Serial: 1, Lessee: "a", Used: true, Tenures: []ledger.Tenure{{"a", 0, 7}}}
	must(t, dir.Save(first))
	must(t, dir.Mark("c1", ledger.EndedStdout, 5))
	must(t, dir.Save(ledger.Record{Container: "c2"}))
	must(t, dir.Mark("c2", ledger.Frozen, 1<<63))
	first.Lessee, first.Serial = "b", 2
	first.Left = &output.Leftover{Ended: [2]uint64{5, 4}, Partial: [2][]byte{[]byte("half \xff"), nil}, Runs: []output.LeftRun{{Run: 6, Lines: []output.LeftLine{{At: 1, Stderr: true, Text: []byte("\x00")}}}}}
	must(t, dir.Save(first))
	must(t, dir.Mark("c1", ledger.EndedStderr, 4))

	first.Marks = ledger.Marks{Ended: [2]uint64{5, 4}}
	want := map[whisk.ContainerID]ledger.Record{"c1": first, "c2": {Container: "c2", Marks: ledger.Marks{Frozen: 1 << 63}}}
	if got := dir.reload(); !reflect.DeepEqual(got, want) {
		t.Errorf("found %+v\nwant %+v", got, want)
	}
	must(t, dir.Delete("c1"))
	must(t, dir.Delete("c1"))
	must(t, dir.Delete("never"))
	if err := dir.Mark("c1", ledger.Frozen, 1); whisk.KindOf(err) != whisk.NotFound {
		t.Errorf("Mark of a deleted record = %v", err)
	}
	if got := dir.reload(); len(got) != 1 {
		t.Errorf("found %+v", got)
	}
}

// TestANewRecordsMarksAreZero also where another container's were.
func TestANewRecordsMarksAreZero(t *testing.T) {
	path := t.TempDir()
	dir := open(t, path)
	for generation := range 3 {
		for i := range 5 {
			old, id := whisk.ContainerID(fmt.Sprintf("g%dc%d", generation-1, i)), whisk.ContainerID(fmt.Sprintf("g%dc%d", generation, i))
			must(t, dir.Delete(old))
			must(t, dir.Save(ledger.Record{Container: id}))
		}
		for id, r := range dir.reload() {
			if r.Marks != (ledger.Marks{}) {
				t.Errorf("%s begins with %+v", id, r.Marks)
			}
		}
		for i := range 5 {
			id := whisk.ContainerID(fmt.Sprintf("g%dc%d", generation, i))
			must(t, dir.Mark(id, ledger.EndedStderr, uint64(generation*10+i+1)))
		}
		for i := range 5 {
			id := whisk.ContainerID(fmt.Sprintf("g%dc%d", generation, i))
			if got := dir.reload()[id].Marks.Ended[1]; got != uint64(generation*10+i+1) {
				t.Errorf("%s: %d", id, got)
			}
		}
	}
	info, err := os.Stat(filepath.Join(path, "marks"))
	if err != nil || info.Size() > 6*24 {
		t.Errorf("five containers at a time take %d bytes of marks (%v)", info.Size(), err)
	}
}

// TestDamage is survived by what is not damaged.
func TestDamage(t *testing.T) {
	path := t.TempDir()
	dir := open(t, path)
	must(t, dir.Save(ledger.Record{Container: "good"}))
	for name, text := range map[string]string{
		"empty.json":    "",
		"half.json":     `{"Slot":1,"Container":"ha`,
		"other.json":    `{"Slot":1,"Container":"good"}`,
		"minus.json":    `{"Slot":-1,"Container":"minus"}`,
		"far.json":      `{"Slot":99999999999,"Container":"far"}`,
		"array.json":    `[1,2]`,
		"temp.json.new": `{"Slot":1,"Container":"temp"}`,
	} {
		must(t, os.WriteFile(filepath.Join(path, name), []byte(text), 0o600))
	}
	records, err := dir.reopen()
	if err == nil || len(records) != 1 || records[0].Container != "good" {
		t.Fatalf("Load = %+v, %v", records, err)
	}
	for _, name := range []string{"empty", "half", "other", "minus", "far", "array", "temp"} {
		if !strings.Contains(err.Error(), name+".json") {
			t.Errorf("the error does not name %s: %v", name, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(path, "*")); len(left) != 2 {
		t.Errorf("left: %q", left)
	}
	if got := dir.reload(); len(got) != 1 {
		t.Errorf("a second time: %+v", got)
	}
}

func TestNamesStayInTheDirectory(t *testing.T) {
	dir := open(t, filepath.Join(t.TempDir(), "a"))
	for _, id := range []whisk.ContainerID{"", ".", "..", "../x", "a/b", "a\x00b", "/etc/passwd"} {
		if err := dir.Save(ledger.Record{Container: id}); whisk.KindOf(err) != whisk.Invalid {
			t.Errorf("Save of %q = %v", id, err)
		}
	}
}

func TestOpenOfAFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(path, nil, 0o600))
	if _, err := ledger.Open(path); err == nil {
		t.Error("a file was opened as a directory")
	}
}

// TestManyAtOnce works on different containers side by side.
func TestManyAtOnce(t *testing.T) {
	path := t.TempDir()
	dir := open(t, path)
	var workers sync.WaitGroup
	var mu sync.Mutex
	want := map[whisk.ContainerID]ledger.Marks{}
	for worker := range 8 {
		workers.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(worker), 1))
			for i := range 50 {
				id := whisk.ContainerID(fmt.Sprintf("w%d_%d", worker, i))
				marks := ledger.Marks{Ended: [2]uint64{rng.Uint64(), rng.Uint64()}, Frozen: rng.Uint64()}
				err := errors.Join(
					dir.Save(ledger.Record{Container: id}),
					dir.Mark(id, ledger.EndedStdout, marks.Ended[0]),
					dir.Mark(id, ledger.EndedStderr, marks.Ended[1]),
					dir.Mark(id, ledger.Frozen, marks.Frozen),
				)
				if err != nil {
					t.Error(err)
					return
				}
				if rng.IntN(2) == 0 {
					if err := dir.Delete(id); err != nil {
						t.Error(err)
					}
					continue
				}
				mu.Lock()
				want[id] = marks
				mu.Unlock()
			}
		})
	}
	workers.Wait()
	got := dir.reload()
	if len(got) != len(want) {
		t.Errorf("%d records, want %d", len(got), len(want))
	}
	for id, marks := range want {
		if got[id].Marks != marks {
			t.Errorf("%s: %+v, want %+v", id, got[id].Marks, marks)
		}
	}
}

func BenchmarkMark(b *testing.B) {
	dir, err := ledger.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer dir.Close()
	if err := dir.Save(ledger.Record{Container: "c"}); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := dir.Mark("c", ledger.EndedStdout, 1); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSave(b *testing.B) {
	dir, err := ledger.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	defer dir.Close()
	for b.Loop() {
		if err := dir.Save(ledger.Record{Container: "c", Lessee: "a", Tenures: []ledger.Tenure{{"a", 1, 2}}}); err != nil {
			b.Fatal(err)
		}
	}
}
