// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"
)

// Report is what a run measured. [Report.WriteText] and [Report.WriteHTML] show
// it to people, [Report.WriteJSON] to programs.
type Report struct {
	Started     time.Time
	Took        time.Duration
	Incomplete  string // why the run ended before all was measured, "" if it did not
	APIHost     string
	Build       string // of the server, "" if it does not tell
	Versus      string // the other endpoint, "" if there was none
	VersusBuild string
	Machine     Machine
	Setup       Setup
	Cold        []Cold
	Warm        []Warm
	Replays     []Replay
	Contests    []Contest
	Overloads   []Overload
	Added       []Added   // one for each workload that was measured directly at concurrency 1
	Left        []Left    // actions of which it is not known that they were deleted
	Records     []Records // one for each workload of each kind, and for each of the contests
}

// Machine is where the load generator ran.
type Machine struct {
	CPUs   int    `json:"cpus"`
	Model  string `json:"model,omitempty"`
	Kernel string `json:"kernel,omitempty"`
	Go     string `json:"go"`
}

// Setup is the part of the configuration that all figures depend on.
type Setup struct {
	Memory      string  `json:"memory"`
	AtOnce      int     `json:"action_concurrency,omitempty"` // activations at once in a container; 0 for the default, one
	Rounds      int     `json:"rounds"`
	Round       float64 `json:"round_s"`
	Warmup      float64 `json:"warmup_s"`
	Seed        uint64  `json:"seed"`
	Outstanding int     `json:"outstanding"` // requests of an open loop under way, at most
	Timeout     float64 `json:"timeout_s"`
	Sandboxes   int     `json:"direct_sandboxes,omitempty"` // at most; 0 if nothing was hit directly
}

// Cold is what the cold starts of one kind came to.
type Cold struct {
	Kind     string           `json:"kind"`
	Endpoint string           `json:"endpoint"` // "platform" or "versus"
	Mode     string           `json:"mode"`     // "one by one" or "at once"
	Whole    Latency          `json:"create"`   // from sending the PUT of a fresh action to its first answer
	Invoke   Latency          `json:"invoke"`   // from sending the invoke to its answer
	Wait     Latency          `json:"wait"`     // waitTime of the records: until a container was there
	Init     Latency          `json:"init"`     // initTime of the records: /init
	Warm     int              `json:"warm"`     // answers that were no cold start, and are not in the figures
	Errors   map[string]int64 `json:"errors"`
	Ratios   []Ratio          `json:"ratios,omitempty"` // of the platform's in the other endpoint's: of cold starts one by one, of those at once of the medians of each batch
}

// Warm is what one workload came to.
type Warm struct {
	Kind        string
	Workload    string  // as [ParseWorkload] reads it
	Pace        string  // in words
	Concurrency int     // of a closed loop, 0 for an open one
	Offered     float64 // requests per second of an open loop, 0 for a closed one
	Platform    Side
	Versus      *Side         // nil if there was no other endpoint
	Ratios      []Ratio       // of Platform in Versus
	Alone       *Side         // of several actions' load on a single one; nil if there is but one
	OfAlone     []Ratio       // of Platform in Alone
	Direct      *Side         // nil if no sandbox was hit directly
	Share       float64       // of Platform.Rate in Direct.Rate, 0 if unknown
	Hop         *Side         // of the bare hop to the sandboxes; nil if there was none
	OfHop       []Ratio       // of Platform in Hop
	CPU         []CPU         // of each named process, per good answer
	VersusCPU   []CPU         // the same of the other endpoint
	HopCPU      []CPU         // and of the bare hop
	Generator   time.Duration // CPU time of the load generator, per good answer
}

// Contest is what a workload of several actions came to.
type Contest struct {
	Kind        string
	Actions     int
	Platform    Side
	Versus      *Side         // nil if there was no other endpoint
	Ratios      []Ratio       // of Platform in Versus
	Share       float64       // of Platform.Rate in that of one action alone at 10 connections, 0 if that was not measured
	Least, Most float64       // of the answers, that one action got, in an even share
	CPU         []CPU         // of each named process, per good answer
	VersusCPU   []CPU         // the same of the other endpoint
	Generator   time.Duration // CPU time of the load generator, per good answer
}

// Replay is what a trace came to in one kind at one endpoint.
type Replay struct {
	Kind      string
	Endpoint  string // "platform" or "versus"
	Functions int
	Calls     int
	Speed     float64
	Side      Side          // latencies are beyond what the function ran for
	Warm      Latency       // of the answers that were no cold starts
	Cold      Latency       // and of those that were
	CPU       []CPU         // of each named process of the endpoint, per good answer
	Generator time.Duration // CPU time of the load generator, per good answer
}

// Side is one side of a workload. The latencies are of good answers, over all
// rounds; in an open loop they count from when a request was due.
type Side struct {
	Connections int              `json:"connections,omitempty"` // of a closed loop
	Rate        float64          `json:"per_second"`            // good answers, the median of the rounds
	Rates       []float64        `json:"rounds"`
	Latency     Latency          `json:"latency"`
	Timeline    Timeline         `json:"timeline,omitzero"`
	Errors      map[string]int64 `json:"errors"`           // by cause
	Cold        int64            `json:"cold"`             // good answers that were cold starts
	Unsent      int64            `json:"unsent,omitempty"` // requests that an open loop did not send, because too many were under way
	Lag         Latency          `json:"lag,omitzero"`     // of an open loop's sending, after the request was due
}

// Timeline is how many good answers came in each step of each round.
type Timeline struct {
	Step   time.Duration
	Rounds [][]int64
}

// MarshalJSON implements [json.Marshaler].
func (l Timeline) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Step   float64   `json:"step_s"`
		Rounds [][]int64 `json:"rounds"`
	}{l.Step.Seconds(), l.Rounds})
}

// Added is what the platform adds to the latency of an action at concurrency 1,
// or in an open loop.
type Added struct {
	Kind     string
	Workload string
	Pace     string
	P50, P99 time.Duration // platform minus direct; the clocks' noise may make it negative
}

// Records compares answers with records.
type Records struct {
	Kind     string `json:"kind"`
	Answered int64  `json:"answered"` // good answers, warm-up included
	Stored   int64  `json:"stored"`   // records found afterwards
}

// Empty says whether nothing was measured.
func (r Report) Empty() bool {
	return len(r.Cold)+len(r.Warm)+len(r.Replays)+len(r.Contests)+len(r.Overloads) == 0
}

// Failures is the number of requests that went wrong, of records that are
// missing and of cold starts that failed. What is refused under overload is not
// among them.
func (r Report) Failures() int64 {
	var n int64
	for _, c := range r.Cold {
		n += count(c.Errors)
	}
	for _, w := range r.Warm {
		n += count(w.Platform.Errors)
		for _, side := range []*Side{w.Versus, w.Alone, w.Direct, w.Hop} {
			if side != nil {
				n += count(side.Errors)
			}
		}
	}
	for _, one := range r.Replays {
		n += count(one.Side.Errors)
	}
	for _, one := range r.Contests {
		n += count(one.Platform.Errors)
		if one.Versus != nil {
			n += count(one.Versus.Errors)
		}
	}
	for _, one := range r.Overloads {
		n += one.Even.failed() + one.Over.failed()
	}
	for _, one := range r.Records {
		n += max(one.Answered-one.Stored, 0)
	}
	return n
}

func count(errors map[string]int64) (n int64) {
	for _, one := range errors {
		n += one
	}
	return n
}

// addWarm adds the figures of a workload, and what they say about added latency.
func (r *Report) addWarm(w Warm) {
	r.Warm = append(r.Warm, w)
	if w.Concurrency <= 1 && w.Direct != nil && w.Direct.Latency.Count > 0 && w.Platform.Latency.Count > 0 {
		platform, direct := w.Platform.Latency, w.Direct.Latency
		r.Added = append(r.Added, Added{w.Kind, w.Workload, w.Pace, platform.P50 - direct.P50, platform.P99 - direct.P99})
	}
}

// addContest adds the figures of rivals, compared with one action alone.
func (r *Report) addContest(c Contest) {
	for _, w := range r.Warm {
		if w.Kind == c.Kind && w.Workload == (Workload{}).String() && w.Concurrency == alone && w.Platform.Rate > 0 {
			c.Share = c.Platform.Rate / w.Platform.Rate
		}
	}
	r.Contests = append(r.Contests, c)
}

// WriteJSON writes the report as indented JSON. Durations are in the unit that
// their key ends in.
func (r Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(r)
}

// MarshalJSON implements [json.Marshaler].
func (r Report) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Started     time.Time  `json:"started"`
		Took        float64    `json:"took_s"`
		Incomplete  string     `json:"incomplete,omitempty"`
		APIHost     string     `json:"apihost"`
		Build       string     `json:"build,omitempty"`
		Versus      string     `json:"versus,omitempty"`
		VersusBuild string     `json:"versus_build,omitempty"`
		Machine     Machine    `json:"machine"`
		Setup       Setup      `json:"setup"`
		Failures    int64      `json:"failures"`
		Cold        []Cold     `json:"cold"`
		Warm        []Warm     `json:"warm"`
		Replays     []Replay   `json:"replays,omitempty"`
		Contests    []Contest  `json:"contests,omitempty"`
		Overloads   []Overload `json:"overloads,omitempty"`
		Left        []Left     `json:"left,omitempty"`
		Added       []Added    `json:"added"`
		Records     []Records  `json:"records"`
	}{r.Started, r.Took.Seconds(), r.Incomplete, r.APIHost, r.Build, r.Versus, r.VersusBuild, r.Machine, r.Setup, r.Failures(), r.Cold, r.Warm, r.Replays, r.Contests, r.Overloads, r.Left, r.Added, r.Records})
}

// MarshalJSON implements [json.Marshaler].
func (w Warm) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Kind        string  `json:"kind"`
		Workload    string  `json:"workload"`
		Pace        string  `json:"pace"`
		Concurrency int     `json:"concurrency,omitempty"`
		Offered     float64 `json:"offered_per_second,omitempty"`
		Share       float64 `json:"share,omitempty"`
		Platform    Side    `json:"platform"`
		Versus      *Side   `json:"versus,omitempty"`
		Ratios      []Ratio `json:"ratios,omitempty"`
		Alone       *Side   `json:"one_action,omitempty"`
		OfAlone     []Ratio `json:"one_action_ratios,omitempty"`
		Direct      *Side   `json:"direct,omitempty"`
		Hop         *Side   `json:"bare_hop,omitempty"`
		OfHop       []Ratio `json:"bare_hop_ratios,omitempty"`
		CPU         []CPU   `json:"cpu,omitempty"`
		VersusCPU   []CPU   `json:"versus_cpu,omitempty"`
		HopCPU      []CPU   `json:"bare_hop_cpu,omitempty"`
		Generator   float64 `json:"generator_cpu_us"`
	}{
		w.Kind, w.Workload, w.Pace, w.Concurrency, w.Offered, w.Share, w.Platform, w.Versus, w.Ratios, w.Alone, w.OfAlone,
		w.Direct, w.Hop, w.OfHop, w.CPU, w.VersusCPU, w.HopCPU, micros(w.Generator),
	})
}

// MarshalJSON implements [json.Marshaler].
func (c Contest) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Kind      string  `json:"kind"`
		Actions   int     `json:"actions"`
		Share     float64 `json:"share_of_one_action,omitempty"`
		Least     float64 `json:"least"`
		Most      float64 `json:"most"`
		Platform  Side    `json:"platform"`
		Versus    *Side   `json:"versus,omitempty"`
		Ratios    []Ratio `json:"ratios,omitempty"`
		CPU       []CPU   `json:"cpu,omitempty"`
		VersusCPU []CPU   `json:"versus_cpu,omitempty"`
		Generator float64 `json:"generator_cpu_us"`
	}{c.Kind, c.Actions, c.Share, c.Least, c.Most, c.Platform, c.Versus, c.Ratios, c.CPU, c.VersusCPU, micros(c.Generator)})
}

// MarshalJSON implements [json.Marshaler].
func (r Replay) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Kind      string  `json:"kind"`
		Endpoint  string  `json:"endpoint"`
		Functions int     `json:"functions"`
		Calls     int     `json:"calls"`
		Speed     float64 `json:"speed"`
		Side      Side    `json:"side"`
		Warm      Latency `json:"warm"`
		Cold      Latency `json:"cold"`
		CPU       []CPU   `json:"cpu,omitempty"`
		Generator float64 `json:"generator_cpu_us"`
	}{r.Kind, r.Endpoint, r.Functions, r.Calls, r.Speed, r.Side, r.Warm, r.Cold, r.CPU, micros(r.Generator)})
}

// MarshalJSON implements [json.Marshaler].
func (c CPU) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Process   string  `json:"process"`
		Processes int     `json:"processes"`
		Ended     int     `json:"ended,omitempty"`
		Own       float64 `json:"own_us"`
		Children  float64 `json:"children_us"`
	}{c.Process, c.Processes, c.Ended, micros(c.Own), micros(c.Children)})
}

// MarshalJSON implements [json.Marshaler].
func (a Added) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Kind     string  `json:"kind"`
		Workload string  `json:"workload"`
		Pace     string  `json:"pace"`
		P50      float64 `json:"p50_us"`
		P99      float64 `json:"p99_us"`
	}{a.Kind, a.Workload, a.Pace, micros(a.P50), micros(a.P99)})
}

func setupOf(c Config) Setup {
	w := Setup{
		Memory: c.Memory.String(), AtOnce: c.ActionConcurrency, Rounds: c.Rounds,
		Round: c.Duration.Seconds(), Warmup: c.Warmup.Seconds(), Seed: c.Seed, Outstanding: c.Outstanding, Timeout: c.Timeout.Seconds(),
	}
	if c.Direct != nil {
		w.Sandboxes = c.Sandboxes
	}
	return w
}

// thisMachine describes the machine as far as it tells.
func thisMachine() Machine {
	m := Machine{CPUs: runtime.NumCPU(), Go: runtime.Version()}
	if release, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel = fmt.Sprintf("Linux %s", strings.TrimSpace(string(release)))
	}
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return m
	}
	for line := range strings.Lines(string(info)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			m.Model = strings.TrimSpace(value)
			break
		}
	}
	return m
}
