// SPDX-License-Identifier: Apache-2.0

package controllertest

import (
	"context"
	"slices"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Alarm implements [whisk.Alarms].
func (s *Store) Alarm(ctx context.Context, trigger whisk.FullName) (found whisk.Alarm, err error) {
	err = s.do(ctx, "Alarm", func() error {
		var ok bool
		if found, ok = s.alarms[trigger]; !ok {
			return whisk.Errorf(whisk.NotFound, "no alarm of %s", trigger)
		}
		return nil
	})
	return found, err
}

// SetAlarm implements [whisk.Alarms].
func (s *Store) SetAlarm(ctx context.Context, alarm whisk.Alarm, entries ...whisk.Accepted) (revision whisk.Revision, err error) {
	err = s.do(ctx, "SetAlarm", func() error {
		if former := s.alarms[alarm.Trigger].Revision; former != alarm.Revision {
			return whisk.Errorf(whisk.Conflict, "revision is %d", former)
		}
		s.alarmed++
		alarm.Revision, revision = s.alarmed, s.alarmed
		s.alarms[alarm.Trigger] = alarm
		s.acceptLocked(entries)
		return nil
	})
	return revision, err
}

// DeleteAlarm implements [whisk.Alarms].
func (s *Store) DeleteAlarm(ctx context.Context, trigger whisk.FullName, revision whisk.Revision) error {
	return s.do(ctx, "DeleteAlarm", func() error {
		former, found := s.alarms[trigger]
		switch {
		case !found:
			return whisk.Errorf(whisk.NotFound, "no alarm of %s", trigger)
		case former.Revision != revision:
			return whisk.Errorf(whisk.Conflict, "revision is %d", former.Revision)
		}
		delete(s.alarms, trigger)
		return nil
	})
}

// DueAlarms implements [whisk.Alarms].
func (s *Store) DueAlarms(ctx context.Context, by time.Time, limit int) (due []whisk.Alarm, err error) {
	err = s.do(ctx, "DueAlarms", func() error {
		for _, alarm := range s.timedLocked() {
			if !alarm.At.After(by) && len(due) < limit {
				due = append(due, alarm)
			}
		}
		return nil
	})
	return due, err
}

// NextAlarm implements [whisk.Alarms].
func (s *Store) NextAlarm(ctx context.Context) (next time.Time, err error) {
	err = s.do(ctx, "NextAlarm", func() error {
		if timed := s.timedLocked(); len(timed) > 0 {
			next = timed[0].At
		}
		return nil
	})
	return next, err
}

// timedLocked returns the alarms that have a time, the earliest first.
func (s *Store) timedLocked() []whisk.Alarm {
	var timed []whisk.Alarm
	for _, alarm := range s.alarms {
		if !alarm.At.IsZero() {
			timed = append(timed, alarm)
		}
	}
	slices.SortFunc(timed, func(a, b whisk.Alarm) int { return a.At.Compare(b.At) })
	return timed
}
