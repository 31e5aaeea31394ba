// SPDX-License-Identifier: Apache-2.0

//go:build e2e && docker

package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/client"
	"github.com/whirl-faas/whirl/whisk"
)

// tally sums up a traffic that has ended.
type tally struct {
	calls, accepted int            // accepted: with a 202
	untold          int            // calls whose answer told of no activation
	failed          map[string]int // blocking calls, by cause
	refused         map[string]int // others
	lost            map[string]int // of the accepted, records that tell of no success, by cause

	unrecorded    int // accepted, and without a record
	unwritten     int // answered with a result or an error, and without a record
	recordedTwice int
	strangers     int // records of activations that no answer told of
	runTwice      int
	unproven      int // succeeded without a proof of their run
}

// settle waits until each call whose activation is known has a record, and compares what was
// answered with the records and with the proofs of runs.
func (tr *traffic) settle(t *testing.T) (sum tally) {
	t.Helper()
	sum = tally{failed: map[string]int{}, refused: map[string]int{}, lost: map[string]int{}}
	records := tr.awaitRecords(t)
	tr.f.noteProofs()
	known := map[whisk.ActivationID]bool{}
	for _, e := range tr.calls {
		known[e.activation] = true
		sum.countAnswer(e)
		if odd := sum.countEnd(e, records[e.activation], tr.f.beacon.runsOf(e.id)); odd != "" {
			t.Logf("%s: %+v", odd, *e)
		}
	}
	for id := range records {
		if !known[id] {
			sum.strangers++
		}
	}
	return sum
}

func (sum *tally) countAnswer(e *errand) {
	sum.calls++
	if e.accepted {
		sum.accepted++
	}
	if e.activation == "" {
		sum.untold++
	}
	switch {
	case e.failure == "":
	case e.blocking:
		sum.failed[e.failure]++
	default:
		sum.refused[e.failure]++
	}
}

// countEnd counts what became of a call, and says so if it should not have.
func (sum *tally) countEnd(e *errand, records []client.Activation, runs int) (odd string) {
	succeeded := e.success || len(records) > 0 && records[0].Response.Success
	if e.accepted && len(records) > 0 && !succeeded {
		sum.lost[causeIn(records[0].Response)]++
	}
	for _, row := range []struct {
		is    bool
		count *int
		name  string
	}{
		{e.accepted && len(records) == 0, &sum.unrecorded, "no record of an accepted activation"},
		{!e.accepted && e.activation != "" && len(records) == 0, &sum.unwritten, "no record"},
		{len(records) > 1, &sum.recordedTwice, "more than one record"},
		{runs > 1, &sum.runTwice, "ran more than once"},
		{succeeded && runs == 0, &sum.unproven, "succeeded without a run"},
	} {
		if row.is {
			*row.count++
			odd = row.name
		}
	}
	return odd
}

// awaitRecords returns the records of the traffic's actions, once there is one of each activation
// that is known, or it has taken too long. A record that arrives in the midst of a listing moves
// others to the next page, where they are listed again.
func (tr *traffic) awaitRecords(t *testing.T) (records map[whisk.ActivationID][]client.Activation) {
	t.Helper()
	begun := time.Now()
	again := time.NewTicker(500 * time.Millisecond)
	defer again.Stop()
	for {
		records = tr.listRecords(t)
		patience := time.Duration(0)
		for _, e := range tr.calls {
			switch {
			case e.activation == "" || len(records[e.activation]) == 1:
			case e.accepted:
				patience = recovery
			default:
				patience = max(patience, recordTime)
			}
		}
		if time.Since(begun) >= patience {
			return records
		}
		<-again.C
	}
}

// listRecords lists the records of the traffic's actions.
func (tr *traffic) listRecords(t *testing.T) map[whisk.ActivationID][]client.Activation {
	t.Helper()
	const page = 200
	records := map[whisk.ActivationID][]client.Activation{}
	for skip := 0; ; skip += page {
		some := listActivations(t, tr.f.controller, client.ActivationQuery{Page: client.Page{Limit: page, Skip: skip}, Since: tr.begun, Full: true})
		for _, record := range some {
			if strings.HasPrefix(record.Name, tr.name+"-") {
				records[record.ID] = append(records[record.ID], record)
			}
		}
		if len(some) < page {
			return records
		}
	}
}

// particular is what differs between failures of one cause.
var particular = regexp.MustCompile(`[0-9a-f]{32}|\b[0-9a-zA-Z_./:-]*[0-9][0-9a-zA-Z_./:-]*`)

// causeOf sorts an error of a call.
func causeOf(err error) string {
	if err == nil {
		return ""
	}
	if refusal, ok := errors.AsType[*client.Error](err); ok {
		return fmt.Sprintf("%d %s", refusal.Status, particular.ReplaceAllString(refusal.Text, "…"))
	}
	if exchange, ok := errors.AsType[*url.Error](err); ok {
		err = exchange.Err
	}
	return "no answer: " + particular.ReplaceAllString(err.Error(), "…")
}

// causeIn sorts the response of an activation that did not succeed.
func causeIn(response client.Response) string {
	if response.Success {
		return ""
	}
	var result struct{ Error json.RawMessage }
	_ = json.Unmarshal(response.Result, &result)
	return response.Status + ": " + particular.ReplaceAllString(strings.Trim(string(result.Error), `"`), "…")
}
