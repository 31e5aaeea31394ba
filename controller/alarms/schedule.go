// SPDX-License-Identifier: Apache-2.0

package alarms

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // for machines that have no time zones

	"github.com/netresearch/go-cron"
)

// The kinds of alarms, by the names of their feeds.
const (
	byCron     = "alarm"
	byDate     = "once"
	byInterval = "interval"
)

// errTimezone is that of a time zone which is not known. The text is OpenWhisk's.
var errTimezone = errors.New("Invalid timezone.")

// parseCron reads a pattern of five fields, or of six with seconds first, as crontab
// has them: if both days are restricted, either will do.
func parseCron(pattern, timezone string) (cron.Schedule, *time.Location, error) {
	zone := time.UTC
	if timezone != "" {
		var err error
		if zone, err = time.LoadLocation(timezone); err != nil || timezone == "Local" {
			return nil, nil, errTimezone
		}
	}
	if strings.Contains(pattern, "=") { // the parser knows time zones as a prefix
		return nil, nil, errCron(pattern)
	}
	parser := cron.MustNewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.DowOrDom)
	schedule, err := parser.Parse(pattern)
	if err != nil || schedule.Next(time.Now().In(zone)).IsZero() { // such as the 30th of February
		return nil, nil, errCron(pattern)
	}
	return schedule, zone, nil
}

func errCron(pattern string) error { return fmt.Errorf("cron pattern '%s' is not valid", pattern) }

// next returns when an alarm is due after now, the zero time if never again. That
// may be after its stop date.
func (s *state) next(now time.Time) (time.Time, error) {
	start, _ := parseDate(s.StartDate)
	switch s.Feed {
	case byDate:
		date, _ := parseDate(s.Date)
		if !date.After(now) {
			return time.Time{}, nil
		}
		return date, nil
	case byInterval:
		if start.After(now) || s.Minutes <= 0 {
			return start, nil
		}
		every := time.Duration(s.Minutes) * time.Minute
		return start.Add((now.Sub(start)/every + 1) * every), nil
	}
	schedule, zone, err := parseCron(s.Cron, s.Timezone)
	if err != nil {
		return time.Time{}, err
	}
	if start.After(now) {
		now = start.Add(-time.Millisecond) // it may be the first time itself
	}
	return schedule.Next(now.In(zone)), nil
}

// stopped reports whether a time is after the alarm's stop date.
func (s *state) stopped(at time.Time) bool {
	stop, given := parseDate(s.StopDate)
	return given && at.After(stop)
}

// maxMinutes is the longest interval: a hundred years.
const maxMinutes = 100 * 366 * 24 * 60

// dateForms are the texts that stand for a time, beside a number of milliseconds. Those of
// ISO 8601 come first; one without a zone is of UTC.
var dateForms = []string{
	"2006-01-02T15:04:05.999999999Z07:00", "2006-01-02T15:04Z07:00",
	"2006-01-02T15:04:05.999999999-0700", "2006-01-02T15:04-0700",
	"2006-01-02T15:04:05.999999999", "2006-01-02T15:04",
	"2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999", "2006-01-02 15:04",
	"2006-01-02", "2006-01", "2006",
	time.RFC1123, time.RFC1123Z, time.RFC850, time.ANSIC,
	"Mon Jan 2 2006 15:04:05 GMT-0700", "Mon, 2 Jan 2006 15:04:05 MST",
	"January 2, 2006 15:04:05", "January 2, 2006", "Jan 2, 2006 15:04:05", "Jan 2, 2006",
}

// parseDate reads a date as JavaScript's Date does, in the forms that people use. false
// if it is none, or nothing.
func parseDate(value json.RawMessage) (time.Time, bool) {
	var number float64
	if json.Unmarshal(value, &number) == nil && string(value) != "null" {
		const most = 8.64e15 // ms
		if number > most || number < -most {
			return time.Time{}, false
		}
		return time.UnixMilli(int64(number)).UTC(), true
	}
	var text string
	if json.Unmarshal(value, &text) != nil || text == "" {
		return time.Time{}, false
	}
	for _, form := range dateForms {
		if date, err := time.Parse(form, strings.TrimSpace(text)); err == nil {
			return date.UTC(), true
		}
	}
	return time.Time{}, false
}
