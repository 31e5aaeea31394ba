// SPDX-License-Identifier: Apache-2.0

package gate_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/whirl-faas/whirl/agent/gate"
	"github.com/whirl-faas/whirl/whisk"
)

// host is a network of the test's thread, with some addresses: one is published, the
// others stand for other hosts.
type host struct {
	t      *testing.T
	config gate.Config
	a, b   netip.Addr
}

func newHost(t *testing.T, published, a, b string) *host {
	t.Helper()
	lacks := ""
	if os.Geteuid() != 0 {
		lacks = "network namespaces need root"
	} else if _, err := exec.LookPath("ip"); err != nil {
		lacks = "needs the ip command, of the package iproute2"
	}
	if lacks != "" {
		if os.Getenv("CI") == "true" {
			t.Fatal(lacks)
		}
		t.Skip(lacks)
	}
	runtime.LockOSThread() // for ever: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	h := &host{t: t, config: gate.Default(), a: netip.MustParseAddr(a), b: netip.MustParseAddr(b)}
	h.config.Instance, h.config.Address = "test", netip.MustParseAddr(published)
	h.config.Lease = time.Hour
	h.ip("link set lo up")
	for _, address := range []string{published, a, b} {
		h.ip("addr add " + address + " dev lo nodad")
	}
	return h
}

func (h *host) ip(arguments string) {
	h.t.Helper()
	if strings.Contains(arguments, ".") {
		arguments = strings.TrimSuffix(arguments, " nodad")
	}
	if out, err := exec.Command("ip", strings.Fields(arguments)...).CombinedOutput(); err != nil {
		h.t.Fatalf("ip %s: %v: %s", arguments, err, out)
	}
}

func (h *host) open() *gate.Gate {
	h.t.Helper()
	g, err := gate.Open(h.config)
	if err != nil {
		h.t.Fatalf("Open = %v", err)
	}
	return g
}

// serve takes a port and echoes there.
func (h *host) serve(g *gate.Gate) netip.AddrPort {
	h.t.Helper()
	socket, at, err := g.Take(0)
	if err != nil {
		h.t.Fatalf("Take = %v", err)
	}
	if err := unix.Listen(int(socket.Fd()), 16); err != nil {
		h.t.Fatal(err)
	}
	listener, err := net.FileListener(socket)
	socket.Close()
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = conn.(*net.TCPConn).WriteTo(conn)
			}()
		}
	}()
	return at
}

func (h *host) admit(g *gate.Gate, at netip.AddrPort, visitors ...netip.Addr) {
	h.t.Helper()
	err := g.Admit(map[whisk.Address][]netip.Addr{{Network: "tcp", Address: at.String()}: visitors}, visitors)
	if err != nil {
		h.t.Fatalf("Admit = %v", err)
	}
}

// silence is how long nothing must come where nothing may.
const silence = 300 * time.Millisecond

func dial(from netip.Addr, to netip.AddrPort, patience time.Duration) (net.Conn, error) {
	dialer := net.Dialer{Timeout: patience, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	return dialer.Dial("tcp", to.String())
}

func (h *host) connect(from netip.Addr, to netip.AddrPort) net.Conn {
	h.t.Helper()
	conn, err := dial(from, to, 10*time.Second)
	if err != nil {
		h.t.Fatalf("%s cannot connect to %s: %v", from, to, err)
	}
	h.t.Cleanup(func() { conn.Close() })
	return conn
}

func (h *host) refuse(when string, from netip.Addr, to netip.AddrPort) {
	h.t.Helper()
	if conn, err := dial(from, to, silence); err == nil {
		conn.Close()
		h.t.Errorf("%s: %s connects to %s", when, from, to)
	}
}

// echo reports whether an answer comes.
func echo(conn net.Conn, patience time.Duration) error {
	if _, err := conn.Write([]byte("x")); err != nil {
		return err
	}
	return answer(conn, patience)
}

func answer(conn net.Conn, patience time.Duration) error {
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	_, err := conn.Read(make([]byte, 1))
	return err
}

func (h *host) flows(when string, conn net.Conn) {
	h.t.Helper()
	if err := echo(conn, 10*time.Second); err != nil {
		h.t.Errorf("%s: %v", when, err)
	}
}

func TestTheKernelGuards(t *testing.T) {
	for name, addresses := range map[string][3]string{
		"IPv4": {"10.9.0.1", "10.9.0.2", "10.9.0.3"},
		"IPv6": {"fd09::1", "fd09::2", "fd09::3"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost(t, addresses[0], addresses[1], addresses[2])
			g := h.open()
			first, second := h.serve(g), h.serve(g)
			h.refuse("before anybody is let in", h.a, first)
			h.admit(g, first, h.a)
			held := h.connect(h.a, first)
			h.flows("the lessee's connection", held)
			h.refuse("another host", h.b, first)
			h.refuse("another container", h.a, second)

			h.admit(g, first, h.b) // the lease moves
			if err := echo(held, silence); err == nil {
				t.Error("the former lessee's connection goes on")
			}
			h.refuse("the former lessee", h.a, first)
			h.flows("the next lessee's connection", h.connect(h.b, first))
			h.admit(g, first, h.a, h.b)
			if err := answer(held, 10*time.Second); err != nil {
				t.Errorf("a connection whose owner is let in again: %v", err)
			}
			h.text(name == "IPv4", g, first)
		})
	}
}

// text compares what nft shows with the rules that rules.go promises.
func (h *host) text(four bool, g *gate.Gate, at netip.AddrPort) {
	h.t.Helper()
	nft, err := exec.LookPath("nft")
	if err != nil || !four {
		return
	}
	text, err := exec.Command(nft, "list", "table", "inet", gate.TableOf("test")).CombinedOutput()
	if err != nil {
		h.t.Fatalf("nft: %v: %s", err, text)
	}
	for _, want := range []string{
		fmt.Sprintf("10.9.0.2 . %d,", at.Port()),
		"type filter hook prerouting priority raw - 10; policy accept;",
		"type filter hook output priority raw - 10; policy accept;",
		"ip daddr 10.9.0.1 tcp dport @ports jump visitors",
		"ip saddr . tcp dport != @permitted counter",
		"tcp flags syn / fin,syn,rst,ack ip saddr != @renewed counter",
		"ip saddr 10.9.0.1 tcp sport @ports tcp flags syn / syn,ack counter",
		"meta skuid @users jump owners",
		"ip saddr 10.9.0.1 tcp sport @ports return",
	} {
		if !strings.Contains(string(text), want) {
			h.t.Errorf("the rules have not %q:\n%s", want, text)
		}
	}
}

func TestAKilledAgentsConnectionsGoOn(t *testing.T) {
	h := newHost(t, "10.9.0.1", "10.9.0.2", "10.9.0.3")
	killed := h.open()
	kept, stale := h.serve(killed), h.serve(killed)
	h.admit(killed, kept, h.a)
	h.admit(killed, stale, h.a)
	conn := h.connect(h.a, kept)
	h.flows("before", conn)

	next := h.open() // while there is none, nothing changes either
	h.flows("with the next agent", conn)
	h.refuse("another host", h.b, kept)
	if got := next.Admitted(whisk.Address{Network: "tcp", Address: kept.String()}); !slices.Equal(got, []netip.Addr{h.a}) {
		t.Errorf("Admitted = %v", got)
	}
	if err := next.Keep(map[netip.AddrPort]int{kept: 0}); err != nil {
		t.Fatal(err)
	}
	h.flows("when the next agent knows what is there", conn)
	h.connect(h.b, stale) // it is nobody's concern now
	if err := errors.Join(next.GiveBack(kept), next.Close()); err != nil {
		t.Fatal(err)
	}
	h.noTables()
}

func (h *host) noTables() {
	h.t.Helper()
	conn, err := nftables.New()
	if err != nil {
		h.t.Fatal(err)
	}
	tables, err := conn.ListTables()
	if err != nil || len(tables) > 0 {
		h.t.Errorf("left are %d tables, %v", len(tables), err)
	}
}

// TestTheKernelEndsALease when nobody renews it: nothing new begins, what runs goes on.
func TestTheKernelEndsALease(t *testing.T) {
	h := newHost(t, "10.9.0.1", "10.9.0.2", "10.9.0.3")
	h.config.Lease = time.Second
	g := h.open()
	at := h.serve(g)
	h.admit(g, at, h.a)
	conn := h.connect(h.a, at)
	for {
		other, err := dial(h.a, at, silence)
		if err != nil {
			break
		}
		other.Close()
	}
	h.flows("a connection of before", conn)
	h.admit(g, at, h.a)
	h.flows("a new one after a renewal", h.connect(h.a, at))
}

func TestARulesetFlushedByOthersComesBack(t *testing.T) {
	h := newHost(t, "10.9.0.1", "10.9.0.2", "10.9.0.3")
	g := h.open()
	at := h.serve(g)
	h.admit(g, at, h.a)
	conn, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	conn.FlushRuleset()
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	h.connect(h.b, at).Close()                              // the guard is gone
	if err := g.Admit(nil, []netip.Addr{h.a}); err != nil { // as with each renewal
		t.Fatal(err)
	}
	h.refuse("after a renewal", h.b, at)
	h.flows("the lessee's", h.connect(h.a, at))
}

func TestAnotherInstancesPortsAreLeftAlone(t *testing.T) {
	h := newHost(t, "10.9.0.1", "10.9.0.2", "10.9.0.3")
	dead := h.open()
	socket, taken, err := dead.Take(0)
	if err != nil {
		t.Fatal(err)
	}
	socket.Close()
	h.config.Instance = "other"
	if at := h.serve(h.open()); at == taken {
		t.Errorf("port %d is guarded by another table, and was given out", at.Port())
	}
	if err := gate.Clear("test"); err != nil {
		t.Error(err)
	}
	if err := gate.Clear("test"); err != nil {
		t.Errorf("Clear of what is not there = %v", err)
	}
}
