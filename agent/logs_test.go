// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/driver/fake"
	"github.com/whirl-faas/whirl/whisk"
)

// talks makes each run print its number.
func talks(s *setup) {
	s.driver.Script.Run = func(_ *rand.Rand, call fake.Call) fake.Answer {
		return fake.Answer{
			Stdout: fmt.Sprintf("out %d\n", call.N),
			Stderr: fmt.Sprintf("err %d\n", call.N),
		}
	}
}

func TestLogsOfManyRuns(t *testing.T) {
	inBubble(t, talks, func(n *node) {
		n.session()
		c := n.create("c", "ctl")
		ctl := n.controller("ctl")
		conn := n.connect(c)
		n.init(conn, "x")
		var seqs []uint64
		const runs = 50
		for run := range uint64(runs) {
			// The next run starts before the last one's log was collected.
			seqs = append(seqs, ctl.send(ctl.collect("c", run+1, nil)))
			if status := post(t, conn, "/run", `{"value":{}}`); status != http.StatusOK {
				t.Fatal(status)
			}
		}
		for i, seq := range seqs {
			reply := ctl.reply(seq)
			run := uint64(i + 1)
			got := n.texts(ctl, "c", run)
			slices.Sort(got)
			want := []string{fmt.Sprintf("stderr: err %d", run), fmt.Sprintf("stdout: out %d", run)}
			if !slices.Equal(got, want) || reply.Err != "" || reply.Logs.Lines != 2 || reply.Logs.Missing {
				t.Errorf("run %d: %q, %+v", run, got, reply)
			}
		}
	})
}

// TestSettledAfterTheFirstRun: the agent learns of the first run's end when its output is asked for.
func TestSettledAfterTheFirstRun(t *testing.T) {
	inBubble(t, talks, func(n *node) {
		settled := func() (when []time.Time) {
			for _, event := range n.driver.History() {
				if event.Kind == fake.Settled {
					when = append(when, event.At)
				}
			}
			return when
		}
		n.session()
		c := n.create("c", "ctl")
		ctl := n.controller("ctl")
		conn := n.connect(c)
		n.init(conn, "x")
		for run := range uint64(2) {
			if got := len(settled()); got != min(int(run), 1) {
				t.Errorf("before run %d it was told so %d times", run+1, got)
			}
			if status := post(t, conn, "/run", `{"value":{}}`); status != http.StatusOK {
				t.Fatal(status)
			}
			ctl.call(ctl.collect("c", run+1, nil))
		}
		if got := settled(); len(got) != 1 {
			t.Errorf("it was told so at %v, want once", got)
		}
	})
}

// TestLogsOfInterleavedRuns has runs at once in one container: output cannot be
// told apart then, but none may get lost or appear twice.
func TestLogsOfInterleavedRuns(t *testing.T) {
	inBubble(t, func(s *setup) {
		s.driver.Concurrency = 8
		s.driver.Script.Run = func(rng *rand.Rand, call fake.Call) fake.Answer {
			return fake.Answer{Delay: time.Duration(rng.IntN(1000)) * time.Millisecond, Stdout: fmt.Sprintf("run %d\n", call.N)}
		}
	}, func(n *node) {
		n.session()
		c := n.create("c", "ctl")
		ctl := n.controller("ctl")
		n.init(n.connect(c), "x")
		var all []string
		for round := range uint64(5) {
			done := make(chan struct{})
			for range 8 {
				conn := n.connect(c)
				go func() { post(t, conn, "/run", `{"value":{}}`); done <- struct{}{} }()
			}
			for i := range uint64(8) {
				<-done
				run := round*8 + i + 1
				if err := ctl.call(ctl.collect("c", run, nil)).Error(); err != nil {
					t.Error(err)
				}
				all = append(all, n.texts(ctl, "c", run)...)
			}
		}
		slices.Sort(all)
		if got := len(slices.Compact(all)); got != 40 || len(all) != 40 {
			t.Errorf("%d lines, %d different ones, of 40", len(all), got)
		}
	})
}

// TestLogsFollowTheLease moves a container to another controller, which counts
// its runs anew, and has the former one's last request come late.
func TestLogsFollowTheLease(t *testing.T) {
	inBubble(t, talks, func(n *node) {
		n.session()
		c := n.create("c", "a")
		a, b := n.controller("a"), n.controller("b")
		conn := n.connect(c)
		n.init(conn, "x")
		run := func() { post(t, conn, "/run", `{"value":{}}`) }
		run()
		a.call(a.collect("c", 1, nil))
		run()
		// Not collected yet, and already somebody else's.
		n.command(whisk.GrantLease{Epoch: 1, Container: "c", From: "a", To: "b"})
		expect[whisk.LeaseGranted](n)
		run()
		for _, step := range []struct {
			ctl  *controller
			run  uint64
			want int
		}{{b, 1, 3}, {a, 2, 2}} {
			reply := step.ctl.call(step.ctl.collect("c", step.run, nil))
			want := fmt.Sprintf("stdout: out %d", step.want)
			if got := n.texts(step.ctl, "c", step.run); !slices.Contains(got, want) || len(got) != 2 || reply.Err != "" {
				t.Errorf("%s's run %d: %q, %+v", step.ctl.id, step.run, got, reply)
			}
		}
	})
}

func TestLogsOfARemovedContainer(t *testing.T) {
	inBubble(t, talks, func(n *node) {
		n.session()
		c := n.create("c", "ctl")
		ctl := n.controller("ctl")
		conn := n.connect(c)
		n.init(conn, "x")
		post(t, conn, "/run", `{"value":{}}`)
		n.command(whisk.RemoveContainer{Epoch: 1, Container: "c", Lessee: "ctl"})
		expect[whisk.ContainerGone](n)
		if reply := ctl.call(ctl.collect("c", 1, nil)); reply.Err != "" || len(n.texts(ctl, "c", 1)) != 2 {
			t.Errorf("%+v %q", reply, n.texts(ctl, "c", 1))
		}
	})
}

func TestLogsOfACrash(t *testing.T) {
	inBubble(t, func(s *setup) {
		s.driver.Script.Run = func(*rand.Rand, fake.Call) fake.Answer {
			return fake.Answer{Stderr: "panic\n", Crash: &whisk.Exit{Code: 2}}
		}
	}, func(n *node) {
		n.session()
		c := n.create("c", "ctl")
		ctl := n.controller("ctl")
		conn := n.connect(c)
		n.init(conn, "x")
		post(t, conn, "/run", `{"value":{}}`)
		reply := ctl.call(ctl.collect("c", 1, func(r *whisk.LogRequest) { r.Failed = true }))
		got := n.texts(ctl, "c", 1)
		if len(got) != 2 || got[0] != "stderr: panic" || !strings.Contains(got[1], "did not initialize or run") || reply.Logs.Missing {
			t.Errorf("%q %+v", got, reply)
		}
		expect[whisk.ContainerGone](n)
	})
}

// TestAnEndlessLog has a run that prints until its pipe takes no more, which
// must never be.
func TestAnEndlessLog(t *testing.T) {
	inBubble(t, func(s *setup) {
		s.driver.Script.Run = func(*rand.Rand, fake.Call) fake.Answer {
			return fake.Answer{Stdout: strings.Repeat(strings.Repeat("x", 999)+"\n", 30_000)}
		}
	}, func(n *node) {
		n.session()
		c := n.create("c", "ctl")
		ctl := n.controller("ctl")
		conn := n.connect(c)
		n.init(conn, "x")
		for run := range uint64(2) {
			post(t, conn, "/run", `{"value":{}}`)
			reply := ctl.call(ctl.collect("c", run+1, func(r *whisk.LogRequest) { r.Limit = whisk.MB }))
			if !reply.Logs.Truncated || reply.Logs.Missing || reply.Logs.Bytes > whisk.MB || reply.Logs.Bytes < whisk.MB*9/10 {
				t.Errorf("run %d: %+v", run, reply)
			}
		}
	})
}

// TestAStoreThatIsDown delays and then fails collections, but no container.
func TestAStoreThatIsDown(t *testing.T) {
	inBubble(t, func(s *setup) {
		talks(s)
		s.logs.fail = func() error { return whisk.Errorf(whisk.Unavailable, "disk full") }
	}, func(n *node) {
		n.session()
		c := n.create("c", "ctl")
		ctl := n.controller("ctl")
		conn := n.connect(c)
		n.init(conn, "x")
		began := time.Now()
		var seqs []uint64
		for run := range uint64(20) {
			post(t, conn, "/run", `{"value":{}}`)
			seqs = append(seqs, ctl.send(ctl.collect("c", run+1, nil)))
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("the container waited for %v", took)
		}
		sleepUntil(time.Now().Add(5 * time.Second))
		if err := ctl.do(whisk.Renew, ""); err != nil {
			t.Error(err)
		}
		for _, seq := range seqs {
			if reply := ctl.reply(seq); whisk.KindOf(reply.Error()) != whisk.Unavailable || !strings.Contains(reply.Err, "disk full") {
				t.Errorf("%+v", reply)
			}
		}
		if err := ctl.do(whisk.Resume, "c"); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

// TestASlowCollectionLetsOthersPass has the first request wait for output.
func TestASlowCollectionLetsOthersPass(t *testing.T) {
	inBubble(t, func(s *setup) {
		s.driver.Script.Run = func(*rand.Rand, fake.Call) fake.Answer { return fake.Answer{Late: time.Second} }
	}, func(n *node) {
		n.session()
		c := n.create("c", "ctl")
		ctl := n.controller("ctl")
		conn := n.connect(c)
		n.init(conn, "x")
		post(t, conn, "/run", `{"value":{}}`)
		began := time.Now()
		slow := ctl.send(ctl.collect("c", 1, nil))
		if err := ctl.do(whisk.Resume, "c"); err != nil || time.Since(began) != 0 {
			t.Errorf("a request behind it took %v: %v", time.Since(began), err)
		}
		if reply := ctl.reply(slow); reply.Err != "" || time.Since(began) != time.Second {
			t.Errorf("%+v after %v", reply, time.Since(began))
		}
	})
}

func TestASilentRunStoresNothing(t *testing.T) {
	inBubble(t, nil, func(n *node) {
		n.session()
		c := n.create("c", "ctl")
		ctl := n.controller("ctl")
		conn := n.connect(c)
		n.init(conn, "x")
		post(t, conn, "/run", `{"value":{}}`)
		synctest.Wait()
		if reply := ctl.call(ctl.collect("c", 1, nil)); reply.Err != "" || reply.Logs != (whisk.LogSummary{}) {
			t.Errorf("%+v", reply)
		}
		if len(n.logs.batches) != 0 {
			t.Errorf("batches %v", n.logs.batches)
		}
		if err := ctl.call(ctl.collect("c", 0, nil)).Error(); whisk.KindOf(err) != whisk.Invalid {
			t.Errorf("run 0: %v", err)
		}
	})
}

// TestALateSentinelAtTheHandover has the former lessee's last output come when
// the container is somebody else's already; that the run was collected tells
// whose it is.
func TestALateSentinelAtTheHandover(t *testing.T) {
	inBubble(t, func(s *setup) {
		s.driver.Script.Run = func(_ *rand.Rand, call fake.Call) fake.Answer {
			answer := fake.Answer{Stdout: fmt.Sprintf("out %d\n", call.N)}
			if call.N == 1 {
				answer.Late = 50 * time.Millisecond
			}
			return answer
		}
	}, func(n *node) {
		n.session()
		c := n.create("c", "a")
		a, b := n.controller("a"), n.controller("b")
		conn := n.connect(c)
		n.init(conn, "x")
		post(t, conn, "/run", `{"value":{}}`)
		n.command(whisk.GrantLease{Epoch: 1, Container: "c", From: "a", To: "b"})
		expect[whisk.LeaseGranted](n)
		seq := a.send(a.collect("c", 1, nil))
		if reply := a.reply(seq); reply.Err != "" || reply.Logs.Missing {
			t.Errorf("%+v", reply)
		}
		post(t, conn, "/run", `{"value":{}}`)
		b.call(b.collect("c", 1, nil))
		for _, ctl := range []*controller{a, b} {
			want := map[*controller]string{a: "stdout: out 1", b: "stdout: out 2"}[ctl]
			if got := n.texts(ctl, "c", 1); !slices.Equal(got, []string{want}) {
				t.Errorf("%s: %q", ctl.id, got)
			}
		}
	})
}

// TestShutdownStoresWhatIsUnderWay has the log store lag behind.
func TestShutdownStoresWhatIsUnderWay(t *testing.T) {
	inBubble(t, func(s *setup) {
		talks(s)
		s.agent.Logs.Memory = 1 // one entry at a time
		s.logs.fail = func() error { <-time.After(time.Second); return nil }
	}, func(n *node) {
		n.session()
		c := n.create("c", "ctl")
		ctl := n.controller("ctl")
		conn := n.connect(c)
		n.init(conn, "x")
		const runs = 5
		var seqs []uint64
		for run := range uint64(runs) {
			post(t, conn, "/run", `{"value":{}}`)
			seqs = append(seqs, ctl.send(ctl.collect("c", run+1, nil)))
		}
		<-time.After(time.Millisecond)
		n.stop()
		for i, seq := range seqs {
			if reply := ctl.reply(seq); reply.Err != "" || len(n.texts(ctl, "c", uint64(i+1))) != 2 {
				t.Errorf("run %d: %+v", i+1, reply)
			}
		}
	})
}
