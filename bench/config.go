// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/whirl-faas/whirl/client"
	"github.com/whirl-faas/whirl/whisk"
)

// Config says what to measure and where. Only APIHost and Auth have no default.
type Config struct {
	APIHost string // as in [client.Config]
	Auth    string // "UUID:KEY"

	VersusHost string // an endpoint to compare with, in turns; "" for none
	VersusAuth string // its key

	// Kinds are the families to measure: "native", "nodejs", "python", or a kind
	// of one of them such as "nodejs:20". None means each that the server offers.
	Kinds  []string
	Memory whisk.Bytes // of each action's container

	Workloads []Workload // what the loads' actions do; none means the no-op

	Concurrency []int         // connections at once of a closed loop; each is a course of its own, as is each rate and burst
	Rates       []float64     // requests per second of an open loop
	Arrivals    Arrivals      // of those rates
	Bursts      []int         // requests at the same instant, of an open loop
	BurstEvery  time.Duration // from one burst to the next
	Outstanding int           // requests of an open loop under way, at most
	Seed        uint64        // of the arrivals

	Rounds   int           // of each side of a workload; figures are medians over them
	Duration time.Duration // of one round
	Warmup   time.Duration // of load before a workload's first round, and again while cold starts still happen
	Rivals   []Rivals      // workloads of several actions at once, for each kind

	Trace      *Trace  // to replay in each kind; nil for none
	TraceSpeed float64 // 2 sends it in half the time

	ColdSequential int           // cold starts one after the other, per kind; 0 for none
	ColdBurst      int           // cold starts at once, per kind; 0 for none
	Timeout        time.Duration // of one request

	Processes []Process // whose CPU time to report; may be empty
	Direct    Direct    // nil measures the platform alone
	Sandboxes int       // at most, of the direct side: each takes one connection, because it runs one activation at a time
}

// Rivals is a workload of several actions that compete for the containers of the
// platform. Each has the same number of connections, give or take one.
type Rivals struct {
	Actions     int
	Connections int // of all together, at least one for each
}

// Process is one whose CPU time counts as the platform's.
type Process struct {
	Name string // in the report; looked for among the machine's processes if PID is 0
	PID  int
}

// Direct makes a started but empty sandbox of a kind, outside the platform but
// as the platform would. Bench sends /init and /run to the address. The caller
// takes what the sandbox writes off its pipes. Stop destroys it and is called once.
type Direct func(ctx context.Context, kind string) (address whisk.Address, stop func(), err error)

// Default returns a run of about three minutes with all three kinds.
func Default() Config {
	return Config{
		Memory:         128 * whisk.MB,
		Concurrency:    []int{1, 10, 64},
		Arrivals:       Poisson,
		BurstEvery:     time.Second,
		Outstanding:    1000,
		Seed:           1,
		TraceSpeed:     1,
		Rounds:         5,
		Duration:       2 * time.Second,
		Warmup:         time.Second,
		ColdSequential: 20,
		ColdBurst:      20,
		Timeout:        70 * time.Second,
		Sandboxes:      10,
	}
}

// Validate reports, as Invalid, what is wrong with c and what is allowed.
func (c Config) Validate() error {
	if err := (client.Config{APIHost: c.APIHost, Auth: c.Auth}).Validate(); err != nil {
		return err
	}
	for _, validate := range []func() error{c.validateVersus, c.validateKinds, c.validatePaces} {
		if err := validate(); err != nil {
			return err
		}
	}
	for _, r := range c.Rivals {
		if r.Actions < 2 || r.Connections < r.Actions || r.Connections > 10_000 {
			return whisk.Errorf(whisk.Invalid, "%d rival actions with %d connections: want at least 2 actions, a connection for each, and at most 10000", r.Actions, r.Connections)
		}
	}
	loads := len(c.paces()) + len(c.Rivals)
	switch {
	case c.Trace != nil && !(c.TraceSpeed >= 0.001 && c.TraceSpeed <= 1000):
		return whisk.Errorf(whisk.Invalid, "speed %g of the trace is not in the range of 0.001 to 1000", c.TraceSpeed)
	case c.Auth == "":
		return whisk.Errorf(whisk.Invalid, "a key is needed, UUID:KEY")
	case c.Memory < whisk.MB:
		return whisk.Errorf(whisk.Invalid, "memory %s is less than 1 MB", c.Memory)
	case c.Rounds < 1 && loads > 0:
		return whisk.Errorf(whisk.Invalid, "rounds %d is less than 1", c.Rounds)
	case c.Duration < time.Millisecond && loads > 0:
		return whisk.Errorf(whisk.Invalid, "duration %s of a round is less than 1ms", c.Duration)
	case c.Warmup < 0:
		return whisk.Errorf(whisk.Invalid, "warm-up %s is negative", c.Warmup)
	case c.ColdSequential < 0 || c.ColdBurst < 0:
		return whisk.Errorf(whisk.Invalid, "the number of cold starts is negative")
	case c.Timeout < time.Millisecond:
		return whisk.Errorf(whisk.Invalid, "timeout %s of a request is less than 1ms", c.Timeout)
	case c.Direct != nil && c.Sandboxes < 1:
		return whisk.Errorf(whisk.Invalid, "the direct side needs at least one sandbox")
	}
	return nil
}

func (c Config) validateVersus() error {
	if c.VersusHost == "" {
		return nil
	}
	versus := client.Config{APIHost: c.VersusHost, Auth: c.VersusAuth}
	if err := versus.Validate(); err != nil {
		return fmt.Errorf("the endpoint to compare with: %w", err)
	}
	if c.VersusAuth == "" {
		return whisk.Errorf(whisk.Invalid, "a key of the endpoint to compare with is needed, UUID:KEY")
	}
	return nil
}

func (c Config) validateKinds() error {
	for _, kind := range c.Kinds {
		if !(Workload{}).runs(family(kind)) {
			return whisk.Errorf(whisk.Invalid, "no workload for kind %q, want one of %s", kind, strings.Join(families, ", "))
		}
		for _, w := range c.Workloads {
			if !w.runs(family(kind)) {
				return whisk.Errorf(whisk.Invalid, "workload %s cannot be had in kind %q, only in nodejs and python", w, kind)
			}
		}
	}
	return nil
}

func (c Config) validatePaces() error {
	for _, n := range c.Concurrency {
		if n < 1 || n > 10_000 {
			return whisk.Errorf(whisk.Invalid, "concurrency %d is not in the range of 1 to 10000", n)
		}
	}
	for _, rate := range c.Rates {
		if !(rate > 0 && rate <= 1e6) {
			return whisk.Errorf(whisk.Invalid, "rate %g is not above 0 and at most 1000000 per second", rate)
		}
	}
	for _, n := range c.Bursts {
		if n < 1 || n > c.Outstanding {
			return whisk.Errorf(whisk.Invalid, "burst %d is not in the range of 1 to %d, the most that may be outstanding", n, c.Outstanding)
		}
	}
	switch {
	case c.Arrivals != Poisson && c.Arrivals != Constant:
		return whisk.Errorf(whisk.Invalid, "arrivals %q: want %s or %s", c.Arrivals, Poisson, Constant)
	case c.BurstEvery < time.Millisecond:
		return whisk.Errorf(whisk.Invalid, "time %s between bursts is less than 1ms", c.BurstEvery)
	case c.Outstanding < 1 || c.Outstanding > 10_000:
		return whisk.Errorf(whisk.Invalid, "outstanding %d is not in the range of 1 to 10000", c.Outstanding)
	}
	return nil
}

func family(kind string) string {
	name, _, _ := strings.Cut(kind, ":")
	return name
}

// concrete turns what the user asked for into a kind that the API takes.
func concrete(kind string) string {
	if strings.Contains(kind, ":") {
		return kind
	}
	return kind + ":default"
}

// directConnections returns how many connections the direct side has beside so
// many of the platform's.
func (c Config) directConnections(concurrency int) int { return min(concurrency, c.Sandboxes) }

// hitsDirectly says whether a workload is compared with sandboxes. A sequence
// takes more than one activation of one of them.
func (c Config) hitsDirectly(w Workload) bool {
	return c.Direct != nil && len(c.Concurrency) > 0 && w.name != "sequence"
}

// workloads returns what to run in a kind.
func (c Config) workloads(kind string) []Workload {
	if len(c.Workloads) == 0 {
		return []Workload{{}}
	}
	return slices.DeleteFunc(slices.Clone(c.Workloads), func(w Workload) bool { return !w.runs(family(kind)) })
}

func (c Config) endpoints() int {
	if c.VersusHost != "" {
		return 2
	}
	return 1
}

// steps is how many steps the display shows for a kind.
func (c Config) steps(kind string) int {
	n := len(c.Rivals)
	if c.ColdSequential > 0 {
		n++ // of all endpoints in turns
	}
	if c.Trace != nil {
		n += c.endpoints()
	}
	if c.ColdBurst > 0 {
		n += c.endpoints()
	}
	for _, w := range c.workloads(kind) {
		n += len(c.paces()) * c.Rounds * c.endpoints()
		if c.hitsDirectly(w) {
			n += len(c.Concurrency) * c.Rounds
		}
	}
	return n
}

// kinds returns what to measure: what was asked for, or what all servers offer.
func (c Config) kinds(infos []client.ServerInfo) ([]string, error) {
	if len(c.Kinds) > 0 {
		return slices.Clone(c.Kinds), nil
	}
	var kinds []string
	for _, name := range families {
		missing := func(info client.ServerInfo) bool { return len(info.Runtimes[name]) == 0 }
		if !slices.ContainsFunc(infos, missing) {
			kinds = append(kinds, name)
		}
	}
	if len(kinds) == 0 {
		return nil, whisk.Errorf(whisk.Unavailable, "the server offers none of the kinds %s", strings.Join(families, ", "))
	}
	return kinds, nil
}
