// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/whirl-faas/whirl/driver/fake"
	"github.com/whirl-faas/whirl/whisk"
)

// Action is what calls name.
type Action struct {
	Namespace   string // "" for guest
	Name        string
	Revision    whisk.Revision
	Memory      whisk.Bytes
	Concurrency int
	Instances   int // containers of a revision at once; 0 without a bound
	Timeout     time.Duration
}

// Call is one invocation and what came of it.
type Call struct {
	ID         whisk.ActivationID
	Controller whisk.ControllerID
	Action     Action
	Received   time.Time
	StartBy    time.Time
	Claims     int // how often the balancer said that a container is at hand

	Ended    time.Time
	Refused  error // never accepted
	Outcome  whisk.Outcome
	Answered int // how often the call returned

	Runner whisk.ControllerID // who last sent it to a container; "" if nobody did
}

// key is what the platform knows the action by.
func (a Action) key() whisk.ActionKey {
	namespace := cmp.Or(a.Namespace, "guest")
	return whisk.ActionKey{Namespace: namespace, Action: whisk.FullName{Namespace: namespace, Name: a.Name}, Revision: a.Revision}
}

// code is what the action's containers are initialised with: no two revisions
// and no two namespaces share it.
func (a Action) code() string {
	return a.key().Action.Path() + "@" + strconv.FormatInt(int64(a.Revision), 10)
}

// parameters are what a run gets and, from a well-behaved action, gives back.
type parameters struct {
	Code       string             `json:"code"`
	Controller whisk.ControllerID `json:"controller"`
	Activation whisk.ActivationID `json:"activation"`
}

// calls are all calls of a cluster, and what its sandboxes saw of them.
type calls struct {
	running sync.WaitGroup

	mu     sync.Mutex
	all    []*Call
	faults []string                          // what the sandboxes found wrong
	memory map[whisk.ContainerID]whisk.Bytes // of every sandbox that was ever asked for
}

// observed is a controller's connection to a container. It notes which
// activations the controller sends there.
type observed struct {
	net.Conn
	by    whisk.ControllerID
	calls *calls
}

var sentActivation = regexp.MustCompile(`"activation_id":"([0-9a-f]{32})"`)

func (o *observed) Write(p []byte) (int, error) {
	if found := sentActivation.FindSubmatch(p); found != nil {
		o.calls.sent(whisk.ActivationID(found[1]), o.by)
	}
	return o.Conn.Write(p)
}

// sent notes who sends an activation to a container.
func (c *calls) sent(id whisk.ActivationID, by whisk.ControllerID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if call := c.callLocked(id); call != nil {
		call.Runner = by
	}
}

// runner returns who last sent an activation to a container.
func (c *calls) runner(id whisk.ActivationID) whisk.ControllerID {
	c.mu.Lock()
	defer c.mu.Unlock()
	if call := c.callLocked(id); call != nil {
		return call.Runner
	}
	return ""
}

// callLocked returns the call of an activation, nil if it is none of Invoke's.
func (c *calls) callLocked(id whisk.ActivationID) *Call {
	n, err := strconv.ParseUint(string(id), 16, 64)
	if err != nil || n < 1 || n > uint64(len(c.all)) {
		return nil
	}
	return c.all[n-1]
}

// Invoke begins a call on a controller; it must start within the given time.
// Wait waits for all of them.
func (c *Cluster) Invoke(ctl *Controller, action Action, within time.Duration) *Call {
	now := time.Now()
	call := &Call{Controller: ctl.ID, Action: action, Received: now, StartBy: now.Add(within)}
	c.calls.mu.Lock()
	call.ID = whisk.ActivationID(fmt.Sprintf("%032x", len(c.calls.all)+1))
	c.calls.all = append(c.calls.all, call)
	c.calls.mu.Unlock()
	c.calls.running.Go(func() {
		outcome, err := c.invoke(ctl, call)
		if err == nil {
			_, _ = outcome.AwaitLogs(c.ctx) // may fail: agents are lost
		}
		c.calls.mu.Lock()
		defer c.calls.mu.Unlock()
		call.Outcome, call.Refused, call.Ended = outcome, err, time.Now()
		call.Answered++
	})
	return call
}

// invoke takes one of the two ways on which controllers invoke, by the call's number.
func (c *Cluster) invoke(ctl *Controller, call *Call) (whisk.Outcome, error) {
	inv := c.invocation(call)
	if call.ID[len(call.ID)-1]%2 == 0 {
		return ctl.Balancer.Invoke(c.ctx, inv)
	}
	outcome, rest, taken := ctl.Balancer.TryInvoke(c.ctx, inv)
	switch {
	case !taken:
		return ctl.Balancer.Invoke(c.ctx, inv)
	case rest != nil:
		return rest(), nil
	}
	return outcome, nil
}

// Wait returns when no call is under way.
func (c *Cluster) Wait() { c.calls.running.Wait() }

func (c *Cluster) invocation(call *Call) *whisk.Invocation {
	action := call.Action
	limits := whisk.ActionLimits{Timeout: action.Timeout, Memory: action.Memory, Logs: whisk.MB, Concurrency: action.Concurrency}
	if action.Instances > 0 {
		limits.Instances = new(action.Instances)
	}
	value, err := json.Marshal(parameters{action.code(), call.Controller, call.ID})
	if err != nil {
		panic(err) // strings always encode
	}
	return &whisk.Invocation{
		Activation:  call.ID,
		Key:         action.key(),
		Spec:        whisk.ContainerSpec{Kind: "fake:1", Memory: action.Memory},
		Limits:      limits,
		Label:       "sim",
		Received:    call.Received,
		StartBy:     call.StartBy,
		ResultLimit: whisk.MB,
		Sentinels:   true,
		Claim: func(context.Context) error {
			c.calls.mu.Lock()
			defer c.calls.mu.Unlock()
			call.Claims++
			return nil
		},
		InitBody: func(context.Context, time.Time) ([]byte, error) {
			return fmt.Appendf(nil, `{"value":{"name":%q,"main":"main","code":%q}}`, action.Name, action.code()), nil
		},
		RunBody: func(time.Time) []byte {
			return fmt.Appendf(nil, `{"value":%s,"activation_id":%q}`, value, call.ID)
		},
	}
}

// watch has a script tell what arrives at sandboxes that should not.
func (c *calls) watch(script fake.Script) fake.Script {
	create, answer := script.Create, script.Run
	script.Create = func(rng *rand.Rand, req whisk.CreateSandbox) fake.Creation {
		c.note(req)
		if create == nil {
			return fake.Creation{}
		}
		return create(rng, req)
	}
	script.Run = func(rng *rand.Rand, call fake.Call) fake.Answer {
		var got parameters
		if err := json.Unmarshal(call.Value, &got); c.asked(call.Activation) && (err != nil || got.Code != call.Code || got.Activation != call.Activation) {
			c.blame("%s holds %s and was asked to run %s", call.Container, call.Code, call.Value)
		}
		if answer == nil {
			return fake.Answer{}
		}
		return answer(rng, call)
	}
	return script
}

// asked reports whether an activation is one of Invoke's.
func (c *calls) asked(id whisk.ActivationID) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.callLocked(id) != nil
}

func (c *calls) note(req whisk.CreateSandbox) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.memory == nil {
		c.memory = map[whisk.ContainerID]whisk.Bytes{}
	}
	c.memory[req.ID] = req.Spec.Memory
}

func (c *calls) blame(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, fmt.Sprintf(format, args...))
}

// History is what happened in a cluster, from the outside.
type History struct {
	Calls      []Call
	Faults     []string // what sandboxes found wrong
	Nodes      []NodeHistory
	NodeMemory whisk.Bytes
	Memory     map[whisk.ContainerID]whisk.Bytes
	Messages   []Message // between controllers, scheduler and agents

	Calm      time.Time      // since then nothing is wrong, and all know of all; zero if it never came to that
	Idle      []time.Time    // when all idle containers must have been given back
	Emptied   []whisk.NodeID // drained, and so empty at the last Idle
	StemCells int            // that are kept prewarmed for each node
}

// NodeHistory is what the sandboxes of one node saw.
type NodeHistory struct {
	Node       whisk.NodeID
	Events     []fake.Event
	Violations []fake.Violation
	Living     int      // sandboxes that exist
	Records    int      // that its agents left in their ledger
	Tenants    []Tenant // whose containers were by the agents' word, at each run
}

// Tenant is who held a container by its agent's word when a run began there, and
// who had sent the run.
type Tenant struct {
	At         time.Time
	Container  whisk.ContainerID
	Activation whisk.ActivationID
	Lessee     whisk.ControllerID // "" for nobody
	Runner     whisk.ControllerID // "" if it is not known
}

// History returns what happened so far. It is whole when nothing is under way.
func (c *Cluster) History() History {
	c.calls.mu.Lock()
	defer c.calls.mu.Unlock()
	h := History{Faults: slices.Clone(c.calls.faults), NodeMemory: c.config.NodeMemory, Memory: maps.Clone(c.calls.memory), Messages: c.trace.all()}
	for _, call := range c.calls.all {
		h.Calls = append(h.Calls, *call)
	}
	for _, n := range c.nodes {
		h.Nodes = append(h.Nodes, n.history())
	}
	return h
}
