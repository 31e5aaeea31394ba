// SPDX-License-Identifier: Apache-2.0

package alarms

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// parameters are what a feed is called with. The feeds of OpenWhisk are JavaScript, and
// what they take for given and for a number follows its rules.
type parameters map[string]json.RawMessage

// truthy reports whether a parameter is given, and is more than null, false, 0 and "".
func (p parameters) truthy(key string) bool {
	var value any
	if json.Unmarshal(p[key], &value) != nil {
		return false
	}
	switch value := value.(type) {
	case nil:
		return false
	case bool:
		return value
	case float64:
		return value != 0
	case string:
		return value != ""
	}
	return true
}

// text returns a parameter as it is put into a sentence, "" if it is not given.
func (p parameters) text(key string) string {
	var text string
	if json.Unmarshal(p[key], &text) == nil {
		return text
	}
	return string(p[key])
}

// whole returns a parameter that is a whole number, also one in a string.
func (p parameters) whole(key string) (int64, bool) {
	number, err := strconv.ParseFloat(strings.TrimSpace(p.text(key)), 64)
	if err != nil || number != math.Trunc(number) || math.Abs(number) > math.MaxInt32 {
		return 0, false
	}
	return int64(number), true
}

// newState makes an alarm of what a feed was given. The checks come in OpenWhisk's order.
func newState(feed string, given parameters, now time.Time) (*state, error) {
	s := &state{Feed: feed, Payload: payloadOf(given["trigger_payload"])}
	if s.Payload == nil {
		s.Payload = json.RawMessage("{}")
	}
	switch feed {
	case byDate:
		if !given.truthy("date") {
			return nil, refuse("alarms once trigger feed is missing the date parameter")
		}
		return s, s.setOnce(given, now)
	case byInterval:
		if !given.truthy("minutes") {
			return nil, refuse("interval trigger feed is missing the minutes parameter")
		}
		if err := s.setMinutes(given); err != nil {
			return nil, err
		}
	default:
		if !given.truthy("cron") {
			return nil, refuse("alarms trigger feed is missing the cron parameter")
		}
		if err := s.setCron(given); err != nil {
			return nil, err
		}
	}
	if err := s.setStart(given, now); err != nil {
		return nil, err
	}
	if s.StartDate == nil && feed == byInterval {
		s.StartDate, _ = json.Marshal(now.Add(firstInterval).UnixMilli())
	}
	return s, s.setEnd(given, now)
}

// firstInterval is after what time an interval without a start date begins.
const firstInterval = 30 * time.Second

// payloadOf makes an object of what is to be the trigger's payload, nil for nothing.
func payloadOf(value json.RawMessage) json.RawMessage {
	var text string
	switch {
	case len(value) == 0 || string(value) == "null":
		return nil
	case json.Unmarshal(value, &text) == nil:
		return json.RawMessage(`{"payload":` + string(value) + `}`)
	case value[0] == '{':
		return value
	}
	return nil
}

func (s *state) setOnce(given parameters, now time.Time) error {
	if given.truthy("date") {
		if err := checkDate(given, "date", nil, now); err != nil {
			return err
		}
		s.Date = given["date"]
	}
	if given.truthy("deleteAfterFire") {
		after := strings.ToLower(strings.TrimSpace(given.text("deleteAfterFire")))
		if after != "false" && after != "true" && after != "rules" {
			return refuse("deleteAfterFire parameter must be one of [false, true, rules].")
		}
		s.After = after
	}
	return nil
}

func (s *state) setMinutes(given parameters) error {
	minutes, ok := given.whole("minutes")
	switch {
	case !ok:
		return refuse("the minutes parameter must be an integer")
	case minutes <= 0:
		return refuse("the minutes parameter must be an integer greater than zero")
	case minutes > maxMinutes:
		return refuse("the minutes parameter must be no more than %d", maxMinutes)
	}
	s.Minutes = minutes
	return nil
}

// setCron takes what is given of the pattern and its time zone, and leaves the rest.
func (s *state) setCron(given parameters) error {
	if given.truthy("cron") {
		s.Cron = given.text("cron")
	}
	if given.truthy("timezone") {
		s.Timezone = given.text("timezone")
	}
	if _, _, err := parseCron(s.Cron, s.Timezone); err != nil {
		return refuse("%v", err)
	}
	if given.truthy("cron") && given.truthy("limitCronFields") && everySeconds(s.Cron) {
		return refuse("cron pattern is limited to 5 fields with 1 minute as the finest granularity")
	}
	if strict, ok := given["strict"]; ok {
		s.Strict = strict
	}
	return nil
}

// everySeconds reports whether a pattern has a field of seconds that is more than "0".
func everySeconds(pattern string) bool {
	fields := strings.Fields(pattern)
	return len(fields) > 5 && fields[len(fields)-6] != "0"
}

func (s *state) setStart(given parameters, now time.Time) error {
	if !given.truthy("startDate") {
		return nil
	}
	if err := checkDate(given, "startDate", nil, now); err != nil {
		return err
	}
	s.StartDate = given["startDate"]
	return nil
}

// setEnd takes the stop date and the limit of a new alarm, of which it may have one.
func (s *state) setEnd(given parameters, now time.Time) error {
	if given.truthy("maxTriggers") && given.truthy("stopDate") {
		if s.Feed == byInterval {
			return refuse("maxTriggers is not supported for the interval trigger feed")
		}
		return refuse("maxTriggers is not allowed when the stopDate parameter is specified")
	}
	if given.truthy("maxTriggers") {
		if limit, ok := given.whole("maxTriggers"); ok && limit > 0 {
			s.Limit = limit
		}
	}
	if !given.truthy("stopDate") {
		return nil
	}
	if err := checkDate(given, "stopDate", s.StartDate, now); err != nil {
		return err
	}
	s.StopDate = given["stopDate"]
	if next, err := s.next(now); s.Feed == byCron && err == nil && (next.IsZero() || s.stopped(next)) {
		return refuse("the first scheduled trigger fire is not until after the stop date")
	}
	return nil
}

// change takes what an update gives. What kind of alarm it is stays.
func (s *state) change(given parameters, now time.Time) error {
	former := *s
	if given.truthy("trigger_payload") {
		if payload := payloadOf(given["trigger_payload"]); payload != nil {
			s.Payload = payload
		}
	}
	if err := s.changeTimes(given, now); err != nil {
		return err
	}
	if !given.changes(former.Feed) {
		return refuse("no updatable parameters were specified")
	}
	return nil
}

// changes reports whether anything is given that an alarm of that kind has.
func (p parameters) changes(feed string) bool {
	keys := map[string][]string{
		byDate:     {"trigger_payload", "date", "deleteAfterFire"},
		byInterval: {"trigger_payload", "minutes", "startDate", "stopDate"},
		byCron:     {"trigger_payload", "cron", "timezone", "startDate", "stopDate"},
	}[feed]
	if slices.ContainsFunc(keys, p.truthy) {
		return true
	}
	_, strict := p["strict"]
	return strict && feed == byCron
}

func (s *state) changeTimes(given parameters, now time.Time) error {
	switch {
	case s.Feed == byDate:
		return s.setOnce(given, now)
	case s.Feed == byInterval && given.truthy("minutes"):
		if err := s.setMinutes(given); err != nil {
			return err
		}
	case s.Feed == byCron:
		if err := s.setCron(given); err != nil {
			return err
		}
	}
	if err := s.setStart(given, now); err != nil {
		return err
	}
	if given.truthy("stopDate") {
		if err := checkDate(given, "stopDate", s.StartDate, now); err != nil {
			return err
		}
		s.StopDate = given["stopDate"]
		return nil
	}
	start, _ := parseDate(s.StartDate)
	stop, stops := parseDate(s.StopDate)
	if given.truthy("startDate") && stops && !start.Before(stop) {
		return refuse("startDate parameter '%s' must be less than the stopDate parameter '%s'", given.text("startDate"), parameters{"": s.StopDate}.text(""))
	}
	return nil
}

// checkDate checks that a parameter is a date that is yet to come, and after start if that is one.
func checkDate(given parameters, key string, start json.RawMessage, now time.Time) error {
	date, ok := parseDate(given[key])
	from, started := parseDate(start)
	switch {
	case !ok:
		return refuse("%s parameter '%s' is not a valid Date", key, given.text(key))
	case !date.After(now):
		return refuse("%s parameter '%s' must be in the future", key, given.text(key))
	case started && !date.After(from):
		return refuse("%s parameter '%s' must be greater than the startDate parameter '%s'", key, given.text(key), parameters{"": start}.text(""))
	}
	return nil
}
