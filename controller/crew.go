// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"sync"
	"time"
)

// What a crew keeps: so many idle goroutines at most, each for so long.
const (
	crewIdle  = 256
	crewStays = 5 * time.Second
)

// crew runs activations, each on a goroutine that is its own for that time. When
// it has ended, the goroutine stays for the next one: a new one would have to grow
// its stack, by copying it again and again, as deep as an activation goes, and
// that takes longer than to find its container.
type crew struct {
	do   func(job)
	jobs chan job // unbuffered: it is taken by who is idle

	mu   sync.Mutex
	stay bool // who has ended a job, for another
	idle int
	all  sync.WaitGroup // who works or is idle
	home chan struct{}  // closed when nobody is to stay any more
}

// job is an activation to be run, with what [Controller.start] was given.
type job struct {
	act   *activation
	done  chan<- ending
	after func()
}

func newCrew(do func(job)) *crew {
	return &crew{do: do, jobs: make(chan job), home: make(chan struct{})}
}

// start has one of the crew, or somebody new, do the job.
func (w *crew) start(j job) {
	select {
	case w.jobs <- j:
	default:
		w.all.Go(func() { w.workLoop(j) })
	}
}

// workLoop does one job after the other, until there is none for long.
func (w *crew) workLoop(j job) {
	patience := time.NewTimer(crewStays)
	defer patience.Stop()
	for more := true; more; {
		w.do(j)
		j, more = w.next(patience)
	}
}

// next waits for a job. It reports false if this one of the crew is to go.
func (w *crew) next(patience *time.Timer) (job, bool) {
	if !w.rest() {
		return job{}, false
	}
	defer w.rise()
	patience.Reset(crewStays)
	select {
	case j := <-w.jobs:
		return j, true
	case <-patience.C:
	case <-w.home:
	}
	return job{}, false
}

// rest counts one of the crew among the idle, unless it is to go.
func (w *crew) rest() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stay || w.idle >= crewIdle {
		return false
	}
	w.idle++
	return true
}

func (w *crew) rise() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.idle--
}

// gather lets the crew stay between jobs, until dismiss.
func (w *crew) gather() { w.keep(true) }

// dismiss sends the crew home when no job can come any more, and waits for it.
func (w *crew) dismiss() {
	w.keep(false)
	close(w.home)
	w.all.Wait()
}

func (w *crew) keep(stay bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stay = stay
}
