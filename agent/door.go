// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/whirl-faas/whirl/whisk"
)

// Gate keeps everybody from the containers' published addresses but those whom the
// agent names. It works without the agent: a killed one's successor finds
// things as they were. Addresses that it does not know are not its concern.
type Gate interface {
	// Sources returns the addresses from which a session's peer comes to
	// published containers. Invalid if none of its addresses can be one.
	Sources(peer netip.Addr) ([]netip.Addr, error)
	// Admit lets in these visitors at each address, and nobody else, and renews
	// for a lease's time who may open connections at all. All of it happens at
	// once, or with an error nothing. Calls do not overlap.
	Admit(visitors map[whisk.Address][]netip.Addr, renewed []netip.Addr) error
	// Admitted returns who is let in at an address, by a former agent's word.
	Admitted(address whisk.Address) []netip.Addr
}

// admissions are what the gate has to change, in the order in which it was decided. A
// task changes it while there is something to change, as much at a time as there is. All
// that waits is bounded by the commands and requests that wait for it.
type admissions struct {
	doors   map[*container]bool // whose visitors have changed
	renewed map[netip.Addr]bool
	waiting []func(error) // called with the lock held when it is done, in order
	busy    bool          // the task runs
}

// take returns what has to be changed now, and leaves nothing.
func (w *admissions) take() (visitors map[whisk.Address][]netip.Addr, renewed []netip.Addr, waiting []func(error)) {
	visitors = make(map[whisk.Address][]netip.Addr, len(w.doors))
	for c := range w.doors {
		visitors[c.door] = nil
		if c.lessee != "" && c.state != removing && c.state != gone {
			visitors[c.door] = c.visitors
		}
	}
	renewed, waiting = slices.Collect(maps.Keys(w.renewed)), w.waiting
	w.doors, w.renewed, w.waiting = nil, nil, nil
	return visitors, renewed, waiting
}

// guardLocked has the gate let in the container's visitors and nobody else, and then goes
// on with next, which is called with the lock held: at once if there is no gate.
func (a *Agent) guardLocked(c *container, next func(error)) {
	if a.gate == nil || c.door == (whisk.Address{}) {
		next(nil)
		return
	}
	a.changeGateLocked([]*container{c}, nil, next)
}

func (a *Agent) changeGateLocked(doors []*container, renewed []netip.Addr, next func(error)) {
	w := &a.admissions
	if w.doors == nil {
		w.doors, w.renewed = map[*container]bool{}, map[netip.Addr]bool{}
	}
	for _, c := range doors {
		w.doors[c] = true
	}
	for _, source := range renewed {
		w.renewed[source] = true
	}
	w.waiting = append(w.waiting, next)
	if !w.busy {
		w.busy = true
		a.tasks.Go(a.admit)
	}
}

// admit changes the gate until nothing is left to change.
func (a *Agent) admit() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for len(a.admissions.waiting) > 0 {
		visitors, renewed, waiting := a.admissions.take()
		a.mu.Unlock()
		err := a.gate.Admit(visitors, renewed)
		if err != nil {
			a.logger.Error("published containers not guarded", "err", err)
		}
		a.mu.Lock()
		for _, next := range waiting {
			next(err)
		}
	}
	a.admissions.busy = false
}

// sourcesOf returns from where a session's peer comes to published containers; none if
// there is no gate, or if the peer is in this process.
func (a *Agent) sourcesOf(stream whisk.AgentToController) ([]netip.Addr, error) {
	remote, ok := stream.(whisk.Remote)
	if a.gate == nil || !ok || !remote.PeerAddress().IsValid() {
		return nil, nil
	}
	return a.gate.Sources(remote.PeerAddress())
}

// maxSources is from how many addresses one controller may come. A host has a few, and
// which of them it uses may change.
const maxSources = 8

// welcomeLocked lets a controller that has renewed in to its containers, from where it
// came, and says when that is so.
func (a *Agent) welcomeLocked(controller whisk.ControllerID, sources []netip.Addr) <-chan error {
	a.sources[controller] = joined(a.sources[controller], sources)
	var doors []*container
	for _, c := range a.containers {
		if c.lessee != controller || c.moving || c.door == (whisk.Address{}) || c.state == removing || c.state == gone {
			continue
		}
		if all := joined(c.visitors, sources); !slices.Equal(all, c.visitors) {
			c.visitors = all
			doors = append(doors, c)
		}
	}
	admitted := make(chan error, 1)
	a.changeGateLocked(doors, sources, func(err error) { admitted <- err })
	return admitted
}

// joined returns known with what is new of more. Beyond the bound the oldest give way.
func joined(known, more []netip.Addr) []netip.Addr {
	all := slices.Clone(known)
	for _, one := range more {
		if !slices.Contains(all, one) {
			all = append(all, one)
		}
	}
	return all[max(0, len(all)-maxSources):]
}

// shutLocked keeps a container's lessee out, for the next one's sake, and then goes on with
// next as guardLocked does. Commands about the container wait meanwhile.
func (a *Agent) shutLocked(c *container, next func(error)) {
	c.moving = true
	if len(c.visitors) == 0 {
		next(nil)
		return
	}
	c.visitors, c.writing = nil, true
	a.guardLocked(c, next)
}

// shut lets nobody in any more, before the driver gives the address to another container.
func (a *Agent) shut(c *container) {
	shut := make(chan error, 1)
	a.mu.Lock()
	c.visitors = nil
	a.guardLocked(c, func(err error) { shut <- err })
	a.mu.Unlock()
	<-shut // an error was told; the driver closes the port
}

// unreachableLocked removes a container to which its lessee could not be let in.
func (a *Agent) unreachableLocked(c *container, err error) {
	c.reason = "its lessee could not be let in: " + err.Error()
	a.applyLocked(c, remove)
}
