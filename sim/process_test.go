// SPDX-License-Identifier: Apache-2.0

package sim_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/balancer"
	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/sim"
	"github.com/whirl-faas/whirl/whisk"
)

// process is a whole controller, from when it is started until it is no more.
type process struct {
	*controller.Controller
	id    whisk.ControllerID
	era   *era
	part  *sim.Controller
	disk  *controllertest.Store // as this process has it
	stop  context.CancelFunc
	ended chan error // of Run

	calls    sync.WaitGroup // that the test makes
	killed   atomic.Bool
	sick     atomic.Bool  // its disk fails again and again
	slow     bool         // its disk takes its time
	troubles atomic.Int64 // how often something was done to it

	mu     sync.Mutex
	random *rand.Rand // guarded by mu
}

// admitting is the balancer as the controller wants it.
type admitting struct{ *balancer.Balancer }

func (a admitting) Admit(inv *whisk.Invocation) (controller.Admission, error) {
	return a.Balancer.Admit(inv)
}

// begin starts a process on the era's store.
func (e *era) begin() (*process, error) {
	if err := e.cluster.AddController(); err != nil {
		return nil, err
	}
	all := e.cluster.Controllers()
	part := all[len(all)-1]
	p := &process{
		id: part.ID, era: e, part: part, disk: e.store.Another(), ended: make(chan error, 1),
		slow: e.random.IntN(2) == 0, random: rand.New(rand.NewPCG(e.random.Uint64(), 0)),
	}
	p.disk.SetFault(p.fault)
	config := controller.Default()
	config.ID = p.id
	config.DrainTimeout = 0
	config.Records.FlushTimeout = time.Second
	config.RecoveryInterval = e.interval
	config.Limits = controllertest.Unthrottled()
	config.Limits.MaxAction.Concurrency = concurrency
	witness := witness{p.disk, p.id, e}
	made, err := controller.New(config, controller.Deps{
		Entities: p.disk, Subjects: p.disk, APIs: p.disk, Blobs: p.disk.Blobs(), Activations: witness, Logs: p.disk, Queue: p.disk,
		Balancer: admitting{part.Balancer}, Alive: e.alive,
		Manifest: whisk.Manifest{Families: []whisk.RuntimeFamily{{Name: "fake", Runtimes: []whisk.Runtime{{Kind: "fake:1", Default: true, Sentinels: true}}}}},
	})
	if err != nil {
		return nil, err
	}
	p.Controller = made
	e.living = append(e.living, p)
	ctx, stop := context.WithCancel(context.Background())
	p.stop = stop
	go func() { p.ended <- made.Run(ctx) }()
	return p, nil
}

var errDead = errors.New("killed")

// fault is how the disk is. Nothing that a killed process does reaches it.
func (p *process) fault(op string, done bool) error {
	if p.slow {
		p.mu.Lock()
		late := time.Duration(p.random.IntN(20)) * time.Millisecond
		p.mu.Unlock()
		time.Sleep(late)
	}
	if p.killed.Load() {
		return errDead
	}
	if p.sick.Load() {
		return errAgainAndAgain(op, done)
	}
	return nil
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

// kill ends a process as kill -9 would: from one moment on nothing that it does
// reaches the store, and it releases nothing.
func (p *process) kill() error {
	p.trouble()
	p.killed.Store(true)
	err := p.era.cluster.KillController(p.part)
	p.stop()
	p.era.bury(p, func() {
		p.calls.Wait()
		<-p.ended // with an error: it could not store its last records
	})
	return err
}

// end stops a process as an operator does. What it lets go runs elsewhere.
func (p *process) end() error {
	p.trouble()
	p.stop()
	p.calls.Wait()
	err := <-p.ended
	if p.sick.Load() {
		err = nil // it could not store its last records
	}
	p.killed.Store(true)
	err = errors.Join(err, p.era.cluster.KillController(p.part))
	p.era.bury(p, func() {})
	return err
}

// trouble notes that calls may fail.
func (p *process) trouble() { p.troubles.Add(1) }

// registry answers which processes live: late, but never too early.
type registry struct {
	mu       sync.Mutex
	believed map[whisk.ControllerID]bool // taken for dead by the others
	dead     map[whisk.ControllerID]bool // in truth
}

// alive is what controllers are told.
func (e *era) alive(id whisk.ControllerID) bool {
	e.registry.mu.Lock()
	defer e.registry.mu.Unlock()
	return !e.lies && !e.registry.believed[id]
}

// isDead is the truth.
func (e *era) isDead(id whisk.ControllerID) bool {
	e.registry.mu.Lock()
	defer e.registry.mu.Unlock()
	return e.registry.dead[id]
}

// bury waits until a process is no more, and tells the others some time later.
func (e *era) bury(p *process, gone func()) {
	late := time.Duration(e.random.IntN(20_000)) * time.Millisecond
	for i, other := range e.living {
		if other == p {
			e.living = append(e.living[:i:i], e.living[i+1:]...)
			break
		}
	}
	if e.random.IntN(3) == 0 {
		late = 0
	}
	e.burials.Go(func() {
		gone()
		e.registry.mu.Lock()
		e.registry.dead[p.id] = true
		e.registry.mu.Unlock()
		time.Sleep(late)
		e.registry.mu.Lock()
		defer e.registry.mu.Unlock()
		e.registry.believed[p.id] = true
	})
}

// witness is a store that notes who makes records of whose activations.
type witness struct {
	*controllertest.Store
	by  whisk.ControllerID
	era *era
}

// PutActivations holds each record against the queue. An activation that is in
// it belongs to who claimed it or, before, accepted it; as long as that one lives
// it is nobody else's to end.
func (w witness) PutActivations(ctx context.Context, records []whisk.Activation) error {
	holders := map[whisk.ActivationID]whisk.ControllerID{}
	for _, entry := range w.Queued() {
		holders[entry.Activation] = entry.AcceptedBy
		if entry.ClaimedBy != "" {
			holders[entry.Activation] = entry.ClaimedBy
		}
	}
	for _, record := range records {
		if of := holders[record.ID]; of != "" && of != w.by && !w.era.isDead(of) {
			w.era.note(theft{record.ID, w.by, of})
		}
	}
	return w.Store.PutActivations(ctx, records)
}
