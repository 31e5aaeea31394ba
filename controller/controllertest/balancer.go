// SPDX-License-Identifier: Apache-2.0

package controllertest

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/whisk"
)

// Balancer runs invocations by a function instead of on containers.
type Balancer struct {
	// Run is what an action does: it gets the bodies that a container would and
	// says what came out. Nil answers with the arguments.
	Run func(ctx context.Context, inv *whisk.Invocation, run RunBody) whisk.Outcome
	// Refuse, if not nil, decides who is not admitted.
	Refuse func(inv *whisk.Invocation) error
	// Crowded, if not nil, decides what Check returns.
	Crowded func(key whisk.ActionKey, patience time.Duration) error
	// Nodes is what Invokers returns.
	Nodes []whisk.NodeStanding
	// Others is how many controllers there are beside this one.
	Others int
	// Quick leaves the bodies alone, for benchmarks.
	Quick bool

	// Cold has nobody have a container at once, so that actions may take longer than
	// their limits.
	Cold bool

	mu      sync.Mutex
	places  int
	retired []Retired
}

// RunBody is the body of /run.
type RunBody struct {
	Value       json.RawMessage `json:"value"`
	Namespace   string          `json:"namespace"`
	ActionName  string          `json:"action_name"`
	Version     string          `json:"action_version"`
	Activation  string          `json:"activation_id"`
	Transaction string          `json:"transaction_id"`
	Deadline    string          `json:"deadline"`
	APIKey      *string         `json:"api_key"`
}

// Retired is a call of Retire.
type Retired struct {
	Name whisk.FullName
	Keep whisk.Revision
}

// Admit gives out places as Refuse allows.
func (b *Balancer) Admit(inv *whisk.Invocation) (controller.Admission, error) {
	if b.Refuse != nil {
		if err := b.Refuse(inv); err != nil {
			return nil, err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.places++
	return admission{b, inv}, nil
}

type admission struct {
	b   *Balancer
	inv *whisk.Invocation
}

// Invoke implements [controller.Admission].
func (a admission) Invoke(ctx context.Context) whisk.Outcome {
	a.Cancel()
	return a.b.run(ctx, a.inv)
}

// Cancel implements [controller.Admission].
func (a admission) Cancel() {
	a.b.mu.Lock()
	defer a.b.mu.Unlock()
	a.b.places--
}

// Invoke runs the invocation, unless Refuse is against it.
func (b *Balancer) Invoke(ctx context.Context, inv *whisk.Invocation) (whisk.Outcome, error) {
	if b.Refuse != nil {
		if err := b.Refuse(inv); err != nil {
			return whisk.Outcome{}, err
		}
	}
	return b.run(ctx, inv), nil
}

// TryInvoke is Invoke: unless Cold there is a container for all who are not refused.
func (b *Balancer) TryInvoke(ctx context.Context, inv *whisk.Invocation) (outcome whisk.Outcome, rest func() whisk.Outcome, taken bool) {
	if b.Cold || b.Refuse != nil && b.Refuse(inv) != nil {
		return whisk.Outcome{}, nil, false
	}
	return b.run(ctx, inv), nil, true
}

// Check asks Crowded.
func (b *Balancer) Check(key whisk.ActionKey, patience time.Duration) error {
	if b.Crowded == nil {
		return nil
	}
	return b.Crowded(key, patience)
}

// Invokers returns Nodes.
func (b *Balancer) Invokers() []whisk.NodeStanding { return b.Nodes }

// Controllers returns how many others there are, and one more.
func (b *Balancer) Controllers() int { return 1 + b.Others }

// Drain has nothing to wait for: Run watches the context of Invoke.
func (b *Balancer) Drain(context.Context) error { return nil }

// run claims the invocation, builds its bodies and runs it.
func (b *Balancer) run(ctx context.Context, inv *whisk.Invocation) whisk.Outcome {
	if inv.Claim != nil {
		if err := inv.Claim(ctx); err != nil {
			return Outcome(inv, whisk.ErrorResponse(whisk.WhiskError, err.Error()))
		}
	}
	body := inv.RunBody(inv.Received.Add(inv.Limits.Timeout))
	if b.Quick {
		return Outcome(inv, whisk.Response{Result: json.RawMessage(`{"ok":true}`), Size: 11})
	}
	var run RunBody
	if err := json.Unmarshal(body, &run); err != nil {
		return Outcome(inv, whisk.ErrorResponse(whisk.WhiskError, "bad /run body: "+err.Error()))
	}
	if b.Run == nil {
		return Outcome(inv, whisk.Response{Result: run.Value, Size: len(run.Value)})
	}
	return b.Run(ctx, inv, run)
}

// Outcome is a warm outcome of now, with the given response.
func Outcome(inv *whisk.Invocation, response whisk.Response) whisk.Outcome {
	now := time.Now()
	return whisk.Outcome{Response: response, Start: now, Wait: now.Sub(inv.Received), Container: "c1"}
}

// Retire notes the call.
func (b *Balancer) Retire(name whisk.FullName, keep whisk.Revision) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.retired = append(b.retired, Retired{name, keep})
}

// Retirements returns the calls of Retire so far.
func (b *Balancer) Retirements() []Retired {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]Retired(nil), b.retired...)
}

// Places returns how many places are given out and neither used nor given back.
func (b *Balancer) Places() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.places
}
