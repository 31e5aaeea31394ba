// SPDX-License-Identifier: Apache-2.0

package sim_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/balancer"
	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/driver/fake"
	"github.com/whirl-faas/whirl/sim"
	"github.com/whirl-faas/whirl/whisk"
)

// TestAcceptedActivationsEndInOneRecord kills a whole controller, with its
// balancer, again and again while it accepts non-blocking activations, on a store
// that survives and, in some lives, errs again and again. Each that was accepted
// must end in exactly one record, and its code must have run at most once.
func TestAcceptedActivationsEndInOneRecord(t *testing.T) {
	first := *firstSeed
	if first == 0 {
		first = uint64(time.Now().UnixNano())
	}
	for i := range uint64(max(1, *histories/4)) {
		t.Run(fmt.Sprint("seed ", first+i), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { killWhileAccepting(t, rand.New(rand.NewPCG(first+i, 7))) })
		})
	}
}

func killWhileAccepting(t *testing.T, random *rand.Rand) {
	slow := func(rng *rand.Rand, _ fake.Call) fake.Answer {
		return fake.Answer{Delay: time.Duration(rng.IntN(800)) * time.Millisecond, Stdout: "working\n"}
	}
	cluster, err := sim.Start(t.Context(), sim.Config{
		Seed: random.Uint64(), Nodes: 2, NodeMemory: whisk.GB, Concurrency: 1,
		Script: fake.Script{Init: slow, Run: slow, Create: func(rng *rand.Rand, _ whisk.CreateSandbox) fake.Creation {
			return fake.Creation{Delay: time.Duration(rng.IntN(1000)) * time.Millisecond}
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	store := controllertest.NewStore()
	accepted := map[whisk.ActivationID]bool{}
	refused := 0
	for range 1 + random.IntN(4) {
		life := begin(t, cluster, store)
		sick := random.IntN(2) == 0
		if sick {
			store.SetFault(errAgainAndAgain)
		}
		for range random.IntN(60) {
			time.Sleep(time.Duration(random.IntN(200)) * time.Millisecond)
			id, err := life.Submit(t.Context(), life.call())
			if err != nil && sick {
				continue
			}
			if err != nil {
				refused++
				continue
			}
			accepted[id] = true
		}
		life.kill()
	}
	last := begin(t, cluster, store)
	time.Sleep(3 * time.Minute)
	last.end()
	if err := cluster.Stop(t.Context()); err != nil {
		t.Error(err)
	}

	t.Logf("%d accepted, %d records", len(accepted), len(store.Records()))
	if queued := store.Queued(); len(queued) > 0 {
		t.Errorf("%d accepted activations are left in the queue", len(queued))
	}
	records := store.Records()
	for id := range accepted {
		if _, there := records[id]; !there {
			t.Errorf("%s was accepted and has no record", id)
		}
	}
	if refused > 0 {
		t.Errorf("%d of %d activations were refused by a healthy controller", refused, refused+len(accepted))
	}
	checkRuns(t, cluster.History(), records)
}

// errAgainAndAgain is a disk that fails for 50 ms of every 200, in turn before and
// after it did what was asked.
func errAgainAndAgain(_ string, done bool) error {
	now := time.Now().UnixMilli()
	if now/50%4 == 0 && done == (now%2 == 0) {
		return whisk.Errorf(whisk.Unavailable, "the disk is out of order")
	}
	return nil
}

// checkRuns holds the records against what the sandboxes saw.
func checkRuns(t *testing.T, history sim.History, records map[whisk.ActivationID]whisk.Activation) {
	t.Helper()
	started, ended := map[whisk.ActivationID]int{}, map[whisk.ActivationID]int{}
	for _, node := range history.Nodes {
		for _, violation := range node.Violations {
			t.Error(violation)
		}
		for _, event := range node.Events {
			switch event.Kind {
			case fake.RunStarted:
				started[event.Activation]++
			case fake.RunEnded:
				ended[event.Activation]++
			}
		}
	}
	for id, n := range started {
		if n > 1 {
			t.Errorf("%s ran %d times", id, n)
		}
	}
	for id, record := range records {
		if record.Response.Status == whisk.Success && ended[id] != 1 {
			t.Errorf("%s is recorded as a success, but ended %d times", id, ended[id])
		}
	}
}

// life is one process of a controller.
type life struct {
	*controller.Controller
	t       *testing.T
	cluster *sim.Cluster
	store   *controllertest.Store
	part    *sim.Controller
	stop    context.CancelFunc
	ended   chan error
}

// admitting is the balancer as the controller wants it.
type admitting struct{ *balancer.Balancer }

func (a admitting) Admit(inv *whisk.Invocation) (controller.Admission, error) {
	return a.Balancer.Admit(inv)
}

var caller = &controller.Caller{Identity: whisk.Identity{Subject: "guest", Namespace: "guest", UUID: "uuid"}}

func begin(t *testing.T, cluster *sim.Cluster, store *controllertest.Store) *life {
	t.Helper()
	if err := cluster.AddController(); err != nil {
		t.Fatal(err)
	}
	all := cluster.Controllers()
	l := &life{t: t, cluster: cluster, store: store, part: all[len(all)-1], ended: make(chan error, 1)}
	config := controller.Default()
	config.ID = l.part.ID
	config.Limits = controllertest.Unthrottled()
	config.DrainTimeout = 0
	made, err := controller.New(config, controller.Deps{
		Entities: store, Subjects: store, Blobs: store.Blobs(), Activations: store, Logs: store, Queue: store,
		Balancer: admitting{l.part.Balancer},
		Manifest: whisk.Manifest{Families: []whisk.RuntimeFamily{{Name: "fake", Runtimes: []whisk.Runtime{{Kind: "fake:1", Default: true, Sentinels: true}}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	l.Controller = made
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	l.stop = stop
	go func() { l.ended <- made.Run(ctx) }()
	body := `{"exec":{"kind":"fake:1","code":"function main() {}"}}`
	if _, _, err := made.PutAction(t.Context(), caller, l.call().Action, []byte(body), true); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l *life) call() controller.Call {
	return controller.Call{Caller: caller, Action: whisk.FullName{Namespace: "guest", Name: "hello"}, Transaction: "tid"}
}

// kill ends the controller as kill -9 would: from one moment on nothing it does
// reaches the store, and it releases nothing.
func (l *life) kill() {
	dead := errors.New("killed")
	l.store.SetFault(func(string, bool) error { return dead })
	if err := l.cluster.KillController(l.part); err != nil {
		l.t.Error(err)
	}
	l.stop()
	<-l.ended // with an error: it could not store its last records
	l.store.SetFault(nil)
}

// end stops the controller as an operator does.
func (l *life) end() {
	l.stop()
	if err := <-l.ended; err != nil {
		l.t.Error(err)
	}
}
