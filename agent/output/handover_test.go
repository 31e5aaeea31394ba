// SPDX-License-Identifier: Apache-2.0

package output_test

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/whirl-faas/whirl/agent/output"
	"github.com/whirl-faas/whirl/whisk"
)

// successor is a recorder that goes on with what another one left.
func successor(t *testing.T, left *output.Leftover) *container {
	t.Helper()
	text, err := json.Marshal(left)
	if err != nil {
		t.Fatal(err)
	}
	var read output.Leftover
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	return resume(t, func(r *output.Recorder) { r.Continue(&read) })
}

func resume(t *testing.T, prepare func(*output.Recorder)) *container {
	outReader, outWriter := io.Pipe()
	errReader, errWriter := io.Pipe()
	c := &container{output.NewRecorder(output.Default(), outReader, errReader), outWriter, errWriter}
	prepare(c.Recorder)
	ended := make(chan struct{})
	go func() { defer close(ended); c.Run() }()
	t.Cleanup(func() {
		c.end()
		<-ended
	})
	return c
}

// TestHandover cuts a stream at random places, with another recorder after each
// cut: what is collected is what one recorder alone would have collected.
func TestHandover(t *testing.T) {
	const runs = 6
	var stream strings.Builder
	for run := range runs {
		for line := range run {
			fmt.Fprintf(&stream, "run %d line %d grüße %s\r\n", run+1, line, strings.Repeat("x", 40*run))
		}
		stream.WriteString(sentinel)
	}
	text := stream.String()
	want := func(run uint64) (lines []string) {
		for line := range run - 1 {
			lines = append(lines, fmt.Sprintf("stdout: run %d line %d grüße %s", run, line, strings.Repeat("x", 40*int(run-1))))
		}
		return lines
	}
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			cuts := []int{0, len(text)}
			for range 1 + rng.IntN(5) {
				cuts = append(cuts, rng.IntN(len(text)))
			}
			slices.Sort(cuts)
			c := record(t, nil)
			c.err(strings.Repeat(sentinel, runs))
			next := uint64(1)
			for i := 1; i < len(cuts); i++ {
				c.out(text[cuts[i-1]:cuts[i]])
				synctest.Wait()
				for ; next <= runs; next++ { // some of what is complete is collected before the handover
					last := i == len(cuts)-1
					if !last && rng.IntN(3) == 0 {
						break // it is the next recorder's to hand out
					}
					log, ok := c.TryCollect(request(next))
					if !ok {
						break
					}
					if got := texts(t, log); !slices.Equal(got, want(next)) || log.Summary.Missing {
						t.Fatalf("seed %d: run %d: %q, want %q", seed, next, got, want(next))
					}
				}
				if i < len(cuts)-1 {
					c = successor(t, c.Leave())
				}
			}
			if next <= runs {
				t.Errorf("seed %d: run %d is not complete at the end", seed, next)
			}
		})
	}
}

// TestAfterASuddenEnd counts on, and says of what was lost that it may be.
func TestAfterASuddenEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := resume(t, func(r *output.Recorder) { r.ContinueAfter([2]uint64{7, 6}) })
		c.write("eight\n"+sentinel, sentinel+sentinel) // stderr still lacked the end of run 7
		synctest.Wait()
		log, ok := c.TryCollect(request(7))
		if got := texts(t, log); !ok || !log.Summary.Missing || len(got) != 1 || !strings.Contains(got[0], "might be missing") {
			t.Errorf("run 7: %q, %+v", got, log.Summary)
		}
		log, ok = c.TryCollect(request(8))
		if got := texts(t, log); !ok || log.Summary.Missing || !slices.Equal(got, []string{"stdout: eight"}) {
			t.Errorf("run 8: %q, %+v", got, log.Summary)
		}
		if log, ok = c.TryCollect(whisk.LogRequest{Run: 5, Sentinels: true}); !ok || len(log.Lines) != 0 {
			t.Errorf("a run whose output nobody wants: %+v", log)
		}
	})
}

// TestTellEnded hears of every end, also of those that a collection decided.
func TestTellEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		c := resume(t, func(r *output.Recorder) {
			r.TellEnded(func(stream int, run uint64) { told = append(told, fmt.Sprint(stream, ":", run)) })
		})
		c.write("text\n"+sentinel+sentinel, sentinel)
		synctest.Wait()
		c.Collect(t.Context(), request(3)) // nothing comes
		if want := []string{"0:2", "1:1", "0:3", "1:3"}; !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
	})
}
