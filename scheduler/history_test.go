// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/scheduler/policy"
	"github.com/whirl-faas/whirl/whisk"
)

// disturb makes one random thing happen.
func (w *world) disturb() {
	ctl := w.ctls[slices.Sorted(maps.Keys(w.ctls))[w.rng.IntN(len(w.ctls))]]
	node := w.agents[slices.Sorted(maps.Keys(w.agents))[w.rng.IntN(len(w.agents))]]
	switch dice := w.rng.IntN(100); {
	case dice < 70:
		if ctl.dead {
			return
		}
		n := w.rng.IntN(6)
		key := whisk.ActionKey{Namespace: fmt.Sprint("ns", n%3), Action: whisk.FullName{Namespace: "ns", Name: fmt.Sprint("action", n)}, Revision: 1}
		spec := whisk.ContainerSpec{Kind: []string{"nodejs:20", "python:3"}[n%2], Memory: whisk.Bytes(128<<(n%3)) * whisk.MB}
		ctl.ask(key, spec, 1+w.rng.IntN(3), 1+n/4*3, w.now.Add(w.delay(20*time.Second)))
	case dice < 80:
		for _, id := range slices.Sorted(maps.Keys(ctl.open)) {
			r := ctl.open[id]
			ctl.tell(whisk.Withdraw{ID: id, Count: 1})
			ctl.ended(r.ID, 1)
			return
		}
	case dice < 82:
		w.operate(node)
	case dice < 84:
		node.cursed = w.now.Add(w.delay(20 * time.Second))
	case dice < 86:
		node.muffle()
	case dice < 89:
		node.crash()
	case dice < 92:
		node.disconnect(5 * time.Second)
	case dice < 93:
		node.disconnect(30 * time.Second)
	case dice < 94:
		w.restart()
	case dice < 95:
		node.trouble()
	case dice < 98:
		ctl.disconnect(3 * time.Second)
	default:
		alive := 0
		for _, c := range w.ctls {
			if !c.dead {
				alive++
			}
		}
		if alive > 1 && ctl.session != 0 {
			ctl.die()
			w.addController(whisk.ControllerID(fmt.Sprint("ctl", len(w.ctls))))
		}
	}
}

// restart replaces the scheduler by one that knows nothing yet.
func (w *world) restart() {
	w.s.cfg.Epoch++
	ids, err := newIdentities(w.s.cfg.Epoch, strings.NewReader("12345"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.s = newState(w.s.cfg, ids, slog.New(slog.DiscardHandler), w.now)
	clear(w.peers)
	w.note("scheduler restarts")
	away := 3 * time.Second
	if w.rng.IntN(4) == 0 {
		away *= 4 // beyond the settle time
	}
	for _, id := range slices.Sorted(maps.Keys(w.agents)) {
		w.closed[id] = w.agents[id].drained // an order under way is lost
		if a := w.agents[id]; a.session != 0 {
			a.disconnect(away)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(w.ctls)) {
		if c := w.ctls[id]; c.session != 0 {
			c.disconnect(away)
		}
	}
}

// operate has an operator drain a node, or end its drain.
func (w *world) operate(node *worldAgent) {
	drain := !w.closed[node.id]
	w.note("operator: %s drain %t", node.id, drain)
	effects, err := w.s.operate(w.now, node.id, drain)
	if (err != nil) != (w.s.nodes[node.id] == nil) {
		w.fail("the order ended in %v", err)
	}
	if err != nil {
		return
	}
	w.closed[node.id] = drain
	w.stats[fmt.Sprint("drain ", drain)]++
	w.carryOut(effects)
}

// history plays one world to its end: a time of disturbance, then calm. The
// controllers of some forward activations to each other.
func history(t testing.TB, seed uint64, disturbances int, forwarding bool) *world {
	cfg := Default()
	cfg.CreationsPerNode = 3
	cfg.KeepWarm = 20 * time.Second
	cfg.Manifest = whisk.Manifest{Families: []whisk.RuntimeFamily{{Name: "nodejs", Runtimes: []whisk.Runtime{{
		Kind: "nodejs:20", StemCells: []whisk.StemCell{{Count: 1, Memory: 128 * whisk.MB}},
	}}}}}
	w := newWorld(t, seed, cfg)
	w.forwarding = forwarding
	for i := range 1 + w.rng.IntN(3) {
		w.addAgent(whisk.NodeID(fmt.Sprint("node", i)), whisk.Bytes(512+256*w.rng.IntN(4))*whisk.MB)
	}
	for i := range 1 + w.rng.IntN(3) {
		w.addController(whisk.ControllerID(fmt.Sprint("ctl", i)))
	}
	at := w.now
	for range disturbances {
		at = at.Add(w.delay(300 * time.Millisecond))
		w.at(at, w.disturb)
	}
	for !w.now.After(at) && w.step() {
	}
	w.calm = true
	// All deadlines pass, leases of the dead end, work comes to rest.
	for until := w.now.Add(3 * time.Minute); w.now.Before(until) && w.step(); {
	}
	w.atRest()
	return w
}

// atRest checks what must hold when nothing is under way any more.
func (w *world) atRest() {
	if err := w.s.checkRest(); err != nil {
		w.fail("%v", err)
	}
	if w.s.requisitions > 0 {
		w.fail("%d requisitions still stand", w.s.requisitions)
	}
	for _, id := range slices.Sorted(maps.Keys(w.ctls)) {
		if len(w.ctls[id].open) > 0 {
			w.fail("%s still waits for %v", id, w.ctls[id].open)
		}
	}
	for _, c := range w.s.containers {
		h := w.agents[c.node.id].hosts[c.ID]
		if h == nil || h.Lessee != c.lessee {
			w.fail("books have %s %s leased to %q, its agent %+v", c.ID, c.condition, c.lessee, h)
		}
		if c.condition.leased() && w.ctls[c.lessee].holds[c.ID] == nil {
			w.fail("%s is %s by %s, which does not know of it", c.ID, c.condition, c.lessee)
		}
	}
	if n := w.s.surplus(); n > 0 {
		w.fail("%d containers more than their quotas allow are left", n)
	}
	hosts := 0
	for _, a := range w.agents {
		hosts += len(a.hosts)
	}
	for _, n := range w.s.order {
		w.settled(n)
	}
	if hosts != len(w.s.containers) {
		w.fail("agents host %d containers, the books have %d", hosts, len(w.s.containers))
	}
	for _, p := range w.s.stemCells {
		room := slices.ContainsFunc(w.s.view, func(n policy.Node) bool { return n.Open && n.Free >= p.spec.Memory })
		if p.ready.count < p.wanted && room {
			w.fail("%d of %d stem cells ready while there is room", p.ready.count, p.wanted)
		}
	}
}

// settled checks that a node is in service, or emptied as ordered.
func (w *world) settled(n *node) {
	closed := w.closed[n.id]
	cramped := n.memory-n.used+n.spare < w.s.trialSpec.Memory
	switch {
	case closed != w.agents[n.id].drained:
		w.fail("%s to be emptied %t, its agent knows %t", n.id, closed, w.agents[n.id].drained)
	case closed && (n.state != whisk.NodeDrained || n.containers.count > 0):
		w.fail("%s is %s and hosts %d, but was to be emptied", n.id, n.state, n.containers.count)
	case !closed && n.state == whisk.NodeUnhealthy && n.trouble() == "" && cramped:
	case !closed && n.state != whisk.NodeUp:
		w.fail("%s is %s in the calm: %s", n.id, n.state, n.reason())
	}
	w.stats["ends "+n.state.String()]++
}

var histories = flag.Uint64("histories", 300, "how many random histories to play")

func TestHistories(t *testing.T) {
	total := make(map[string]int)
	for seed := range *histories {
		ok := t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			for what, count := range history(t, seed, 100, seed%2 == 1).stats {
				total[what] += count
			}
		})
		if !ok {
			t.FailNow() // one history is enough to read
		}
	}
	t.Log(total)
	for _, what := range []string{"allocated created", "allocated prewarmed", "allocated transferred", "redirected", "rejected no capacity", "rejected bad image",
		"tried", "drain true", "drain false", "ends up", "ends drained"} {
		if total[what] == 0 {
			t.Errorf("no history had a requisition %s", what)
		}
	}
}

// TestHistoriesReplay holds that the same events lead to the same decisions:
// nothing depends on the order of a map, on a clock or on chance.
func TestHistoriesReplay(t *testing.T) {
	for seed := range uint64(10) {
		first := history(t, seed, 100, seed%2 == 1)
		second := history(t, seed, 100, seed%2 == 1)
		if first.trace.Sum64() != second.trace.Sum64() {
			t.Errorf("seed %d went two ways", seed)
		}
	}
}
