// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"errors"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/driver/fake"
	"github.com/whirl-faas/whirl/whisk"
)

// fakeGate is a gate in memory, which outlives agents as the kernel's does.
type fakeGate struct {
	mu      sync.Mutex
	inside  map[whisk.Address][]netip.Addr
	renewed map[netip.Addr]time.Time
	slow    time.Duration // each change takes
	failing error
	calls   int
	busy    bool
}

func (g *fakeGate) Sources(peer netip.Addr) ([]netip.Addr, error) {
	if peer.Is6() {
		return nil, whisk.Errorf(whisk.Invalid, "no way from %s", peer)
	}
	return []netip.Addr{peer}, nil
}

func (g *fakeGate) Admit(visitors map[whisk.Address][]netip.Addr, renewed []netip.Addr) error {
	g.mu.Lock()
	if g.busy {
		panic("two calls of Admit at once")
	}
	g.busy = true
	slow := g.slow
	g.mu.Unlock()
	time.Sleep(slow)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.busy = false
	g.calls++
	if g.failing != nil {
		return g.failing
	}
	maps.Copy(g.inside, visitors)
	for _, source := range renewed {
		g.renewed[source] = time.Now()
	}
	return nil
}

func (g *fakeGate) Admitted(address whisk.Address) []netip.Addr {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.inside[address]
}

// gateHand is what one process does to the gate: nothing once it was killed.
type gateHand struct {
	*fakeGate
	dead atomic.Bool
}

func (h *gateHand) Admit(visitors map[whisk.Address][]netip.Addr, renewed []netip.Addr) error {
	if h.dead.Load() {
		return nil
	}
	return h.fakeGate.Admit(visitors, renewed)
}

func (g *fakeGate) set(change func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change()
}

// lets holds that just these sources are let in to a container now.
func (g *fakeGate) lets(t *testing.T, when string, c whisk.Container, want ...string) {
	t.Helper()
	var got []string
	for _, source := range g.Admitted(c.Address) {
		got = append(got, source.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: %s is open to %q, want %q", when, c.ID, got, want)
	}
}

// distant is a session with a peer elsewhere.
type distant struct {
	whisk.AgentToController
	from netip.Addr
}

func (d distant) PeerAddress() netip.Addr { return d.from }

// published gives the node a gate that takes its time.
func published(more ...func(*setup)) func(*setup) {
	return func(s *setup) {
		s.gate = &fakeGate{inside: map[whisk.Address][]netip.Addr{}, renewed: map[netip.Addr]time.Time{}, slow: 50 * time.Millisecond}
		for _, change := range more {
			change(s)
		}
	}
}

// from opens a controller's session from an address and renews.
func (n *node) from(id whisk.ControllerID, address string) *controller {
	n.t.Helper()
	c := n.join(id, address)
	if err := c.renew(); err != nil {
		n.t.Fatal(err)
	}
	return c
}

func (c *controller) renew() error {
	c.n.t.Helper()
	return c.call(whisk.SandboxRequest{Op: whisk.Renew, Controller: c.id}).Error()
}

// TestALesseeIsLetInBeforeItsLeaseIsConfirmed takes both orders: the container first,
// and the controller first.
func TestALesseeIsLetInBeforeItsLeaseIsConfirmed(t *testing.T) {
	inBubble(t, published(), func(n *node) {
		n.session()
		first := n.create("first", "a")
		n.gate.lets(t, "before its lessee came", first)
		a := n.from("a", "10.0.0.1")
		n.gate.lets(t, "when its lessee's renewal was answered", first, "10.0.0.1")
		second := n.create("second", "a")
		n.gate.lets(t, "when the scheduler heard of it", second, "10.0.0.1")
		others := n.create("others", "b")
		a.renewFor(time.Minute)
		if last := n.gate.renewed[netip.MustParseAddr("10.0.0.1")]; time.Since(last) > time.Second {
			t.Errorf("the gate heard of the last renewal %v ago", time.Since(last))
		}
		n.gate.lets(t, "after a minute", first, "10.0.0.1")
		n.gate.lets(t, "another's", others)
	})
}

// TestAControllerMayComeFromSeveralAddresses keeps what is open, or a run on an older
// connection would break.
func TestAControllerMayComeFromSeveralAddresses(t *testing.T) {
	inBubble(t, published(), func(n *node) {
		n.session()
		c := n.create("c", "a")
		n.from("a", "10.0.0.1").leave()
		n.from("a", "10.0.0.2")
		n.gate.lets(t, "after both sessions", c, "10.0.0.1", "10.0.0.2")
		late := n.create("late", "a")
		n.gate.lets(t, "afterwards", late, "10.0.0.1", "10.0.0.2")
		for i := range 20 {
			n.from("a", netip.AddrFrom4([4]byte{10, 0, 1, byte(i)}).String()).leave()
		}
		if got := n.gate.Admitted(c.Address); len(got) != 8 || got[7].String() != "10.0.1.19" {
			t.Errorf("it is open to %v, want the last eight", got)
		}
	})
}

// TestAGrantShutsOutTheFormerLessee before the record names the next one, and lets that
// one in before the scheduler hears of it.
func TestAGrantShutsOutTheFormerLessee(t *testing.T) {
	inBubble(t, recoverable(t, published()), func(n *node) {
		n.session()
		c := n.create("c", "a")
		a := n.from("a", "10.0.0.1")
		n.from("b", "10.0.0.2")
		n.ledger.saving = func() error {
			n.gate.lets(t, "while the record is written", c)
			return nil
		}
		n.command(whisk.GrantLease{Epoch: 1, Container: "c", From: "a", To: "b"})
		if err := a.renew(); err != nil { // while it moves
			t.Error(err)
		}
		if granted := expect[whisk.LeaseGranted](n); granted.Lessee != "b" {
			t.Errorf("%+v", granted)
		}
		n.gate.lets(t, "when the grant was confirmed", c, "10.0.0.2")
		if err := a.renew(); err != nil {
			t.Error(err)
		}
		n.gate.lets(t, "when the former lessee renewed again", c, "10.0.0.2")

		n.command(whisk.GrantLease{Epoch: 1, Container: "c", From: "b"})
		expect[whisk.LeaseGranted](n)
		n.gate.lets(t, "when nobody holds it", c)
		n.command(whisk.GrantLease{Epoch: 1, Container: "c", To: "late"})
		expect[whisk.LeaseGranted](n)
		n.gate.lets(t, "when its lessee is unknown yet", c)
		n.from("late", "10.0.0.3")
		n.gate.lets(t, "when that one came", c, "10.0.0.3")
	})
}

// TestNobodyIsLetInToWhatIsDestroyed: the address may be another container's next.
func TestNobodyIsLetInToWhatIsDestroyed(t *testing.T) {
	ends := map[string]func(*node){
		"by command":         func(n *node) { n.command(whisk.RemoveContainer{Epoch: 1, Container: "c", Lessee: "a"}) },
		"by the lease":       func(*node) {},
		"by the agent's end": func(n *node) { n.stop() },
		"while it is moved": func(n *node) {
			n.command(whisk.GrantLease{Epoch: 1, Container: "c", From: "a", To: "b"})
			n.command(whisk.RemoveContainer{Epoch: 1, Container: "c", Lessee: "b"})
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			var n *node
			var c whisk.Container
			destroyed := 0
			inBubble(t, published(func(s *setup) {
				s.driver.Script.Destroy = func(*rand.Rand, whisk.ContainerID) fake.Operation {
					destroyed++
					n.gate.lets(t, "when the driver destroys it", c)
					return fake.Operation{}
				}
			}), func(started *node) {
				n = started
				n.session()
				c = n.create("c", "a")
				n.from("a", "10.0.0.1")
				n.from("b", "10.0.0.2")
				n.gate.lets(t, "before", c, "10.0.0.1")
				end(n)
				for range 2 {
					if _, gone := n.report(time.Minute).(whisk.ContainerGone); gone {
						break
					}
				}
				n.gate.lets(t, "afterwards", c)
				if destroyed == 0 {
					t.Error("it was not destroyed")
				}
			})
		})
	}
}

// TestTheNextAgentKeepsThoseInside for whom the record is, and nobody else.
func TestTheNextAgentKeepsThoseInside(t *testing.T) {
	inBubble(t, recoverable(t, published()), func(n *node) {
		n.session()
		held := n.create("held", "a")
		n.from("a", "10.0.0.1")
		stored := n.create("stored", "b")
		n.from("b", "10.0.0.2")
		n.command(whisk.GrantLease{Epoch: 1, Container: "stored", From: "b"})
		expect[whisk.LeaseGranted](n)
		n.gate.set(func() { n.gate.inside[stored.Address] = []netip.Addr{netip.MustParseAddr("10.0.0.2")} }) // should it be so

		n.crash()
		n.gate.lets(t, "after the crash", held, "10.0.0.1")
		time.Sleep(time.Second)
		n.gate.lets(t, "what nobody holds", stored)
		n.from("a", "10.0.0.9")
		n.gate.lets(t, "when the lessee came from elsewhere", held, "10.0.0.1", "10.0.0.9")
	})
}

// TestAGateThatFails must not leave a container with a lessee that cannot come in, or with
// one that can and should not.
func TestAGateThatFails(t *testing.T) {
	inBubble(t, published(), func(n *node) {
		n.session()
		n.create("c", "a")
		n.create("prewarmed", "")
		a := n.from("a", "10.0.0.1")
		b := n.from("b", "10.0.0.2")
		n.gate.set(func() { n.gate.failing = errors.New("no firewall today") })

		if err := b.renew(); err == nil || !strings.Contains(err.Error(), "no firewall today") {
			t.Errorf("Renew = %v", err)
		}
		n.command(whisk.CreateContainer{Epoch: 1, Container: "new", Spec: spec, Lessee: "a"})
		if failed := expect[whisk.CreationFailed](n); failed.Fault != whisk.NodeFault || !strings.Contains(failed.Message, "no firewall today") {
			t.Errorf("%+v", failed)
		}
		for id, from := range map[whisk.ContainerID]whisk.ControllerID{"c": "a", "prewarmed": ""} {
			n.command(whisk.GrantLease{Epoch: 1, Container: id, From: from, To: "b"})
			if refused := expect[whisk.LeaseRefused](n); refused.Container != id || refused.Lessee != "" {
				t.Errorf("%+v", refused)
			}
			if gone := expect[whisk.ContainerGone](n); gone.Container != id {
				t.Errorf("%+v", gone)
			}
		}
		n.gate.set(func() { n.gate.failing = nil })
		if err := errors.Join(a.renew(), b.renew()); err != nil {
			t.Errorf("Renew = %v", err)
		}
	})
}

func TestAControllerWithoutAWayIn(t *testing.T) {
	inBubble(t, published(), func(n *node) {
		n.session()
		n.create("c", "six")
		if err := n.join("six", "fd00::1").renew(); whisk.KindOf(err) != whisk.Invalid {
			t.Errorf("Renew from a strange address = %v", err)
		}
		calls := n.gate.calls
		n.controller("six") // in this process
		if n.gate.calls != calls {
			t.Error("the gate was asked for a controller without an address")
		}
	})
}
