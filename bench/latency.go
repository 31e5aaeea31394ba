// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"encoding/json"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latency sums up a distribution of durations. Percentiles come from an HDR
// histogram and are exact to three digits; Min and Max too. A zero Count makes
// the rest meaningless. In JSON durations are microseconds.
type Latency struct {
	Count          int64
	Min, Mean, Max time.Duration
	P50, P90       time.Duration
	P99, P999      time.Duration
	Curve          []Quantile // the distribution, from the fastest on; nil where nobody needs it
}

// Quantile is the share of a distribution that is within a duration. In JSON it is
// the pair of them.
type Quantile struct {
	Share  float64
	Within time.Duration
}

// MarshalJSON implements [json.Marshaler].
func (q Quantile) MarshalJSON() ([]byte, error) {
	return json.Marshal([]float64{q.Share, micros(q.Within)})
}

// MarshalJSON implements [json.Marshaler].
func (l Latency) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Count int64      `json:"count"`
		Min   float64    `json:"min_us"`
		Mean  float64    `json:"mean_us"`
		P50   float64    `json:"p50_us"`
		P90   float64    `json:"p90_us"`
		P99   float64    `json:"p99_us"`
		P999  float64    `json:"p999_us"`
		Max   float64    `json:"max_us"`
		Curve []Quantile `json:"curve_share_us,omitempty"`
	}{l.Count, micros(l.Min), micros(l.Mean), micros(l.P50), micros(l.P90), micros(l.P99), micros(l.P999), micros(l.Max), l.Curve})
}

// micros rounds to a tenth of a microsecond, so that JSON stays short.
func micros(d time.Duration) float64 { return float64(d.Round(100*time.Nanosecond)) / 1000 }

// histogram counts durations from a microsecond to ten minutes.
type histogram struct{ hdr *hdrhistogram.Histogram }

const (
	shortest = time.Microsecond
	longest  = 10 * time.Minute
)

func newHistogram() histogram {
	return histogram{hdrhistogram.New(int64(shortest), int64(longest), 3)}
}

func (h histogram) record(d time.Duration) {
	// In range, so it cannot fail.
	_ = h.hdr.RecordValue(int64(min(max(d, shortest), longest)))
}

func (h histogram) merge(from histogram) { h.hdr.Merge(from.hdr) }

func (h histogram) latency() Latency {
	at := func(quantile float64) time.Duration { return time.Duration(h.hdr.ValueAtQuantile(quantile)) }
	return Latency{
		Count: h.hdr.TotalCount(),
		Min:   time.Duration(h.hdr.Min()),
		Mean:  time.Duration(h.hdr.Mean()),
		P50:   at(50),
		P90:   at(90),
		P99:   at(99),
		P999:  at(99.9),
		Max:   time.Duration(h.hdr.Max()),
	}
}

// curved is the latency with its distribution.
func (h histogram) curved() Latency {
	l := h.latency()
	if l.Count == 0 {
		return l
	}
	shares := curveShares()
	percents := make([]float64, len(shares))
	for i, share := range shares {
		percents[i] = 100 * share
	}
	within := h.hdr.ValueAtPercentilesSlice(percents)
	for i, share := range shares {
		l.Curve = append(l.Curve, Quantile{share, time.Duration(within[i])})
	}
	return l
}

// curveShares are the points of a distribution's curve: evenly, and closer and
// closer together at the tail.
func curveShares() (shares []float64) {
	for i := range 50 {
		shares = append(shares, float64(i)/50)
	}
	return append(shares, 0.985, 0.99, 0.995, 0.999, 0.9995, 0.9999, 1)
}
