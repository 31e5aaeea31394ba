// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/whirl-faas/whirl/driver/fake"
	"github.com/whirl-faas/whirl/whisk"
)

// Play runs one random history to its end: a cluster of random shape, load and
// faults for a while, calm, a last call of every action, drain. It returns what
// happened; an error says that a part ended badly, or a call failed in the calm.
func Play(ctx context.Context, seed uint64) (History, error) {
	s := newStorm(seed)
	cluster, err := Start(ctx, s.config())
	if err != nil {
		return History{}, err
	}
	s.cluster = cluster
	errs := []error{s.rage(), s.calm(), s.probe()}
	drain, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	errs = append(errs, cluster.Stop(drain))
	cluster.Wait()
	return cluster.History(), errors.Join(errs...)
}

// Durations of a history's phases. Many short histories find more than few long
// ones, and what the platform does after minutes it does here after seconds.
const (
	rageFor     = 45 * time.Second // at most
	patience    = 45 * time.Second // of a call while the storm goes on
	calmFor     = time.Minute      // leases run out, sessions and nodes come back
	probeIn     = 60 * time.Second // a call in the calm has its container by then
	idleTimeout = 20 * time.Second // of containers that a controller holds
	keepWarm    = 20 * time.Second // of containers that nobody holds
	idleFor     = 90 * time.Second // everything idle was given back by then
	runTimeout  = 3 * time.Second  // of the actions
)

// storm is the load on a cluster and the faults that happen to it.
type storm struct {
	seed    uint64
	random  *rand.Rand // of the one goroutine that plays
	cluster *Cluster
	actions []Action
	over    atomic.Bool // the sandboxes behave from now on
	nodes   int
}

func newStorm(seed uint64) *storm {
	s := &storm{seed: seed, random: rand.New(rand.NewPCG(seed, 0x5eed))}
	for i := range 2 + s.random.IntN(6) {
		s.actions = append(s.actions, Action{
			Name:        fmt.Sprintf("a%d", i),
			Revision:    1,
			Memory:      []whisk.Bytes{128, 128, 256, 512}[s.random.IntN(4)] * whisk.MB,
			Concurrency: []int{1, 1, 1, 3}[s.random.IntN(4)],
			Timeout:     runTimeout,
		})
	}
	s.nodes = 1 + s.random.IntN(3)
	return s
}

func (s *storm) config() Config {
	config := Config{
		Seed:        s.seed,
		Nodes:       s.nodes,
		NodeMemory:  whisk.Bytes(2+s.random.IntN(6)) * 256 * whisk.MB,
		Controllers: 1 + s.random.IntN(2),
		Concurrency: 3,
		IdleTimeout: idleTimeout,
		KeepWarm:    keepWarm,
		Script:      s.script(),
	}
	if s.chance(50) {
		config.Manifest = whisk.Manifest{Families: []whisk.RuntimeFamily{{Name: "fake", Runtimes: []whisk.Runtime{{
			Kind: "fake:1", Default: true, Sentinels: true,
			StemCells: []whisk.StemCell{{Count: 1 + s.random.IntN(2), Memory: 128 * whisk.MB}},
		}}}}}
	}
	return config
}

func (s *storm) chance(percent int) bool { return s.random.IntN(100) < percent }

func (s *storm) upTo(d time.Duration) time.Duration { return time.Duration(s.random.Int64N(int64(d))) }

// script makes sandboxes slow and unreliable until the storm is over. Its
// functions draw from their own random numbers: they run at the same time.
func (s *storm) script() fake.Script {
	return fake.Script{
		Create: func(rng *rand.Rand, req whisk.CreateSandbox) fake.Creation {
			creation := fake.Creation{Delay: time.Duration(rng.IntN(1500)) * time.Millisecond}
			switch dice := rng.IntN(100); {
			case s.over.Load():
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
		Init:    s.answers(300),
		Run:     s.answers(500),
		Suspend: s.operations(),
		Resume:  s.operations(),
		Destroy: func(rng *rand.Rand, _ whisk.ContainerID) fake.Operation {
			return fake.Operation{Delay: time.Duration(rng.IntN(500)) * time.Millisecond}
		},
	}
}

func (s *storm) answers(milliseconds int) func(*rand.Rand, fake.Call) fake.Answer {
	return func(rng *rand.Rand, _ fake.Call) fake.Answer {
		answer := fake.Answer{Delay: time.Duration(rng.IntN(milliseconds)) * time.Millisecond}
		switch dice := rng.IntN(100); {
		case s.over.Load():
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

func (s *storm) operations() func(*rand.Rand, whisk.ContainerID) fake.Operation {
	return func(rng *rand.Rand, _ whisk.ContainerID) fake.Operation {
		operation := fake.Operation{Delay: time.Duration(rng.IntN(100)) * time.Millisecond}
		if !s.over.Load() && rng.IntN(100) < 5 {
			operation.Err = errors.New("the freezer is out of order")
		}
		return operation
	}
}

// rage loads the cluster and hurts it.
func (s *storm) rage() error {
	for end := time.Now().Add(time.Second + s.upTo(rageFor)); time.Now().Before(end); {
		pause := s.upTo(time.Second)
		if s.chance(8) {
			pause = 9*time.Second + s.upTo(4*time.Second) // around the pause grace
		}
		time.Sleep(pause)
		for range 1 + s.random.IntN(12) {
			s.cluster.Invoke(s.someController(), s.actions[s.random.IntN(len(s.actions))], patience)
		}
		if s.chance(15) {
			if err := s.hurt(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *storm) someController() *Controller {
	return s.cluster.controllers[s.random.IntN(len(s.cluster.controllers))]
}

// hurt does one thing to the cluster.
func (s *storm) hurt() error {
	node := s.cluster.nodes[s.random.IntN(len(s.cluster.nodes))]
	ctl := s.someController()
	away := s.chance(40) // cut off for a while, not only interrupted
	switch s.random.IntN(8) {
	case 0, 1:
		s.interrupt(&ctl.uplink, away)
	case 2:
		s.interrupt(&node.uplink, away)
	case 3, 4:
		s.interrupt(ctl.agents[node.ID], away)
	case 5:
		return s.cluster.RestartScheduler()
	case 6:
		if s.chance(50) {
			return s.cluster.RestartNode(node)
		}
		return errors.Join(s.cluster.KillController(ctl), s.cluster.AddController())
	case 7:
		action := &s.actions[s.random.IntN(len(s.actions))]
		action.Revision++
		for _, each := range s.cluster.controllers {
			each.Balancer.Retire(whisk.FullName{Namespace: "guest", Name: action.Name}, action.Revision)
		}
	}
	return nil
}

func (s *storm) interrupt(l *link, away bool) {
	l.cut(away)
	if away {
		time.AfterFunc(s.upTo(25*time.Second), l.mend)
	}
}

// calm lets everything recover.
func (s *storm) calm() error {
	s.over.Store(true)
	s.cluster.Wait()
	time.Sleep(calmFor)
	return nil
}

// probe calls every action on every controller, when nothing is wrong any more:
// each must succeed, also where memory is short. Then it waits until all
// containers were given back, and tries once more.
func (s *storm) probe() error {
	var errs []error
	for round := range 2 {
		if round > 0 {
			time.Sleep(idleFor)
		}
		var probes []*Call
		for _, ctl := range s.cluster.controllers {
			for _, action := range s.actions {
				if action.Memory <= s.cluster.config.NodeMemory {
					probes = append(probes, s.cluster.Invoke(ctl, action, probeIn))
				}
			}
		}
		s.cluster.Wait()
		for _, call := range probes {
			if call.Refused != nil || call.Outcome.Response.Status != whisk.Success {
				errs = append(errs, fmt.Errorf("in the calm, round %d, %s of %s on %s ended with %v %s after %v",
					round, call.ID, call.Action.code(), call.Controller, call.Refused, call.Outcome.Response.Result, call.Ended.Sub(call.Received)))
			}
		}
	}
	return errors.Join(errs...)
}
