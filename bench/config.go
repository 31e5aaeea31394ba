// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"errors"
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

	// MoreAuths are keys of more of the platform's namespaces. Each namespace gets
	// the actions of a workload, and they are called in turns.
	MoreAuths []string

	// Kinds are the families to measure: "native", "nodejs", "python", or a kind
	// of one of them such as "nodejs:20". None means each that the server offers.
	Kinds  []string
	Memory whisk.Bytes // of each action's container

	// ActionConcurrency is how many activations at once a container may run, by
	// the limit of each action and in the sandboxes of the direct side. 0 asks for
	// nothing, which is one. Only nodejs can run more.
	ActionConcurrency int

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

	Overload float64 // how many times the platform's capacity to ask for, beside that itself; 0 for not at all

	Trace      *Trace  // to replay in each kind; nil for none
	TraceSpeed float64 // 2 sends it in half the time

	ColdSequential int           // cold starts one after the other, per kind; 0 for none
	ColdBurst      int           // cold starts at once, per kind; 0 for none
	Timeout        time.Duration // of one request

	Processes       []Process // whose CPU time to report; may be empty
	VersusProcesses []Process // and of the endpoint to compare with
	Direct          Direct    // nil measures the platform alone
	Sandboxes       int       // at most, of the direct side: each takes as many connections as it runs activations at a time
	Hop             Hop       // nil for no bare hop; it needs Direct
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

// Direct makes a started but empty sandbox of a kind, which runs so many
// activations at a time, outside the platform but as the platform would. Bench
// sends /init and /run to the address. The caller takes what the sandbox writes
// off its pipes. Stop destroys it and is called once.
type Direct func(ctx context.Context, kind string, concurrency int) (address whisk.Address, stop func(), err error)

// Hop starts a process that runs [ServeHop] for these sandboxes, and tells where
// it listens. Stop ends it and is called once.
type Hop func(ctx context.Context, sandboxes []whisk.Address, concurrency int) (address whisk.Address, pid int, stop func(), err error)

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
	loads := len(c.paces())+len(c.Rivals) > 0 || c.Overload > 0
	switch {
	case c.Trace != nil && !(c.TraceSpeed >= 0.001 && c.TraceSpeed <= 1000):
		return whisk.Errorf(whisk.Invalid, "speed %g of the trace is not in the range of 0.001 to 1000", c.TraceSpeed)
	case c.Overload != 0 && !(c.Overload > 1 && c.Overload <= 100):
		return whisk.Errorf(whisk.Invalid, "overload of %g times the capacity is not above 1 and at most 100", c.Overload)
	case c.Overload != 0 && c.Outstanding < capacityOf:
		return whisk.Errorf(whisk.Invalid, "outstanding %d is less than the %d connections that find what to overload", c.Outstanding, capacityOf)
	case c.Auth == "":
		return whisk.Errorf(whisk.Invalid, "a key is needed, UUID:KEY")
	case c.Memory < whisk.MB:
		return whisk.Errorf(whisk.Invalid, "memory %s is less than 1 MB", c.Memory)
	case c.Rounds < 1 && loads:
		return whisk.Errorf(whisk.Invalid, "rounds %d is less than 1", c.Rounds)
	case c.Duration < time.Millisecond && loads:
		return whisk.Errorf(whisk.Invalid, "duration %s of a round is less than 1ms", c.Duration)
	case c.Warmup < 0:
		return whisk.Errorf(whisk.Invalid, "warm-up %s is negative", c.Warmup)
	case c.ColdSequential < 0 || c.ColdBurst < 0:
		return whisk.Errorf(whisk.Invalid, "the number of cold starts is negative")
	case c.Timeout < time.Millisecond:
		return whisk.Errorf(whisk.Invalid, "timeout %s of a request is less than 1ms", c.Timeout)
	case c.Direct != nil && c.Sandboxes < 1:
		return whisk.Errorf(whisk.Invalid, "the direct side needs at least one sandbox")
	case c.Hop != nil && c.Direct == nil:
		return whisk.Errorf(whisk.Invalid, "a bare hop needs the sandboxes of the direct side")
	case c.Direct != nil && !c.hasDirect():
		return whisk.Errorf(whisk.Invalid, "the direct side needs connections, a rate or bursts, and a workload that is no sequence")
	}
	return nil
}

func (c Config) validateVersus() error {
	for _, auth := range c.MoreAuths {
		if err := (client.Config{APIHost: c.APIHost, Auth: auth}).Validate(); err != nil || auth == "" {
			return errors.Join(whisk.Errorf(whisk.Invalid, "a key of another namespace: want UUID:KEY"), err)
		}
	}
	switch {
	case c.VersusHost == "" && len(c.VersusProcesses) > 0:
		return whisk.Errorf(whisk.Invalid, "processes of an endpoint to compare with, and there is none")
	case c.VersusHost == "":
		return nil
	case c.Overload != 0:
		return whisk.Errorf(whisk.Invalid, "an overload is of one endpoint, and cannot be compared with another: measure that by a run of its own")
	case len(c.MoreAuths) > 0:
		return whisk.Errorf(whisk.Invalid, "several namespaces cannot be compared with another endpoint")
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
	if c.ActionConcurrency < 0 || c.ActionConcurrency > 1000 {
		return whisk.Errorf(whisk.Invalid, "concurrency %d of an action is not in the range of 1 to 1000", c.ActionConcurrency)
	}
	for _, kind := range c.Kinds {
		if !c.runsAtOnce(family(kind)) {
			return whisk.Errorf(whisk.Invalid, "containers of kind %q run one activation at a time, only those of nodejs may be asked for %d", kind, c.ActionConcurrency)
		}
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

// atOnce is how many activations a container runs at a time.
func (c Config) atOnce() int { return max(c.ActionConcurrency, 1) }

// runsAtOnce says whether containers of a family run as many activations at a
// time as they are to.
func (c Config) runsAtOnce(family string) bool { return c.atOnce() == 1 || family == "nodejs" }

// directConnections returns how many connections the direct side has beside
// those of the platform, and to how many sandboxes.
func (c Config) directConnections(p pace) (connections, sandboxes int) {
	connections = min(c.connections(p), c.Sandboxes*c.atOnce())
	return connections, (connections + c.atOnce() - 1) / c.atOnce()
}

// hitsDirectly says whether a workload is compared with sandboxes. A sequence
// takes more than one activation of one of them.
func (c Config) hitsDirectly(w Workload) bool {
	return c.Direct != nil && len(c.paces()) > 0 && w.name != "sequence"
}

// hasDirect says whether anything is compared with sandboxes.
func (c Config) hasDirect() bool {
	if len(c.Workloads) == 0 {
		return c.hitsDirectly(Workload{})
	}
	return slices.ContainsFunc(c.Workloads, c.hitsDirectly)
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

// coldBatches is how often cold starts are made at once: with another endpoint
// as often as rounds, so that there are pairs to compare.
func (c Config) coldBatches() int {
	if c.endpoints() > 1 {
		return max(c.Rounds, 1)
	}
	return 1
}

// steps is how many steps the display shows for a kind.
func (c Config) steps(kind string) int {
	n := len(c.Rivals)
	if c.endpoints() > 1 {
		n *= c.endpoints() * c.Rounds // otherwise all rounds are one
	}
	if c.ColdSequential > 0 {
		n++ // of all endpoints in turns
	}
	if c.Trace != nil {
		n += c.endpoints()
	}
	if c.ColdBurst > 0 {
		n += c.endpoints() * c.coldBatches()
	}
	for _, w := range c.workloads(kind) {
		if c.Overload > 0 {
			n += 1 + 2*c.Rounds
		}
		n += len(c.paces()) * c.Rounds * c.sides(w)
	}
	return n
}

// sides is how many sides the courses of a workload have.
func (c Config) sides(w Workload) int {
	n := c.endpoints()
	if w.actions() > 1 {
		n++ // one action alone
	}
	if c.hitsDirectly(w) {
		n++
		if c.Hop != nil {
			n++
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
		if !slices.ContainsFunc(infos, missing) && c.runsAtOnce(name) {
			kinds = append(kinds, name)
		}
	}
	if len(kinds) == 0 {
		return nil, whisk.Errorf(whisk.Unavailable, "the server offers none of the kinds %s", strings.Join(families, ", "))
	}
	return kinds, nil
}
