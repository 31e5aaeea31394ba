// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"encoding/json"
	"sync/atomic"
	"time"
)

// CORS says what browsers are told of who may call an API.
type CORS int

// The ways of telling it.
const (
	CORSOfAction CORS = iota // what the web action tells
	CORSOpen                 // all may, with credentials; the gateway answers OPTIONS
	CORSClosed               // nothing
)

func (d *Document) cors() CORS {
	switch objectOf(d.configuration()["cors"])["enabled"] {
	case true:
		return CORSOpen
	case false:
		return CORSClosed
	}
	return CORSOfAction
}

// Spacing is a limit as OpenWhisk's gateway understands it: there is some time from
// one request to the next.
type Spacing struct {
	gap  time.Duration
	next atomic.Int64 // the Unix time in ns from which on the next one is let in
}

// Admit reports whether a request may come at that time, of which others are kept
// away as long as share times the gap.
func (s *Spacing) Admit(now time.Time, share int) bool {
	if s == nil {
		return true
	}
	at := now.UnixNano()
	next := s.next.Load()
	return at >= next && s.next.CompareAndSwap(next, at+int64(s.gap)*int64(share))
}

// longestGap keeps durations within what they can hold.
const longestGap = 366 * 24 * time.Hour

// spacing reads the API's rate limit, of which the first counts; nil for none.
func (d *Document) spacing() (*Spacing, error) {
	limits := d.fields["x-gateway-rate-limit"]
	if limits == nil {
		limits = d.fields["x-ibm-rate-limit"]
	}
	list := listOf(limits)
	if len(list) == 0 {
		return nil, nil
	}
	limit := objectOf(list[0])
	rate, units := numberOf(limit["rate"]), numberOf(limit["units"])
	gap := float64(unitOf(textOf(limit["unit"]))) * units / rate
	if !(rate > 0 && units > 0 && gap <= float64(longestGap)) {
		return nil, refused("A rate limit needs a rate and units above 0.")
	}
	return &Spacing{gap: time.Duration(gap).Truncate(time.Millisecond)}, nil
}

func unitOf(name string) time.Duration {
	switch name {
	case "second":
		return time.Second
	case "hour":
		return time.Hour
	case "day":
		return 24 * time.Hour
	}
	return time.Minute
}

func numberOf(value any) float64 {
	number, _ := value.(json.Number)
	n, err := number.Float64()
	if err != nil {
		return 0
	}
	return n
}
