// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// frames plays a run of two steps and returns what was written, frame by frame.
func frames(t *testing.T, terminal bool) []string {
	t.Helper()
	var out bytes.Buffer
	synctest.Test(t, func(*testing.T) {
		d := newDisplay(&out)
		d.terminal = terminal
		var loop sync.WaitGroup
		loop.Go(d.loop)
		d.plan(2)
		d.step("first %s", "round")
		d.answered.Add(100)
		time.Sleep(1250 * time.Millisecond)
		d.note("first result")
		d.step("second round")
		d.answered.Add(30)
		time.Sleep(500 * time.Millisecond)
		d.pending("counting")
		close(d.updates)
		loop.Wait()
	})
	if terminal {
		return strings.Split(out.String(), eraseLine)
	}
	return strings.SplitAfter(out.String(), "\n")
}

func checkFrames(t *testing.T, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d frames, want %d: %q", len(got), len(want), got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("frame %d: got %q, want %q", i, got[i], want[i])
		}
	}
}

func TestTerminalShowsALineThatChanges(t *testing.T) {
	clipped := func(line string) string { return clipOn + line + clipOff }
	first := clipped("[##########----------] 1/2  first round")
	checkFrames(t, frames(t, true), []string{
		"",
		first,
		first, // after half a second, with the first reading
		first, // after a second: no answer has come since
		"first result\n", clipped("[##########----------] 1/2  first round"),
		clipped("[####################] 2/2, about 1s left  second round"),
		clipped("[####################] 2/2, about 2s left, 60/s  second round"),
		clipped("[####################] 2/2, about 2s left, 60/s  counting"),
		"", // nothing is left of it
	})
}

func TestElsewhereEachStepIsALine(t *testing.T) {
	checkFrames(t, frames(t, false), []string{
		"[1/2] first round\n", "first result\n", "[2/2] second round\n", "[2/2] counting\n", "",
	})
}
