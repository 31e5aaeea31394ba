// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/whirl-faas/whirl/driver/fake"
	"github.com/whirl-faas/whirl/whisk"
)

// Durations after the storm.
const (
	calmFor = time.Minute      // leases run out, sessions and nodes come back
	probeIn = 60 * time.Second // a call in the calm has its container by then
	idleFor = 90 * time.Second // everything idle was given back by then
)

// Play plays a storm to its end: the load and the faults, calm, a last call of
// every action, drain. If the storm wants files they are kept in an empty
// directory. It returns what happened; an error says that a part ended badly, or a
// call failed in the calm.
func Play(ctx context.Context, storm Storm, files string) (History, error) {
	p := &play{ctx: ctx, storm: storm, actions: slices.Clone(storm.Actions)}
	cluster, err := Start(ctx, p.config(files))
	if err != nil {
		return History{}, err
	}
	p.cluster = cluster
	errs := []error{p.rage(), p.calm(), p.probe(), p.empty()}
	drain, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	errs = append(errs, cluster.Stop(drain))
	cluster.Wait()
	history := cluster.History()
	history.Calm, history.Idle, history.Emptied, history.StemCells = p.calmed, p.idle, p.emptied, storm.StemCells
	return history, errors.Join(errs...)
}

// play is a storm that goes on. It has one goroutine, except for its script.
type play struct {
	ctx     context.Context
	storm   Storm
	cluster *Cluster
	actions []Action // at their present revisions
	later   []ending
	over    atomic.Bool // the sandboxes behave from now on
	calmed  time.Time
	idle    []time.Time
	emptied []whisk.NodeID
}

// ending is when a fault ends, and how.
type ending struct {
	at     time.Time
	number int // of the step
	do     func() error
}

func (p *play) config(files string) Config {
	config := Config{
		Seed:        p.storm.Seed,
		Nodes:       p.storm.Nodes,
		NodeMemory:  p.storm.NodeMemory,
		Controllers: p.storm.Controllers,
		Concurrency: 3,
		IdleTimeout: idleTimeout,
		KeepWarm:    keepWarm,
		Script:      p.script(),
		KeepOnStop:  p.storm.KeepOnStop,
		Crowds:      p.storm.Crowds,
	}
	if p.storm.Files {
		config.Ledgers = files
	}
	if p.storm.StemCells > 0 {
		config.Manifest = whisk.Manifest{Families: []whisk.RuntimeFamily{{Name: "fake", Runtimes: []whisk.Runtime{{
			Kind: "fake:1", Default: true, Sentinels: true,
			StemCells: []whisk.StemCell{{Count: p.storm.StemCells, Memory: 128 * whisk.MB}},
		}}}}}
	}
	return config
}

// script makes sandboxes slow and unreliable until the storm is over. Its
// functions draw from their own random numbers: they run at the same time.
func (p *play) script() fake.Script {
	return fake.Script{
		Create: func(rng *rand.Rand, req whisk.CreateSandbox) fake.Creation {
			creation := fake.Creation{Delay: time.Duration(rng.IntN(1500)) * time.Millisecond}
			switch dice := rng.IntN(100); {
			case p.over.Load():
			case dice < 5:
				creation.Err = errors.New("the node cannot")
			case dice < 7:
				creation.Err = &whisk.CreateError{Text: "no such image"}
			case dice < 25:
				creation.StartDelay = time.Duration(rng.IntN(800)) * time.Millisecond
			case dice < 28:
				creation.CrashAfter = time.Duration(rng.IntN(10_000)) * time.Millisecond
			}
			return creation
		},
		Init:    p.answers(300),
		Run:     p.answers(500),
		Suspend: p.changes(),
		Resume:  p.changes(),
		Destroy: func(rng *rand.Rand, _ whisk.ContainerID) fake.Operation {
			return fake.Operation{Delay: time.Duration(rng.IntN(500)) * time.Millisecond}
		},
	}
}

func (p *play) answers(milliseconds int) func(*rand.Rand, fake.Call) fake.Answer {
	return func(rng *rand.Rand, _ fake.Call) fake.Answer {
		answer := fake.Answer{Delay: time.Duration(rng.IntN(milliseconds)) * time.Millisecond}
		switch dice := rng.IntN(100); {
		case p.over.Load():
		case dice < 2:
			answer.Status, answer.Body = 502, []byte(`{"error":"not today"}`)
		case dice < 4:
			answer.Crash = &whisk.Exit{Code: -9, OutOfMemory: dice == 2}
		case dice < 5:
			answer.Hang = true
		case dice < 6:
			answer.Raw = []byte("garbage\r\n")
		case dice < 8:
			answer.Late = time.Duration(rng.IntN(300)) * time.Millisecond
		}
		return answer
	}
}

func (p *play) changes() func(*rand.Rand, whisk.ContainerID) fake.Operation {
	return func(rng *rand.Rand, _ whisk.ContainerID) fake.Operation {
		operation := fake.Operation{Delay: time.Duration(rng.IntN(100)) * time.Millisecond, Late: true}
		switch dice := rng.IntN(100); {
		case p.over.Load():
		case dice < 5:
			operation.Err = errors.New("the freezer is out of order")
		case dice < 10: // it is given up soon before it would have been done
			operation.Delay = operateTimeout - 200*time.Millisecond + time.Duration(rng.IntN(500))*time.Millisecond
		}
		return operation
	}
}

// rage loads the cluster and hurts it.
func (p *play) rage() error {
	began := time.Now()
	var errs []error
	for _, step := range p.storm.Steps {
		errs = append(errs, p.until(began.Add(step.At)))
		for _, load := range step.Calls {
			p.cluster.Invoke(p.controller(load.Controller), p.actions[load.Action], patience)
		}
		if len(step.Calls) > 0 {
			continue
		}
		end, err := p.hurt(step.Fault)
		errs = append(errs, err)
		if end != nil {
			p.later = append(p.later, ending{time.Now().Add(step.Fault.For), step.Number, end})
		}
	}
	for len(p.later) > 0 {
		errs = append(errs, p.until(p.next().at))
	}
	return errors.Join(errs...)
}

// until lets time pass, and faults end that last no longer.
func (p *play) until(at time.Time) error {
	var errs []error
	for len(p.later) > 0 && !p.next().at.After(at) {
		end := p.next()
		p.later = slices.DeleteFunc(p.later, func(e ending) bool { return e.number == end.number })
		time.Sleep(time.Until(end.at))
		errs = append(errs, end.do())
	}
	time.Sleep(time.Until(at))
	return errors.Join(errs...)
}

// next returns the fault that ends first.
func (p *play) next() ending {
	return slices.MinFunc(p.later, func(a, b ending) int { return a.at.Compare(b.at) })
}

func (p *play) controller(n int) *Controller {
	return p.cluster.controllers[n%len(p.cluster.controllers)]
}

// calm lets everything recover. Each node's last agent is one that removes its
// containers when it stops.
func (p *play) calm() error {
	p.over.Store(true)
	var errs []error
	for _, n := range p.cluster.nodes {
		if n.keep {
			errs = append(errs, p.cluster.UpgradeAgent(n, false))
		}
	}
	p.cluster.Wait()
	time.Sleep(calmFor)
	p.calmed = time.Now()
	for _, n := range p.cluster.nodes {
		errs = append(errs, p.cluster.Leader().Undrain(p.ctx, n.ID))
	}
	return errors.Join(errs...)
}

// probe calls every action on every controller, when nothing is wrong any more:
// each must succeed, also where memory is short. Then it waits until all
// containers were given back, and tries once more.
func (p *play) probe() error {
	var errs []error
	for round := range 2 {
		if round > 0 {
			time.Sleep(idleFor)
			p.idle = append(p.idle, time.Now())
		}
		var probes []*Call
		for _, ctl := range p.cluster.controllers {
			for _, action := range p.actions {
				if action.Memory <= p.cluster.config.NodeMemory {
					probes = append(probes, p.cluster.Invoke(ctl, action, probeIn))
				}
			}
		}
		p.cluster.Wait()
		for _, call := range probes {
			if call.Refused != nil || call.Outcome.Response.Status != whisk.Success {
				errs = append(errs, fmt.Errorf("in the calm, round %d, %s of %s on %s ended with %v %s after %v",
					round, call.ID, call.Action.code(), call.Controller, call.Refused, call.Outcome.Response.Result, call.Ended.Sub(call.Received)))
			}
		}
	}
	return errors.Join(errs...)
}

// empty drains a node of an idle cluster, and waits until it must be empty.
func (p *play) empty() error {
	if !p.storm.Drain {
		return nil
	}
	node := p.cluster.nodes[0].ID
	err := p.cluster.Leader().Drain(p.ctx, node)
	time.Sleep(idleFor)
	p.idle = append(p.idle, time.Now())
	p.emptied = append(p.emptied, node)
	return err
}
