// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// AlarmStore is what the suite of [Alarms] tests.
type AlarmStore interface {
	whisk.Alarms
	whisk.Queue
	io.Closer
}

// Alarms tests a [whisk.Alarms].
func Alarms[S AlarmStore](t *testing.T, opener func(t *testing.T, place string) S) {
	open := Opener[S](opener)
	t.Run("life of an alarm", func(t *testing.T) { testAlarmLife(t, open.fresh(t)) })
	t.Run("order", func(t *testing.T) { testAlarmOrder(t, open.fresh(t)) })
	t.Run("with entries of the queue", func(t *testing.T) { testAlarmEntries(t, open.fresh(t)) })
	t.Run("one of many wins", func(t *testing.T) { testOneAlarmWins(t, open.fresh(t)) })
	t.Run("reopen", func(t *testing.T) { testAlarmReopen(t, open) })
}

// alarmOf returns an alarm that is due n milliseconds after a certain time.
func alarmOf(name string, n int) whisk.Alarm {
	return whisk.Alarm{
		Trigger: whisk.FullName{Namespace: "guest", Name: name},
		At:      atMilli(n),
		Body:    json.RawMessage(fmt.Sprintf(`{"n":%d}`, n)),
	}
}

func wantAlarm(t *testing.T, s whisk.Alarms, want whisk.Alarm) {
	t.Helper()
	got, err := s.Alarm(t.Context(), want.Trigger)
	must(t, err)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the alarm is %+v, want %+v", got, want)
	}
}

func testAlarmLife[S AlarmStore](t *testing.T, s S) {
	ctx, alarm := t.Context(), alarmOf("t", 1)
	_, err := s.Alarm(ctx, alarm.Trigger)
	mustBe(t, err, whisk.NotFound)
	mustBe(t, s.DeleteAlarm(ctx, alarm.Trigger, 1), whisk.NotFound)
	unborn := alarm
	unborn.Revision = 7
	_, err = s.SetAlarm(ctx, unborn)
	mustBe(t, err, whisk.Conflict)

	alarm.Revision, err = s.SetAlarm(ctx, alarm)
	must(t, err)
	wantAlarm(t, s, alarm)
	_, err = s.SetAlarm(ctx, alarmOf("t", 2)) // there is one
	mustBe(t, err, whisk.Conflict)

	second := alarm
	second.At, second.Body = time.Time{}, json.RawMessage(`{"off":true}`)
	second.Revision, err = s.SetAlarm(ctx, second)
	must(t, err)
	if second.Revision <= alarm.Revision {
		t.Errorf("revision %d after %d", second.Revision, alarm.Revision)
	}
	wantAlarm(t, s, second)
	_, err = s.SetAlarm(ctx, alarm)
	mustBe(t, err, whisk.Conflict)

	mustBe(t, s.DeleteAlarm(ctx, alarm.Trigger, alarm.Revision), whisk.Conflict)
	must(t, s.DeleteAlarm(ctx, alarm.Trigger, second.Revision))
	mustBe(t, s.DeleteAlarm(ctx, alarm.Trigger, second.Revision), whisk.NotFound)
	third, err := s.SetAlarm(ctx, alarmOf("t", 3))
	must(t, err)
	if third <= second.Revision {
		t.Errorf("after a deletion the revision is %d again, it was %d", third, second.Revision)
	}
}

func testAlarmOrder[S AlarmStore](t *testing.T, s S) {
	ctx := t.Context()
	if next, err := s.NextAlarm(ctx); err != nil || !next.IsZero() {
		t.Errorf("the next of none is at %v, %v", next, err)
	}
	for _, n := range []int{30, 10, 20, 40} {
		_, err := s.SetAlarm(ctx, alarmOf(fmt.Sprint("t", n), n))
		must(t, err)
	}
	off := alarmOf("off", 0)
	off.At = time.Time{}
	_, err := s.SetAlarm(ctx, off)
	must(t, err)
	if next, err := s.NextAlarm(ctx); err != nil || !next.Equal(atMilli(10)) {
		t.Errorf("the next is at %v, %v, want %v", next, err, atMilli(10))
	}
	for _, row := range []struct {
		by, limit int
		want      string
	}{
		{9, 9, ""}, {10, 9, "t10"}, {30, 9, "t10 t20 t30"}, {30, 2, "t10 t20"}, {99, 9, "t10 t20 t30 t40"},
	} {
		due, err := s.DueAlarms(ctx, atMilli(row.by), row.limit)
		must(t, err)
		var got strings.Builder
		for i, alarm := range due {
			if i > 0 {
				got.WriteString(" ")
			}
			got.WriteString(alarm.Trigger.Name)
			wantAlarm(t, s, alarm)
		}
		if got.String() != row.want {
			t.Errorf("due by %d, %d at most: %q, want %q", row.by, row.limit, got.String(), row.want)
		}
	}
}

func testAlarmEntries[S AlarmStore](t *testing.T, s S) {
	ctx, alarm := t.Context(), alarmOf("t", 1)
	revision, err := s.SetAlarm(ctx, alarm, accepted(1), accepted(2))
	must(t, err)
	wantPending(t, s, accepted(1), accepted(2))
	_, err = s.SetAlarm(ctx, alarm, accepted(3)) // revision 0 is past
	mustBe(t, err, whisk.Conflict)
	wantPending(t, s, accepted(1), accepted(2))
	alarm.Revision = revision
	_, err = s.SetAlarm(ctx, alarm, accepted(2), accepted(4))
	must(t, err)
	wantPending(t, s, accepted(1), accepted(2), accepted(4))
}

// Many advance one alarm from the same revision, each with an entry of its own.
func testOneAlarmWins[S AlarmStore](t *testing.T, s S) {
	ctx, alarm := t.Context(), alarmOf("t", 1)
	revision, err := s.SetAlarm(ctx, alarm)
	must(t, err)
	alarm.Revision = revision
	var won atomic.Int32
	var group sync.WaitGroup
	for n := range 8 {
		group.Go(func() {
			if _, err := s.SetAlarm(ctx, alarm, accepted(n)); err == nil {
				won.Add(1)
			} else {
				mustBe(t, err, whisk.Conflict)
			}
		})
	}
	group.Wait()
	if entries := pending(t, s); won.Load() != 1 || len(entries) != 1 {
		t.Errorf("%d won, %d entries were accepted, want 1 and 1", won.Load(), len(entries))
	}
}

func testAlarmReopen[S AlarmStore](t *testing.T, open Opener[S]) {
	place := t.TempDir()
	alarm := alarmOf("t", 1)
	s := open(t, place)
	var err error
	alarm.Revision, err = s.SetAlarm(t.Context(), alarm, accepted(1))
	must(t, err)
	must(t, s.Close())
	s = open.at(t, place)
	wantAlarm(t, s, alarm)
	wantPending(t, s, accepted(1))
}
