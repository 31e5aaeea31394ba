// SPDX-License-Identifier: Apache-2.0

package output_test

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/agent/output"
	"github.com/whirl-faas/whirl/whisk"
)

const sentinel = whisk.LogSentinel + "\n"

// container plays what writes into a recorder's pipes.
type container struct {
	*output.Recorder
	stdout, stderr *io.PipeWriter
}

func record(t testing.TB, change func(*output.Config)) *container {
	config := output.Default()
	if change != nil {
		change(&config)
	}
	if err := config.Validate(); err != nil {
		t.Fatal(err)
	}
	outReader, outWriter := io.Pipe()
	errReader, errWriter := io.Pipe()
	c := &container{output.NewRecorder(config, outReader, errReader), outWriter, errWriter}
	ended := make(chan struct{})
	go func() { defer close(ended); c.Run() }()
	t.Cleanup(func() {
		c.end()
		<-ended
	})
	return c
}

// out and err return when the recorder has read the text, though it may not
// have noted it.
func (c *container) out(text string) { _, _ = io.WriteString(c.stdout, text) }
func (c *container) err(text string) { _, _ = io.WriteString(c.stderr, text) }

// write is out, and then err; in bubbles only.
func (c *container) write(stdout, stderr string) {
	c.out(stdout)
	synctest.Wait()
	c.err(stderr)
}

func (c *container) end() {
	_ = c.stdout.Close()
	_ = c.stderr.Close()
}

func request(run uint64) whisk.LogRequest {
	return whisk.LogRequest{Run: run, Limit: 10 * whisk.MB, Sentinels: true}
}

// texts cuts the times off, which must be well formed and in order.
func texts(t *testing.T, log output.Log) (texts []string) {
	t.Helper()
	if log.Summary.Lines != len(log.Lines) {
		t.Errorf("summary says %d lines of %d", log.Summary.Lines, len(log.Lines))
	}
	var last time.Time
	for _, line := range log.Lines {
		at, err := time.Parse(time.RFC3339Nano, strings.TrimSpace(line[:30]))
		if err != nil || at.Before(last) || line[30] != ' ' {
			t.Errorf("line %q after %v: %v", line, last, err)
		}
		last = at
		texts = append(texts, line[31:])
	}
	return texts
}

const (
	missing   = "stderr: There was an issue while collecting your logs. Data might be missing."
	developer = "stderr: The action did not initialize or run as expected. Log data might be missing."
	truncated = "stderr: Logs were truncated because the total bytes size exceeds the limit of %d bytes."
)

func TestCollect(t *testing.T) {
	tests := []struct {
		name   string
		write  func(c *container)
		change func(*whisk.LogRequest)
		want   []string
		takes  time.Duration
	}{
		{"nothing", func(c *container) { c.write(sentinel, sentinel) }, nil, nil, 0},
		{"both streams", func(c *container) {
			c.out("one\n")
			synctest.Wait()
			c.err("two\r\n")
			synctest.Wait()
			c.out("\n  three \n" + sentinel)
			c.err(sentinel)
		}, nil, []string{"stdout: one", "stderr: two", "stdout: ", "stdout:   three "}, 0},
		{"output of the init", func(c *container) {
			c.out("loading\n")
			c.write("run\n"+sentinel, sentinel)
		}, nil, []string{"stdout: loading", "stdout: run"}, 0},
		{"text beside the sentinel is lost", func(c *container) {
			c.write("kept\nlost "+sentinel, sentinel)
		}, nil, []string{"stdout: kept"}, 0},
		{"later output is not ours", func(c *container) {
			c.write("ours\n"+sentinel+"theirs\n", sentinel+"theirs\n")
		}, nil, []string{"stdout: ours"}, 0},
		{"bytes that are no text", func(c *container) {
			c.write("a\xff\xfeb\n"+sentinel, sentinel)
		}, nil, []string{"stdout: a\uFFFDb"}, 0},
		{"the sentinel is late", func(c *container) {
			c.write("x\n", sentinel)
			go func() {
				<-time.After(1500 * time.Millisecond)
				c.out("y\n")
				<-time.After(1500 * time.Millisecond)
				c.out(sentinel)
			}()
		}, nil, []string{"stdout: x", "stdout: y"}, 3 * time.Second},
		{"one sentinel is missing", func(c *container) {
			c.write("x\n"+sentinel, "")
		}, nil, []string{"stdout: x", missing}, 2 * time.Second},
		{"the container ended", func(c *container) {
			c.write("x\nhalf a line", "")
			c.end()
		}, nil, []string{"stdout: x", "stdout: half a line", missing}, 0},
		{"limit zero", func(c *container) { c.out("x\n") },
			func(r *whisk.LogRequest) { r.Limit = 0 }, nil, 0},
		{"limit zero after a failure", func(c *container) { c.out("x\n") },
			func(r *whisk.LogRequest) { r.Limit, r.Failed = 0, true }, nil, 0},
		{"beyond the limit", func(c *container) {
			c.write(strings.Repeat("0123456789\n", 20)+sentinel, sentinel)
		}, func(r *whisk.LogRequest) { r.Limit = 300 }, // 81 of docker's bytes a line
			[]string{"stdout: 0123456789", "stdout: 0123456789", "stdout: 0123456789", fmt.Sprintf(truncated, 300)}, 0},
		{"just the limit", func(c *container) {
			c.write("0123456789\n0123456789\n"+sentinel, sentinel)
		}, func(r *whisk.LogRequest) { r.Limit = 162 }, []string{"stdout: 0123456789", "stdout: 0123456789"}, 0},
		{"failed and silent", func(*container) {},
			func(r *whisk.LogRequest) { r.Failed = true }, []string{developer}, 100 * time.Millisecond},
		{"failed with words", func(c *container) { c.write("x\nhalf", "Error: y\n") },
			func(r *whisk.LogRequest) { r.Failed = true }, []string{"stdout: x", "stderr: Error: y", "stdout: half", developer}, 100 * time.Millisecond},
		{"failed with sentinels", func(c *container) { c.write("x\n"+sentinel, sentinel) },
			func(r *whisk.LogRequest) { r.Failed = true }, []string{"stdout: x", developer}, 0},
		{"failed and ended", func(c *container) { c.out("x\n"); c.end() },
			func(r *whisk.LogRequest) { r.Failed = true }, []string{"stdout: x", developer}, 0},
		{"no sentinels expected", func(c *container) { c.write("x\nhalf", "y\n") },
			func(r *whisk.LogRequest) { r.Sentinels = false }, []string{"stdout: x", "stderr: y", "stdout: half"}, 100 * time.Millisecond},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := record(t, nil)
				tt.write(c)
				synctest.Wait()
				req, began := request(1), time.Now()
				if tt.change != nil {
					tt.change(&req)
				}
				tried, ok := c.TryCollect(req)
				log := tried
				if !ok {
					log = c.Collect(t.Context(), req)
				}
				if got := texts(t, log); !slices.Equal(got, tt.want) {
					t.Errorf("got  %q\nwant %q", got, tt.want)
				}
				if took := time.Since(began); took != tt.takes || ok != (tt.takes == 0) {
					t.Errorf("took %v, at once %t, want %v", took, ok, tt.takes)
				}
				if want := slices.Contains(tt.want, missing); log.Summary.Missing != want {
					t.Errorf("Missing = %t", log.Summary.Missing)
				}
				again := c.Collect(t.Context(), whisk.LogRequest{Run: 1, Limit: whisk.MB, Sentinels: true})
				if len(again.Lines) > 0 && again.Lines[0][31:] != missing {
					t.Errorf("a second collection finds %q", again.Lines)
				}
			})
		})
	}
}

// TestRunsAreTakenInAnyOrder has several runs' output lie there at a time, as
// with concurrent activations.
func TestRunsAreTakenInAnyOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := record(t, nil)
		for run := range 5 {
			c.write(fmt.Sprintf("out %d\n", run+1)+sentinel, fmt.Sprintf("err %d\n", run+1)+sentinel)
		}
		synctest.Wait()
		for _, run := range []uint64{3, 1, 5, 2, 4} {
			want := []string{fmt.Sprintf("stdout: out %d", run), fmt.Sprintf("stderr: err %d", run)}
			if got := texts(t, c.Collect(t.Context(), request(run))); !slices.Equal(got, want) {
				t.Errorf("run %d: %q", run, got)
			}
		}
	})
}

// TestAMissingSentinelDoesNotShiftLaterRuns holds that each run's loss is its own.
func TestAMissingSentinelDoesNotShiftLaterRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := record(t, nil)
		c.write("1\n"+sentinel, "") // stderr's never comes
		c.Collect(t.Context(), request(1))
		for run := uint64(2); run < 5; run++ {
			c.write(fmt.Sprintf("%d\n", run)+sentinel, sentinel)
			synctest.Wait()
			log, ok := c.TryCollect(request(run))
			if want := []string{fmt.Sprintf("stdout: %d", run)}; !ok || !slices.Equal(texts(t, log), want) {
				t.Errorf("run %d: %t %q", run, ok, log.Lines)
			}
		}
	})
}

// TestATruncatedRunGoesOn cuts a run that is not over; the rest of it must not
// appear in the next one.
func TestATruncatedRunGoesOn(t *testing.T) {
	for limit, want := range map[whisk.Bytes][]string{0: nil, 100: {"stdout: second"}} { // 0 discards that as well
		synctest.Test(t, func(t *testing.T) {
			c := record(t, nil)
			c.out(strings.Repeat("first\n", 100))
			synctest.Wait()
			req := request(1)
			req.Limit = limit
			if _, ok := c.TryCollect(req); !ok {
				t.Error("a run beyond its limit was waited for")
			}
			c.write("rest of the first\n"+sentinel+"second\n"+sentinel, sentinel+sentinel)
			synctest.Wait()
			if got := texts(t, c.Collect(t.Context(), request(2))); !slices.Equal(got, want) {
				t.Errorf("limit %d: %q", limit, got)
			}
			c.write("third\n"+sentinel, sentinel)
			synctest.Wait()
			if got := texts(t, c.Collect(t.Context(), request(3))); !slices.Equal(got, []string{"stdout: third"}) {
				t.Errorf("limit %d, and then: %q", limit, got)
			}
		})
	}
}

func TestWithoutSentinelsEachTakesWhatIsThere(t *testing.T) {
	for _, limit := range []whisk.Bytes{0, 100, whisk.MB} {
		synctest.Test(t, func(t *testing.T) {
			c := record(t, nil)
			for run := range uint64(4) {
				c.out(strings.Repeat(fmt.Sprintf("run %d\n", run), 3))
				log := c.Collect(t.Context(), whisk.LogRequest{Run: run + 1, Limit: limit})
				want := map[whisk.Bytes]int{0: 0, 100: 2, whisk.MB: 3}[limit]
				if len(log.Lines) != want || want > 0 && !strings.HasSuffix(log.Lines[0], fmt.Sprintf("run %d", run)) {
					t.Errorf("limit %d, run %d: %q", limit, run, log.Lines)
				}
			}
		})
	}
}

// TestAnEndlessWriter never makes a container wait, and keeps within the bounds.
func TestAnEndlessWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := record(t, func(config *output.Config) { config.Held = 64 * whisk.KB })
		block := strings.Repeat(strings.Repeat("x", 99)+"\n", 1000)
		for range 100 {
			c.out(block) // 10 MB; blocks for ever if nobody reads
		}
		synctest.Wait()
		began := time.Now()
		log := c.Collect(t.Context(), request(1))
		if !log.Summary.Truncated || log.Summary.Bytes > 64*whisk.KB || log.Summary.Lines < 300 || time.Since(began) != 0 {
			t.Errorf("%+v after %v", log.Summary, time.Since(began))
		}
		c.write(sentinel+"next\n"+sentinel, sentinel+sentinel)
		synctest.Wait()
		if got := texts(t, c.Collect(t.Context(), request(2))); !slices.Equal(got, []string{"stdout: next"}) {
			t.Errorf("the next run: %q", got)
		}
	})
}

// TestABabblerIsNotWaitedForLong has a container that writes on and on, slowly.
func TestABabblerIsNotWaitedForLong(t *testing.T) {
	tests := map[string]struct {
		change func(*whisk.LogRequest)
		takes  time.Duration
	}{
		"with a small limit": {func(r *whisk.LogRequest) { r.Limit = whisk.MB }, 10 * time.Second},
		"with a large limit": {func(r *whisk.LogRequest) { r.Limit = 10 * whisk.MB }, 20 * time.Second},
		"after a failure":    {func(r *whisk.LogRequest) { r.Failed = true }, 2 * time.Second},
		"without sentinels":  {func(r *whisk.LogRequest) { r.Sentinels = false }, 2 * time.Second},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := record(t, nil)
				ctx, cancel := context.WithCancel(t.Context())
				babbles := make(chan struct{})
				go func() {
					defer close(babbles)
					for ctx.Err() == nil {
						c.out("bla\n")
						<-time.After(30 * time.Millisecond)
					}
				}()
				began, req := time.Now(), request(1)
				tt.change(&req)
				c.Collect(t.Context(), req)
				if took := time.Since(began); took != tt.takes {
					t.Errorf("took %v, want %v", took, tt.takes)
				}
				cancel()
				<-babbles
			})
		})
	}
}

func TestForgottenRunsMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := record(t, func(config *output.Config) { config.Held, config.Runs = 20*whisk.KB, 500 })
		for run := range 1000 {
			c.write(fmt.Sprintf("run %d\n", run+1)+sentinel, sentinel)
		}
		synctest.Wait()
		if got := texts(t, c.Collect(t.Context(), request(1000))); !slices.Equal(got, []string{"stdout: run 1000"}) {
			t.Errorf("the newest run: %q", got)
		}
		if got := texts(t, c.Collect(t.Context(), request(1))); got != nil {
			t.Errorf("the oldest run: %q", got)
		}
	})
}

func TestAbandon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := record(t, nil)
		c.out("x\n")
		if c.Wait(t.Context(), time.Second) {
			t.Error("ended before its pipes did")
		}
		c.Abandon()
		if !c.Wait(t.Context(), time.Second) {
			t.Error("does not end")
		}
	})
}

// BenchmarkSilentRun is the common case: two sentinels and nothing else.
func BenchmarkSilentRun(b *testing.B) {
	c := record(b, nil)
	line := []byte(sentinel)
	run := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		run++
		_, _ = c.stdout.Write(line)
		_, _ = c.stderr.Write(line)
		for {
			if _, ok := c.TryCollect(request(run)); ok {
				break
			}
		}
	}
}

// BenchmarkChattyRun has ten lines on each stream.
func BenchmarkChattyRun(b *testing.B) {
	c := record(b, nil)
	text := []byte(strings.Repeat("a line of an ordinary length, as actions write them\n", 10) + sentinel)
	run := uint64(0)
	b.ReportAllocs()
	for b.Loop() {
		run++
		_, _ = c.stdout.Write(text)
		_, _ = c.stderr.Write(text)
		if log := c.Collect(b.Context(), request(run)); len(log.Lines) != 20 {
			b.Fatalf("%d lines", len(log.Lines))
		}
	}
}

// TestMuted discards what nobody wants, without being asked for each run, and
// counts the runs all the same.
func TestMuted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := record(t, nil)
		print := func(run int) {
			c.write(fmt.Sprintf("run %d\n", run)+sentinel, sentinel)
			synctest.Wait()
		}
		print(1)
		if log, ok := c.TryCollect(whisk.LogRequest{Run: 1, Sentinels: true}); !ok || len(log.Lines) > 0 {
			t.Errorf("got %q, at once: %v", log.Lines, ok)
		}
		for run := 2; run < 2000; run++ {
			print(run)
		}
		left := c.Leave()
		if len(left.Runs) > 0 || !left.Muted || left.Ended != [2]uint64{1999, 1999} {
			t.Errorf("%d runs are held, and %v have ended", len(left.Runs), left.Ended)
		}
		c = successor(t, left)
		print(2000)
		if log, ok := c.TryCollect(request(2000)); !ok || len(log.Lines) > 0 {
			t.Errorf("of a run that was discarded: %q, at once: %v", log.Lines, ok)
		}
		print(2001)
		if log, ok := c.TryCollect(request(2001)); !ok || len(log.Lines) != 1 || !strings.Contains(log.Lines[0], "run 2001") {
			t.Errorf("when somebody wanted it again: %q, at once: %v", log.Lines, ok)
		}
	})
}
