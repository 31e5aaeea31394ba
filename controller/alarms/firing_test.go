// SPDX-License-Identifier: Apache-2.0

package alarms_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/whisk"
)

// bubble runs a test where time is simulated. It begins at midnight of 2000-01-01, UTC.
func bubble(t *testing.T, test func(t *testing.T)) { synctest.Test(t, test) }

func TestACronAlarmFires(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t)
		m := c.join("a")
		defer m.stop()
		begin := time.Now()
		m.tell(t, "alarm", "CREATE", map[string]any{"cron": "*/2 * * * *", "trigger_payload": map[string]any{"n": 1}})
		time.Sleep(7 * time.Minute)
		runs := c.ran()
		if len(runs) != 3 || !runs[0].at.Equal(begin.Add(2*time.Minute)) || runs[0].value != `{"__ow_headers":{},"n":1}` {
			t.Errorf("ran %v", runs)
		}
		m.tell(t, "alarm", "UPDATE", map[string]any{"cron": "* * * * *", "trigger_payload": "text"})
		time.Sleep(2 * time.Minute)
		if runs := c.ran(); len(runs) != 2 || runs[0].value != `{"__ow_headers":{},"payload":"text"}` {
			t.Errorf("after an update ran %v", runs)
		}
		m.tell(t, "alarm", "DELETE", nil)
		time.Sleep(10 * time.Minute)
		c.wantRuns(begin)
		if got := m.ask(t, "alarm", `{"lifecycleEvent":"READ","triggerName":"/_/tick"}`); got != `{"error":{"error":"could not find trigger /guest/tick in the database"}}` {
			t.Errorf("after the deletion: %s", got)
		}
	})
}

func TestAlarmsEnd(t *testing.T) {
	const minute = time.Minute
	for _, row := range []struct {
		what, feed string
		given      func(now time.Time) map[string]any
		want       []time.Duration
		reason     string
	}{
		{"cron with a stop date", "alarm", func(now time.Time) map[string]any {
			return map[string]any{"cron": "* * * * *", "stopDate": now.Add(150 * time.Second).UnixMilli()}
		}, []time.Duration{minute, 2 * minute}, "Automatically disabled after firing last scheduled cron trigger"},
		{"cron with a start date", "alarm", func(now time.Time) map[string]any {
			return map[string]any{"cron": "* * * * *", "startDate": now.Add(5 * minute), "stopDate": now.Add(6 * minute)}
		}, []time.Duration{5 * minute, 6 * minute}, "Automatically disabled after firing last scheduled cron trigger"},
		{"cron with a limit", "alarm", func(now time.Time) map[string]any {
			return map[string]any{"cron": "* * * * *", "maxTriggers": 2}
		}, []time.Duration{minute, 2 * minute}, "Automatically disabled after reaching max triggers"},
		{"interval", "interval", func(now time.Time) map[string]any {
			return map[string]any{"minutes": "3", "stopDate": now.Add(7 * minute)}
		}, []time.Duration{30 * time.Second, 210 * time.Second, 390 * time.Second}, "Automatically disabled after firing last scheduled interval trigger"},
		{"once", "once", func(now time.Time) map[string]any {
			return map[string]any{"date": now.Add(90 * time.Second), "deleteAfterFire": "false"}
		}, []time.Duration{90 * time.Second}, "Automatically disabled after firing once"},
	} {
		t.Run(row.what, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := newCluster(t)
				m := c.join("a")
				defer m.stop()
				begin := time.Now()
				m.tell(t, row.feed, "CREATE", row.given(begin))
				time.Sleep(20 * time.Minute)
				c.wantRuns(begin, row.want...)
				m.wantOff(t, row.reason)
			})
		})
	}
}

// Three controllers share a store, and each time of an alarm is fired by one of them. It
// goes on when they leave one after the other.
func TestOneOfManyFires(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t)
		members := []*member{c.join("a"), c.join("b"), c.join("c")}
		begin := time.Now()
		members[0].tell(t, "alarm", "CREATE", map[string]any{"cron": "*/10 * * * * *"})
		var want []time.Duration
		for _, m := range members {
			time.Sleep(time.Minute + 5*time.Second)
			m.stop()
		}
		for at := 10 * time.Second; at <= 195*time.Second; at += 10 * time.Second {
			want = append(want, at)
		}
		c.wantRuns(begin, want...)
		if n := len(c.store.Queued()); n != 0 {
			t.Errorf("%d entries are left in the queue", n)
		}
		// A record of each firing, of each run, and of the call that made the alarm.
		if n := len(c.store.Records()); n != 2*len(want)+1 {
			t.Errorf("%d records of %d firings", n, len(want))
		}
	})
}

func TestWhatIsMissedWhileNothingRuns(t *testing.T) {
	for _, row := range []struct {
		what, feed string
		given      func(now time.Time) map[string]any
		away       time.Duration
		want       []time.Duration
	}{
		{"a short while", "alarm", func(time.Time) map[string]any { return map[string]any{"cron": "*/5 * * * *"} },
			5*time.Minute + 30*time.Second, []time.Duration{5*time.Minute + 30*time.Second, 10 * time.Minute}},
		{"a longer while", "alarm", func(time.Time) map[string]any { return map[string]any{"cron": "*/5 * * * *"} },
			8 * time.Minute, []time.Duration{10 * time.Minute}},
		{"many times", "alarm", func(time.Time) map[string]any { return map[string]any{"cron": "*/20 * * * * *"} },
			10*time.Minute + 50*time.Second, []time.Duration{11 * time.Minute, 11*time.Minute + 20*time.Second, 11*time.Minute + 40*time.Second}},
		{"an interval", "interval", func(now time.Time) map[string]any {
			return map[string]any{"minutes": 4, "startDate": now.Add(time.Minute).UnixMilli()}
		}, 8 * time.Minute, []time.Duration{9 * time.Minute}},
		{"once, however late", "once", func(now time.Time) map[string]any { return map[string]any{"date": now.Add(time.Minute).UnixMilli()} },
			9 * time.Minute, []time.Duration{9 * time.Minute}},
	} {
		t.Run(row.what, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := newCluster(t)
				first := c.join("first")
				begin := time.Now()
				first.tell(t, row.feed, "CREATE", row.given(begin))
				first.stop()
				time.Sleep(time.Until(begin.Add(row.away)))
				second := c.join("second")
				defer second.stop()
				time.Sleep(time.Until(begin.Add(max(row.away+time.Minute, 10*time.Minute+30*time.Second))))
				c.wantRuns(begin, row.want...)
			})
		})
	}
}

// The process that fires dies before or after each write. Whatever the moment, the rule's
// action runs once for the time of the alarm, or its record says that it was lost.
func TestKilledWhileFiring(t *testing.T) {
	for _, step := range []string{"SetAlarm", "Claim", "PutActivations", "Complete"} {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s done=%v", step, after), func(t *testing.T) {
				bubble(t, func(t *testing.T) { killedWhileFiring(t, step, after) })
			})
		}
	}
}

func killedWhileFiring(t *testing.T, step string, after bool) {
	c := newCluster(t)
	first := c.join("first")
	begin := time.Now()
	first.tell(t, "once", "CREATE", map[string]any{"date": begin.Add(time.Minute).UnixMilli()})
	time.Sleep(30 * time.Second) // the records of the call are written
	var killed atomic.Bool
	first.store.SetFault(func(op string, done bool) error {
		if killed.Load() || op == step && done == after {
			killed.Store(true)
			return whisk.Errorf(whisk.Unavailable, "the process was killed")
		}
		return nil
	})
	time.Sleep(time.Minute)
	first.stop()
	if !killed.Load() {
		t.Fatalf("%s was not asked for", step)
	}
	second := c.join("second")
	time.Sleep(time.Minute)
	second.wantOff(t, "Automatically disabled after firing once")
	second.stop()
	lost, triggers := 0, 0
	for _, record := range c.store.Records() {
		switch {
		case record.Name == "tick":
			triggers++
		case record.Name == "act" && record.Response.Status == whisk.WhiskError:
			lost++
		}
	}
	runs := len(c.ran())
	if triggers != 1 || runs > 1 || runs+lost == 0 || step == "SetAlarm" && runs != 1 {
		t.Errorf("%d firings have records, %d runs, %d lost", triggers, runs, lost)
	}
	if n := len(c.store.Queued()); n != 0 {
		t.Errorf("%d entries are left in the queue", n)
	}
}

func TestWhatGoesAfterTheFiring(t *testing.T) {
	for given, want := range map[any][2]bool{false: {true, true}, "TRUE": {false, true}, "rules": {false, false}} {
		t.Run(fmt.Sprint(given), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := newCluster(t)
				m := c.join("a")
				defer m.stop()
				other := c.join("b")
				defer other.stop()
				begin := time.Now()
				m.tell(t, "once", "CREATE", map[string]any{"date": begin.Add(time.Minute).UnixMilli(), "deleteAfterFire": given})
				time.Sleep(2 * time.Minute)
				c.wantRuns(begin, time.Minute)
				_, err := m.Trigger(t.Context(), guest, tick)
				_, ruleErr := m.Rule(t.Context(), guest, whisk.FullName{Namespace: "guest", Name: "rule"})
				if got := [2]bool{err == nil, ruleErr == nil}; got != want {
					t.Errorf("left are trigger and rule: %v, want %v (%v, %v)", got, want, err, ruleErr)
				}
				_, err = c.store.Alarm(t.Context(), tick)
				if left := err == nil; left != want[0] {
					t.Errorf("the alarm is left: %v", left)
				}
			})
		})
	}
}

func TestATriggerThatIsGoneTurnsItsAlarmOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t)
		m := c.join("a")
		defer m.stop()
		m.tell(t, "alarm", "CREATE", map[string]any{"cron": "* * * * *"})
		_, err := m.DeleteTrigger(t.Context(), guest, tick)
		must(t, err)
		time.Sleep(90 * time.Second)
		c.makeTrigger(m) // to be allowed to look
		m.wantOff(t, "Trigger automatically disabled: Received a 404 status code when firing the trigger")
		time.Sleep(10 * time.Minute)
		if runs := c.ran(); len(runs) != 0 {
			t.Errorf("ran %v", runs)
		}
	})
}

func TestAThrottledAlarmTriesAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t)
		m := c.join("a", func(config *controller.Config) { config.Limits.FiresPerMinute = 0 })
		begin := time.Now()
		m.tell(t, "alarm", "CREATE", map[string]any{"cron": "* * * * *"})
		time.Sleep(time.Minute + 20*time.Second) // tries after 0, 1, 5, 14 s
		m.stop()
		c.wantRuns(begin)
		free := c.join("b")
		defer free.stop()
		time.Sleep(time.Until(begin.Add(2*time.Minute + 30*time.Second)))
		c.wantRuns(begin, 90*time.Second, 2*time.Minute) // the fourth wait is 16 s
	})
}

func TestAnAlarmThatIsThrottledForLongIsTurnedOff(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t)
		m := c.join("a", func(config *controller.Config) { config.Limits.FiresPerMinute = 0 })
		defer m.stop()
		m.tell(t, "alarm", "CREATE", map[string]any{"cron": "* * * * *"})
		time.Sleep(10 * time.Minute)
		m.wantOff(t, "Automatically disabled after continuously receiving a 429 status code when firing the trigger")
	})
}

func TestAnOutageOfTheStoreIsWaitedFor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t)
		m := c.join("a")
		defer m.stop()
		begin := time.Now()
		m.tell(t, "alarm", "CREATE", map[string]any{"cron": "* * * * *"})
		time.Sleep(30 * time.Second)
		m.store.SetFault(func(string, bool) error { return whisk.Errorf(whisk.Unavailable, "the disk is full") })
		time.Sleep(45 * time.Second)
		m.store.SetFault(nil)
		time.Sleep(30 * time.Second)
		runs := c.ran()
		if len(runs) != 1 || runs[0].at.Sub(begin) < 75*time.Second || runs[0].at.Sub(begin) > 77*time.Second {
			t.Errorf("ran %v after %v", runs, begin)
		}
	})
}

// The store fails just when the trigger is to be deleted. It is deleted later, and fired once.
func TestTheDeletionAfterTheFiringIsTriedAgain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t)
		m := c.join("a")
		defer m.stop()
		begin := time.Now()
		m.tell(t, "once", "CREATE", map[string]any{"date": begin.Add(time.Minute).UnixMilli(), "deleteAfterFire": "rules"})
		var failures atomic.Int32
		m.store.SetFault(func(op string, done bool) error {
			if op == "Commit" && !done && failures.Add(1) <= 3 {
				return whisk.Errorf(whisk.Unavailable, "the disk is full")
			}
			return nil
		})
		time.Sleep(2 * time.Minute)
		c.wantRuns(begin, time.Minute)
		if _, err := m.Trigger(t.Context(), guest, tick); whisk.KindOf(err) != whisk.NotFound || failures.Load() < 4 {
			t.Errorf("the trigger: %v, after %d tries to write", err, failures.Load())
		}
		if _, err := c.store.Alarm(t.Context(), tick); whisk.KindOf(err) != whisk.NotFound {
			t.Errorf("the alarm: %v", err)
		}
	})
}
