// SPDX-License-Identifier: Apache-2.0

package alarms_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// What the feeds answer, one after the other. The texts are OpenWhisk's.
func TestTheFeedsAnswers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t)
		m := c.join("a")
		defer m.stop()
		refused := func(text string) string {
			quoted, err := json.Marshal(text)
			must(t, err)
			return `{"error":{"error":` + string(quoted) + `}}`
		}
		const success, auth = `{"status":"success"}`, "Trigger authentication request failed."
		mine := `"authKey":"` + key.String() + `"`
		for _, row := range []struct{ what, feed, event, given, want string }{
			{"no event", "alarm", "", `"triggerName":"/_/tick"`, `{"error":"unsupported lifecycleEvent"}`},
			{"another event", "alarm", "PAUSE", `"triggerName":"/_/tick"`, `{"error":"unsupported lifecycleEvent"}`},
			{"no trigger", "alarm", "CREATE", `"cron":"* * * * *"`, refused("no trigger name parameter was provided")},
			{"no pattern", "alarm", "CREATE", `"triggerName":"/_/tick"`, refused("alarms trigger feed is missing the cron parameter")},
			{"a bad pattern", "alarm", "CREATE", `"triggerName":"/_/tick","cron":"***"`, refused("cron pattern '***' is not valid")},
			{"a pattern that is a number", "alarm", "CREATE", `"triggerName":"/_/tick","cron":5`, refused("cron pattern '5' is not valid")},
			{"a bad zone", "alarm", "CREATE", `"triggerName":"/_/tick","cron":"* * * * *","timezone":"America/RTP"`, refused("Invalid timezone.")},
			{"seconds where they are not wanted", "alarm", "CREATE", `"triggerName":"/_/tick","cron":"* * * * * *","limitCronFields":true`, refused("cron pattern is limited to 5 fields with 1 minute as the finest granularity")},
			{"a limit and an end", "alarm", "CREATE", `"triggerName":"/_/tick","cron":"* * * * *","maxTriggers":1,"stopDate":"2126-01-01"`, refused("maxTriggers is not allowed when the stopDate parameter is specified")},
			{"a limit and an end of an interval", "interval", "CREATE", `"triggerName":"/_/tick","minutes":1,"maxTriggers":1,"stopDate":"2126-01-01"`, refused("maxTriggers is not supported for the interval trigger feed")},
			{"an early end", "alarm", "CREATE", `"triggerName":"/_/tick","cron":"0 0 1 2 *","stopDate":"2000-01-31"`, refused("the first scheduled trigger fire is not until after the stop date")},
			{"an end before the start", "alarm", "CREATE", `"triggerName":"/_/tick","cron":"* * * * *","startDate":"2000-02-02","stopDate":"2000-02-01"`, refused("stopDate parameter '2000-02-01' must be greater than the startDate parameter '2000-02-02'")},
			{"a start that is past", "alarm", "CREATE", `"triggerName":"/_/tick","cron":"* * * * *","startDate":1000`, refused("startDate parameter '1000' must be in the future")},
			{"no date", "once", "CREATE", `"triggerName":"/_/tick"`, refused("alarms once trigger feed is missing the date parameter")},
			{"a bad date", "once", "CREATE", `"triggerName":"/_/tick","date":"tomorrow"`, refused("date parameter 'tomorrow' is not a valid Date")},
			{"a past date", "once", "CREATE", `"triggerName":"/_/tick","date":"1999-12-31T23:59:59Z"`, refused("date parameter '1999-12-31T23:59:59Z' must be in the future")},
			{"a bad way to end", "once", "CREATE", `"triggerName":"/_/tick","date":"2126-01-01","deleteAfterFire":"all"`, refused("deleteAfterFire parameter must be one of [false, true, rules].")},
			{"no minutes", "interval", "CREATE", `"triggerName":"/_/tick","minutes":0`, refused("interval trigger feed is missing the minutes parameter")},
			{"bad minutes", "interval", "CREATE", `"triggerName":"/_/tick","minutes":"five"`, refused("the minutes parameter must be an integer")},
			{"half minutes", "interval", "CREATE", `"triggerName":"/_/tick","minutes":1.5`, refused("the minutes parameter must be an integer")},
			{"negative minutes", "interval", "CREATE", `"triggerName":"/_/tick","minutes":-1`, refused("the minutes parameter must be an integer greater than zero")},
			{"no such trigger", "alarm", "CREATE", mine + `,"triggerName":"/_/tock","cron":"* * * * *"`, refused(auth)},
			{"a wrong key", "alarm", "CREATE", `"authKey":"u:` + strings.Repeat("x", whisk.KeyLength) + `","triggerName":"/_/tick","cron":"* * * * *"`, refused(auth)},
			{"no key at all", "alarm", "CREATE", `"authKey":"nonsense","triggerName":"/_/tick","cron":"* * * * *"`, refused(auth)},
			{"another's key", "alarm", "CREATE", `"authKey":"` + otherKey.String() + `","triggerName":"/_/tick","cron":"* * * * *"`, refused(auth)},
			{"nothing to read", "alarm", "READ", `"triggerName":"/_/tick"`, refused("could not find trigger /guest/tick in the database")},
			{"nothing to change", "alarm", "UPDATE", `"triggerName":"/_/tick","cron":"* * * * *"`, refused("could not find trigger /guest/tick in the database")},
			{"nothing to delete", "alarm", "DELETE", `"triggerName":"/_/tick"`, refused("could not find trigger /guest/tick in the database")},

			{"an alarm", "alarm", "CREATE", mine + `,"triggerName":"/_/tick","cron":"0 9 * * *","timezone":"Europe/Madrid","strict":"true","startDate":"2000-02-01","stopDate":4102444800000,"trigger_payload":{"a":1.50}`, success},
			{"read", "alarm", "READ", mine + `,"triggerName":"/guest/tick"`, `{"config":{"name":"tick","namespace":"guest","payload":{"a":1.50},"strict":"true","startDate":"2000-02-01","stopDate":4102444800000,"cron":"0 9 * * *","timezone":"Europe/Madrid"},"status":{"active":true,"dateChanged":946684800000,"dateChangedISO":"2000-01-01T00:00:00Z"}}`},
			{"a change of nothing", "alarm", "UPDATE", `"triggerName":"/_/tick","date":"2126-01-01","trigger_payload":""`, refused("no updatable parameters were specified")},
			{"a start after the end", "alarm", "UPDATE", `"triggerName":"/_/tick","startDate":"2126-01-01"`, refused("startDate parameter '2126-01-01' must be less than the stopDate parameter '4102444800000'")},
			{"changes", "once", "UPDATE", `"triggerName":"tick","cron":"* * * * *","strict":false,"trigger_payload":"hello"`, success},
			{"and what they made", "alarm", "READ", `"triggerName":"tick"`, `{"config":{"name":"tick","namespace":"guest","payload":{"payload":"hello"},"strict":false,"startDate":"2000-02-01","stopDate":4102444800000,"cron":"* * * * *","timezone":"Europe/Madrid"},"status":{"active":true,"dateChanged":946684800000,"dateChangedISO":"2000-01-01T00:00:00Z"}}`},
			{"another alarm in its place", "once", "CREATE", `"triggerName":"/other/tick","date":"2000-01-01T00:00:05Z"`, success},
			{"without a payload", "once", "READ", `"triggerName":"/_/tick"`, `{"config":{"name":"tick","namespace":"guest","payload":{"payload":""},"strict":false,"date":"2000-01-01T00:00:05Z"},"status":{"active":true,"dateChanged":946684800000,"dateChangedISO":"2000-01-01T00:00:00Z"}}`},
			{"an interval", "interval", "CREATE", `"triggerName":"/_/tick","minutes":"5"`, success},
			{"of which the start is made up", "interval", "READ", `"triggerName":"/_/tick"`, `{"config":{"name":"tick","namespace":"guest","payload":{"payload":""},"strict":false,"startDate":946684830000,"minutes":5},"status":{"active":true,"dateChanged":946684800000,"dateChangedISO":"2000-01-01T00:00:00Z"}}`},
			{"deleted", "alarm", "DELETE", `"triggerName":"/_/tick"`, success},
		} {
			given := row.given
			if row.event != "" {
				given = fmt.Sprintf(`"lifecycleEvent":%q,%s`, row.event, given)
			}
			if got := m.ask(t, row.feed, "{"+given+"}"); got != row.want {
				t.Errorf("%s: %s {%s}\n got %s\nwant %s", row.what, row.feed, given, got, row.want)
			}
		}
	})
}

// An alarm that is changed when it can fire no more is off, and says why.
func TestAChangeThatComesTooLate(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t)
		m := c.join("a")
		defer m.stop()
		m.tell(t, "once", "CREATE", map[string]any{"date": time.Now().Add(time.Second)})
		time.Sleep(time.Minute)
		m.tell(t, "once", "UPDATE", map[string]any{"trigger_payload": "x"})
		m.wantOff(t, "Automatically disabled after receiving error on trigger creation: the fire once date has expired")
		m.tell(t, "once", "UPDATE", map[string]any{"date": time.Now().Add(time.Second)})
		time.Sleep(time.Minute)
		if runs := c.ran(); len(runs) != 2 {
			t.Errorf("ran %v, want twice", runs)
		}
	})
}

// The trigger goes first, as nobody says it must not.
func TestTheAlarmOfADeletedTriggerCanBeDeleted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := newCluster(t)
		m := c.join("a")
		defer m.stop()
		m.tell(t, "alarm", "CREATE", map[string]any{"cron": "* * * * *"})
		_, err := m.DeleteTrigger(t.Context(), guest, tick)
		must(t, err)
		m.tell(t, "alarm", "DELETE", nil)
	})
}
