// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/whirl-faas/whirl/agent/output"
	"github.com/whirl-faas/whirl/whisk"
)

// container is a sandbox with its lease. The agent's mutex guards it.
type container struct {
	whisk.Container // its Address is zero until it was created
	label           string
	state           state

	lessee  whisk.ControllerID // "" for nobody
	used    bool               // it was ever leased
	granted time.Time          // when the present lease was
	tenures []tenure           // the lessees it had, oldest first
	serial  uint64             // counts the changes of lessee

	writing  bool                 // its record, or the gate's list of visitors; commands wait
	commands []whisk.AgentCommand // that wait for it

	door     whisk.Address // its address as the gate knows it; zero until created
	visitors []netip.Addr  // who may come in there; replaced, never changed
	moving   bool          // to its next lessee: the former one is let in no more

	sandbox  whisk.Sandbox    // nil until created
	recorder *output.Recorder // likewise

	queue   []*operation            // suspends and resumes that wait for their turn
	current *operation              // that the driver carries out; answered when its call has ended
	cancel  context.CancelCauseFunc // ends the driver's current call; nil if there is none
	asleep  bool                    // frozen, and no thaw was begun since that may have worked

	began    time.Time
	failure  *whisk.CreationFailed // why it could not be made
	expected bool                  // its removal was commanded
	own      bool                  // it ended by itself, before anybody had it removed
	reason   string                // of its end
	over     time.Time             // when it was gone
}

// operation is a suspend or resume on its way.
type operation struct {
	on   event
	done chan error // takes one
}

// finish answers the operation; nil has none.
func (o *operation) finish(err error) {
	if o != nil {
		o.done <- err
	}
}

// tenure is a period in which one controller held the container. Controllers
// count the container's runs from the beginning of their tenure, the recorder
// from the container's start.
type tenure struct {
	lessee whisk.ControllerID
	base   uint64 // runs before it
	runs   uint64 // the highest that its lessee spoke of
}

// maxTenures is how many are remembered, for requests that come late.
const maxTenures = 4

// lease gives the container to a controller, or to nobody.
func (c *container) lease(to whisk.ControllerID, now time.Time) {
	c.lessee, c.granted = to, now
	c.serial++
	if to == "" {
		return
	}
	c.used = true
	c.tenures = append(c.tenures, tenure{lessee: to})
	if len(c.tenures) > maxTenures {
		c.tenures = c.tenures[1:]
	}
	c.rebase()
}

// rebase has the present tenure begin after all runs that we know of, by their
// output or because their lessee spoke of them. It reports whether that moved it.
func (c *container) rebase() bool {
	last := len(c.tenures) - 1
	if last < 0 {
		return false
	}
	base := &c.tenures[last].base
	was := *base
	if c.recorder != nil {
		*base = max(*base, c.recorder.Ended())
	}
	if last > 0 {
		before := c.tenures[last-1]
		*base = max(*base, before.base+before.runs)
	}
	return *base != was
}

// tenureOf returns the controller's last tenure, nil if it had none or it is
// long over.
func (c *container) tenureOf(lessee whisk.ControllerID) *tenure {
	for i := len(c.tenures) - 1; i >= 0; i-- {
		if c.tenures[i].lessee == lessee {
			return &c.tenures[i]
		}
	}
	return nil
}

// absolute turns a run as the tenure's lessee counts into one as the recorder
// counts. A former lessee's late word of a run that we did not know of moves the
// runs of those who came later.
func (c *container) absolute(t *tenure, run uint64) uint64 {
	t.runs = max(t.runs, run)
	moved := false
	for i := range c.tenures {
		if later := &c.tenures[i]; moved {
			before := c.tenures[i-1]
			later.base = max(later.base, before.base+before.runs)
		} else {
			moved = later == t
		}
	}
	return t.base + run
}

// heldBy reports whether the controller holds the container, or was the last
// who did.
func (c *container) heldBy(controller whisk.ControllerID) bool {
	if c.lessee != "" {
		return c.lessee == controller
	}
	n := len(c.tenures)
	return n > 0 && c.tenures[n-1].lessee == controller
}

// refusal is err, for an operation on a container that is to be thawed. It says so
// if the container was frozen all the time and will be to its end.
func (c *container) refusal(err error) error {
	over := c.state == removing || c.state == gone
	if err == nil || !c.asleep || !over || errors.Is(err, whisk.ErrStaysFrozen) {
		return err
	}
	return whisk.Errorf(whisk.KindOf(err), "%v, and %w", err, whisk.ErrStaysFrozen)
}

// exists reports whether there is a sandbox.
func (c *container) exists() bool { return c.sandbox != nil && c.state != gone }

// describe says how it ended, for people.
func describe(exit whisk.Exit) string {
	switch {
	case exit.OutOfMemory:
		return "it used more memory than allowed and was killed"
	case exit.Code < 0:
		return fmt.Sprintf("it was killed by signal %d", -exit.Code)
	}
	return fmt.Sprintf("it exited with status %d", exit.Code)
}
