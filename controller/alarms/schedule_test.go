// SPDX-License-Identifier: Apache-2.0

package alarms

import (
	"encoding/json"
	"testing"
	"time"
)

func TestCronPatterns(t *testing.T) {
	for _, row := range []struct {
		what, cron, zone, after string
		want                    []string // "" for the text of the error
	}{
		{"each minute", "* * * * *", "", "2026-01-31T23:59:30Z", []string{"2026-02-01T00:00:00Z", "2026-02-01T00:01:00Z"}},
		{"each second", "* * * * * *", "", "2026-01-31T23:59:58.5Z", []string{"2026-01-31T23:59:59Z", "2026-02-01T00:00:00Z"}},
		{"steps of seconds", "*/30 * * * * *", "", "2026-01-01T00:00:00Z", []string{"2026-01-01T00:00:30Z", "2026-01-01T00:01:00Z"}},
		{"in another zone", "0 9 * * 1-5", "Asia/Tokyo", "2026-01-02T00:00:00Z", []string{"2026-01-05T00:00:00Z", "2026-01-06T00:00:00Z"}},
		{"either of both days", "0 0 13 * 5", "", "2026-02-01T00:00:00Z", []string{"2026-02-06T00:00:00Z", "2026-02-13T00:00:00Z", "2026-02-20T00:00:00Z"}},
		{"names, and 7 for sunday", "0 0 * jan,DEC 7", "", "2026-01-20T00:00:00Z", []string{"2026-01-25T00:00:00Z", "2026-12-06T00:00:00Z"}},
		{"a leap day", "0 0 29 2 *", "", "2026-01-01T00:00:00Z", []string{"2028-02-29T00:00:00Z"}},
		// In Berlin the clocks go from 2 to 3 on 2026-03-29, and from 3 back to 2 on 2026-10-25.
		{"a time that is left out happens at once", "30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", []string{"2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"}},
		{"an hourly one goes on over the gap", "0 * * * *", "Europe/Berlin", "2026-03-29T00:30:00Z", []string{"2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"}},
		{"a time that comes twice happens twice", "30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", []string{"2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-26T01:30:00Z"}},
		{"a midnight that is left out does not happen", "0 0 * * *", "America/Santiago", "2026-09-05T12:00:00Z", []string{"2026-09-07T03:00:00Z"}},
	} {
		s := state{Feed: byCron, Cron: row.cron, Timezone: row.zone}
		at := mustTime(t, row.after)
		for _, want := range row.want {
			next, err := s.next(at)
			if err != nil || !next.Equal(mustTime(t, want)) {
				t.Errorf("%s: %q after %v is due at %v, %v; want %s", row.what, row.cron, at, next.UTC(), err, want)
			}
			at = next
		}
	}
}

func TestCronPatternsThatAreNone(t *testing.T) {
	for _, pattern := range []string{
		"", "*", "* * * *", "* * * * * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "@daily", "@every 1s",
		"TZ=UTC * * * * *", "CRON_TZ=UTC * * * * *", "0 0 30 2 *", "a b c d e", "*/0 * * * *", "H * * * *", "0 0 L * *",
	} {
		if _, _, err := parseCron(pattern, ""); err == nil || err.Error() != "cron pattern '"+pattern+"' is not valid" {
			t.Errorf("%q: %v", pattern, err)
		}
	}
	for _, zone := range []string{"America/RTP", "Local", "../etc/passwd", "/etc/localtime"} {
		if _, _, err := parseCron("* * * * *", zone); err != errTimezone {
			t.Errorf("zone %q: %v", zone, err)
		}
	}
}

func TestIntervalsKeepToTheirGrid(t *testing.T) {
	s := state{Feed: byInterval, Minutes: 7, StartDate: json.RawMessage(`"2026-01-01T00:00:30Z"`)}
	for after, want := range map[string]string{
		"2025-12-01T00:00:00Z": "2026-01-01T00:00:30Z",
		"2026-01-01T00:00:30Z": "2026-01-01T00:07:30Z",
		"2026-01-01T00:07:29Z": "2026-01-01T00:07:30Z",
		"2026-01-01T01:00:00Z": "2026-01-01T01:03:30Z",
	} {
		if next, err := s.next(mustTime(t, after)); err != nil || !next.Equal(mustTime(t, want)) {
			t.Errorf("after %s at %v, %v; want %s", after, next, err, want)
		}
	}
}

func TestDates(t *testing.T) {
	for text, want := range map[string]string{
		`1577277000000`:                       "2019-12-25T12:30:00Z",
		`1577277000000.9`:                     "2019-12-25T12:30:00Z",
		`"2019-12-25T12:30:00.000Z"`:          "2019-12-25T12:30:00Z",
		`"2019-12-25T12:30"`:                  "2019-12-25T12:30:00Z",
		`"2019-12-25T14:30:00+02:00"`:         "2019-12-25T12:30:00Z",
		`"2019-12-25"`:                        "2019-12-25T00:00:00Z",
		`"Wed, 25 Dec 2019 12:30:00 GMT"`:     "2019-12-25T12:30:00Z",
		`"Wed Dec 25 2019 12:30:00 GMT+0000"`: "2019-12-25T12:30:00Z",
		`"December 25, 2019 12:30:00"`:        "2019-12-25T12:30:00Z",
		`"tomorrow"`:                          "",
		`"1577277000000"`:                     "",
		`""`:                                  "",
		`null`:                                "",
		`8.64e15`:                             "275760-09-13T00:00:00Z",
		`8.65e15`:                             "",
		`{"a":1}`:                             "",
		``:                                    "",
		`"2019-02-30T00:00:00Z"`:              "",
		`"2019-12-25T12:30:00.123456789+00:00   "`: "2019-12-25T12:30:00.123456789Z",
	} {
		date, ok := parseDate(json.RawMessage(text))
		got := ""
		if ok {
			got = date.Format(time.RFC3339Nano)
		}
		if got != want {
			t.Errorf("%s is %q, want %q", text, got, want)
		}
	}
}

func mustTime(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

// Whatever users send, an alarm is made or refused, and one that is made can be read again and moves on.
func FuzzNewState(f *testing.F) {
	for _, seed := range []string{
		`{"cron":"* * * * *","timezone":"Europe/Berlin","strict":"true"}`, `{"date":"2126-01-01","deleteAfterFire":"rules"}`,
		`{"minutes":"5","startDate":4102444800000,"stopDate":"2126-01-01"}`, `{"cron":"0 0 1-7/2 * MON,FRI","maxTriggers":3}`, `{"minutes":1e300}`,
	} {
		f.Add(seed)
	}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		given := parameters{}
		if json.Unmarshal([]byte(text), &given) != nil {
			return
		}
		for _, feed := range []string{byCron, byDate, byInterval} {
			made, err := newState(feed, given, now)
			if err != nil {
				continue
			}
			at := made.activate(now)
			if !at.IsZero() && at.Before(now) {
				t.Errorf("%s %s: due at %v, before now", feed, text, at)
			}
			body, err := json.Marshal(made)
			if err != nil {
				t.Fatal(err)
			}
			read := new(state)
			if err := json.Unmarshal(body, read); err != nil {
				t.Fatal(err)
			}
			if again := read.advance(at); !at.IsZero() && !again.IsZero() && !again.After(at) && !read.Fired {
				t.Errorf("%s %s: after %v due at %v", feed, text, at, again)
			}
		}
	})
}
