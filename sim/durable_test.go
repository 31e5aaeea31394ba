// SPDX-License-Identifier: Apache-2.0

package sim_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/driver/fake"
	"github.com/whirl-faas/whirl/sim"
	"github.com/whirl-faas/whirl/whisk"
)

// TestAcceptedActivationsEndInOneRecord has one to three whole controllers, with
// their balancers, accept activations, sequences, compositions and firings on one
// store. They are killed again and again, come back or not, lose the scheduler, and
// have disks that are slow or err; who is no more is known late. [promises.broken]
// says what must hold all the same.
func TestAcceptedActivationsEndInOneRecord(t *testing.T) {
	first := *firstSeed
	if first == 0 {
		first = uint64(time.Now().UnixNano())
	}
	for i := range uint64(max(1, *histories/25)) {
		t.Run(fmt.Sprint("seed ", first+i), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				came, err := playEra(t.Context(), first+i, false)
				if err != nil {
					t.Error(err)
				}
				for _, what := range came.broken() {
					t.Error(what)
				}
				t.Logf("%d accepted, %d records", len(came.accepted), len(came.records))
			})
		})
	}
}

// concurrency is what the action that is called most allows in one container.
const concurrency = 3

// era is a history of several controllers on one store. It has one goroutine,
// except for what is guarded.
type era struct {
	random   *rand.Rand
	cluster  *sim.Cluster
	store    *controllertest.Store // as nobody's disk
	most     int                   // processes at once
	interval time.Duration         // of their recovery
	living   []*process
	later    []relief
	burials  sync.WaitGroup // of those that were killed
	calls    uint64         // so far: each has a number
	lies     bool           // others are taken for dead that live

	registry registry

	mu   sync.Mutex
	came promises // guarded by mu
}

// relief is when something that was done to a process is over, and how.
type relief struct {
	at time.Time
	do func()
}

// playEra plays a history to its end and returns what came of it. With lies the
// controllers take all others for dead.
func playEra(ctx context.Context, seed uint64, lies bool) (promises, error) {
	e := &era{random: rand.New(rand.NewPCG(seed, 7)), store: controllertest.NewStore(), lies: lies}
	e.most = 1 + e.random.IntN(3)
	e.interval = time.Duration(1+e.random.IntN(10)) * time.Second
	if lies {
		e.most, e.interval = 2, 100*time.Millisecond
	}
	e.registry.believed, e.registry.dead = map[whisk.ControllerID]bool{}, map[whisk.ControllerID]bool{}
	e.came.runs = map[run]int{}
	cluster, err := sim.Start(ctx, sim.Config{
		Seed: e.random.Uint64(), Nodes: 2, NodeMemory: whisk.GB, Concurrency: concurrency, Script: e.script(),
	})
	if err != nil {
		return promises{}, err
	}
	e.cluster = cluster
	errs := []error{e.open(ctx)}
	for range 30 + e.random.IntN(120) {
		e.pass(time.Duration(e.random.IntN(200)) * time.Millisecond)
		errs = append(errs, e.step(ctx))
	}
	errs = append(errs, e.close(ctx))
	e.came.queued, e.came.records, e.came.history = e.store.Queued(), e.store.Records(), cluster.History()
	return e.came, errors.Join(errs...)
}

// script makes sandboxes slow, and counts the runs by what they are about: the
// parts of a sequence or a composition that is begun anew have other ids.
func (e *era) script() fake.Script {
	slow := func(rng *rand.Rand) fake.Answer {
		return fake.Answer{Delay: time.Duration(rng.IntN(800)) * time.Millisecond, Stdout: "working\n"}
	}
	return fake.Script{
		Create: func(rng *rand.Rand, _ whisk.CreateSandbox) fake.Creation {
			return fake.Creation{Delay: time.Duration(rng.IntN(1000)) * time.Millisecond}
		},
		Init: func(rng *rand.Rand, _ fake.Call) fake.Answer { return slow(rng) },
		Run: func(rng *rand.Rand, call fake.Call) fake.Answer {
			answer, code := slow(rng), call.Code
			if code == "conductor" {
				answer.Body, code = conduct(call.Value)
			}
			e.mu.Lock()
			e.came.runs[run{code, numberOf(call.Value)}]++
			e.mu.Unlock()
			return answer
		},
	}
}

// conduct is a conductor that runs the action c, and says which of its two runs it was.
func conduct(value json.RawMessage) (says []byte, code string) {
	if bytes.Contains(value, []byte(`"back"`)) {
		return value, "conductor again"
	}
	return fmt.Appendf(nil, `{"action":"c","params":%s,"state":{"n":%d,"back":true}}`, value, numberOf(value)), "conductor"
}

var caller = &controller.Caller{Identity: whisk.Identity{Subject: "guest", Namespace: "guest", UUID: "uuid"}}

func named(name string) whisk.FullName { return whisk.FullName{Namespace: "guest", Name: name} }

// open starts the first processes and makes what is called: an action, a
// sequence of two others, a conductor of a fourth, and a trigger of all.
func (e *era) open(ctx context.Context) error {
	first, err := e.begin()
	if err != nil {
		return err
	}
	for range e.most - 1 {
		if _, err := e.begin(); err != nil {
			return err
		}
	}
	var errs []error
	for _, name := range []string{"hello", "a", "b", "c", "conductor"} {
		body := fmt.Sprintf(`{"exec":{"kind":"fake:1","code":%q},"limits":{"concurrency":%d},"annotations":[{"key":"conductor","value":%t}]}`,
			name, 1+e.random.IntN(concurrency), name == "conductor")
		_, _, err := first.PutAction(ctx, caller, named(name), []byte(body), true)
		errs = append(errs, err)
	}
	_, _, err = first.PutAction(ctx, caller, named("both"), []byte(`{"exec":{"kind":"sequence","components":["/_/a","/_/b"]}}`), true)
	errs = append(errs, err)
	_, err = first.PutTrigger(ctx, caller, named("trigger"), []byte("{}"), true)
	errs = append(errs, err)
	for _, name := range []string{"hello", "both", "conductor"} {
		_, err = first.PutRule(ctx, caller, named("rule-"+name), fmt.Appendf(nil, `{"trigger":"/_/trigger","action":"/_/%s"}`, name), true)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// step does one thing: most often it calls something.
func (e *era) step(ctx context.Context) error {
	dice := e.random.IntN(100)
	if len(e.living) == 0 || dice < 4 && len(e.living) < e.most {
		_, err := e.begin()
		return err
	}
	p := e.living[e.random.IntN(len(e.living))]
	lasts := time.Duration(e.random.IntN(10_000)) * time.Millisecond
	switch {
	case e.lies:
	case dice < 8:
		return p.kill()
	case dice < 11:
		_, err := e.begin()
		return errors.Join(p.kill(), err)
	case dice < 13:
		return p.end()
	case dice < 17:
		p.trouble()
		p.part.Cut(dice < 16)
		e.after(lasts, p.part.Mend)
		return nil
	case dice < 21:
		p.trouble()
		p.sick.Store(true)
		e.after(lasts, func() { p.sick.Store(false) })
		return nil
	case dice < 22:
		return e.cluster.RestartScheduler()
	}
	for range 1 + e.random.IntN(4) {
		e.call(ctx, e.living[e.random.IntN(len(e.living))])
	}
	return nil
}

// call has a process accept something. The answer may come when much else has happened.
func (e *era) call(ctx context.Context, p *process) {
	e.calls++
	payload := fmt.Appendf(nil, `{"n":%d}`, e.calls)
	what := []string{"hello", "hello", "both", "conductor", "trigger"}[e.random.IntN(5)]
	before := p.troubles.Load()
	well := !p.sick.Load()
	p.calls.Go(func() {
		var id whisk.ActivationID
		var err error
		if what == "trigger" {
			id, err = p.Fire(ctx, controller.FireCall{Caller: caller, Trigger: named(what), Payload: payload, Headers: []byte("{}"), Transaction: "tid"})
		} else {
			id, err = p.Submit(ctx, controller.Call{Caller: caller, Action: named(what), Payload: payload, Transaction: "tid"})
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		switch {
		case err == nil:
			e.came.accepted = append(e.came.accepted, id)
		case well && p.troubles.Load() == before:
			e.came.refused = append(e.came.refused, err)
		}
	})
}

// after has do happen when some time has passed.
func (e *era) after(d time.Duration, do func()) {
	e.later = append(e.later, relief{time.Now().Add(d), do})
}

// pass lets time pass, and what is over end.
func (e *era) pass(d time.Duration) {
	time.Sleep(d)
	var rest []relief
	for _, r := range e.later {
		if r.at.After(time.Now()) {
			rest = append(rest, r)
		} else {
			r.do()
		}
	}
	e.later = rest
}

// close heals everything, waits until nothing is left to do, and ends the rest. A
// killed process is not revived by having its links mended.
func (e *era) close(ctx context.Context) error {
	for _, r := range e.later {
		r.do()
	}
	var errs []error
	if len(e.living) == 0 {
		_, err := e.begin()
		errs = append(errs, err)
	}
	for range 10 {
		time.Sleep(time.Minute)
		if len(e.store.Queued()) == 0 {
			break
		}
	}
	for len(e.living) > 0 {
		errs = append(errs, e.living[0].end())
	}
	e.burials.Wait()
	return errors.Join(append(errs, e.cluster.Stop(ctx))...)
}

func (e *era) note(stolen theft) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.came.thefts = append(e.came.thefts, stolen)
}
