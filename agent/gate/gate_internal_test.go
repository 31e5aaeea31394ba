// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"errors"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"github.com/whirl-faas/whirl/whisk"
)

var here = netip.MustParseAddr("127.0.0.1")

// memory is a table that fails on demand.
type memory struct {
	content
	foreign          map[uint16]bool
	applies, repairs int
	failApply        error
	failReplace      error
	removed          bool
}

func (m *memory) load() (content, map[uint16]bool, error) { return m.content, m.foreign, nil }

func (m *memory) replace(with content) error {
	m.repairs++
	if m.failReplace != nil {
		return m.failReplace
	}
	m.content = with
	return nil
}

func (m *memory) apply(todo change) error {
	m.applies++
	if m.failApply != nil {
		return m.failApply
	}
	m.ports = minus(m.ports, todo.delPorts, todo.addPorts)
	m.users = minus(m.users, todo.delUsers, todo.addUsers)
	m.permitted = minus(m.permitted, todo.expel, todo.permit)
	if m.renewed == nil {
		m.renewed = map[netip.Addr]time.Duration{}
	}
	for _, source := range todo.renew {
		m.renewed[source] = todo.lease
	}
	return nil
}

func minus[V comparable](from, gone, more []V) []V {
	return append(slices.DeleteFunc(slices.Clone(from), func(v V) bool { return slices.Contains(gone, v) }), more...)
}

func (m *memory) remove() error {
	m.removed = true
	return nil
}

func (m *memory) close() {}

func (m *memory) check(t *testing.T, when string, ports []uint16, users []uint32, permitted []pair) {
	t.Helper()
	slices.Sort(m.ports)
	slices.Sort(m.users)
	byPort := func(a, b pair) int {
		return int(a.port)*1000 + int(a.source.As4()[3]) - int(b.port)*1000 - int(b.source.As4()[3])
	}
	slices.SortFunc(m.permitted, byPort)
	if !slices.Equal(m.ports, ports) || !slices.Equal(m.users, users) || !slices.Equal(m.permitted, permitted) {
		t.Errorf("%s: the table has ports %v, users %v, permitted %v; want %v, %v, %v", when, m.ports, m.users, m.permitted, ports, users, permitted)
	}
}

// freeRange returns the first of some ports that were free just now.
func freeRange(t *testing.T, count int) uint16 {
	t.Helper()
	for first := 21000; first < 32000; first += count {
		free := true
		for port := first; port < first+count; port++ {
			socket, err := bind(netip.AddrPortFrom(here, uint16(port)))
			if free = free && err == nil; err == nil {
				socket.Close()
			}
		}
		if free {
			return uint16(first)
		}
	}
	t.Fatal("no free ports")
	return 0
}

func newGate(t *testing.T, table *memory, count int) *Gate {
	t.Helper()
	config := Default()
	config.Instance, config.Address = "test", here
	config.First = freeRange(t, count)
	config.Last = config.First + uint16(count) - 1
	g, err := open(config, table)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// take takes a port and listens there until the test ends.
func take(t *testing.T, g *Gate, owner int) netip.AddrPort {
	t.Helper()
	socket, at, err := g.Take(owner)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	if err := unix.Listen(int(socket.Fd()), 1); err != nil {
		t.Fatal(err)
	}
	return at
}

func addressOf(at netip.AddrPort) whisk.Address {
	return whisk.Address{Network: "tcp", Address: at.String()}
}

func sources(texts ...string) (list []netip.Addr) {
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

func TestPortsComeAndGo(t *testing.T) {
	table := &memory{}
	g := newGate(t, table, 4)
	first := g.config.First
	table.foreign = map[uint16]bool{first + 1: true}
	g.foreign = table.foreign
	occupied, err := net.Listen("tcp4", netip.AddrPortFrom(here, first+2).String())
	if err != nil {
		t.Fatal(err)
	}
	defer occupied.Close()

	a, b := take(t, g, 7), take(t, g, 0)
	if a.Port() != first || b.Port() != first+3 {
		t.Errorf("took %v and %v, of 4 from %d of which the second is guarded and the third in use", a, b, first)
	}
	table.check(t, "with two taken", []uint16{first, first + 3}, []uint32{7}, nil)
	if _, _, err := g.Take(0); whisk.KindOf(err) != whisk.Unavailable {
		t.Errorf("Take when none is free = %v", err)
	}
	if err := g.Admit(map[whisk.Address][]netip.Addr{addressOf(a): sources("10.0.0.1", "10.0.0.2")}, nil); err != nil {
		t.Fatal(err)
	}
	if err := g.Close(); err != nil || table.removed {
		t.Errorf("Close while ports are in use = %v, removed %v", err, table.removed)
	}
	for range 2 {
		if err := g.GiveBack(a); err != nil {
			t.Error(err)
		}
	}
	table.check(t, "with one given back", []uint16{first + 3}, nil, nil)
	if err := errors.Join(g.GiveBack(b), g.Close()); err != nil || !table.removed {
		t.Errorf("Close when all is given back = %v, removed %v", err, table.removed)
	}
}

func TestAPortRestsAsLongAsPossible(t *testing.T) {
	g := newGate(t, &memory{}, 3)
	var got []uint16
	for range 5 {
		socket, at, err := g.Take(0)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, at.Port()-g.config.First)
		if err := errors.Join(socket.Close(), g.GiveBack(at)); err != nil {
			t.Fatal(err)
		}
	}
	if want := []uint16{0, 1, 2, 0, 1}; !slices.Equal(got, want) {
		t.Errorf("took %v, want %v", got, want)
	}
}

func TestAdmitChangesNoMoreThanItMust(t *testing.T) {
	table := &memory{}
	g := newGate(t, table, 2)
	a, b := take(t, g, 0), take(t, g, 0)
	admit := func(visitors map[whisk.Address][]netip.Addr, renewed ...string) {
		t.Helper()
		if err := g.Admit(visitors, sources(renewed...)); err != nil {
			t.Fatal(err)
		}
	}
	admit(map[whisk.Address][]netip.Addr{addressOf(a): sources("10.0.0.1"), addressOf(b): sources("10.0.0.1", "10.0.0.2")}, "10.0.0.1")
	table.check(t, "first", []uint16{a.Port(), b.Port()}, nil, []pair{
		{netip.MustParseAddr("10.0.0.1"), a.Port()}, {netip.MustParseAddr("10.0.0.1"), b.Port()}, {netip.MustParseAddr("10.0.0.2"), b.Port()}})
	if !maps.Equal(table.renewed, map[netip.Addr]time.Duration{netip.MustParseAddr("10.0.0.1"): whisk.LeaseTTL}) {
		t.Errorf("renewed are %v", table.renewed)
	}
	applies := table.applies
	admit(map[whisk.Address][]netip.Addr{
		addressOf(a):                         sources("10.0.0.1"),
		{Network: "unix", Address: "/run/x"}: sources("10.0.0.9"),
		{Network: "tcp", Address: "10.0.0.8:" + portText(a)}: sources("10.0.0.9"),
		{Network: "tcp", Address: here.String() + ":1"}:      sources("10.0.0.9"),
	})
	if table.applies != applies {
		t.Error("the table was changed without a change")
	}
	admit(map[whisk.Address][]netip.Addr{addressOf(a): nil, addressOf(b): sources("10.0.0.3")})
	table.check(t, "then", []uint16{a.Port(), b.Port()}, nil, []pair{{netip.MustParseAddr("10.0.0.3"), b.Port()}})
	if got := g.Admitted(addressOf(b)); !slices.Equal(got, sources("10.0.0.3")) {
		t.Errorf("Admitted = %v", got)
	}
}

func portText(at netip.AddrPort) string { return strings.Split(at.String(), ":")[1] }

func TestATableThatSomebodyChangedIsPutBack(t *testing.T) {
	table := &memory{}
	g := newGate(t, table, 2)
	a := take(t, g, 5)
	if err := g.Admit(map[whisk.Address][]netip.Addr{addressOf(a): sources("10.0.0.1")}, sources("10.0.0.1")); err != nil {
		t.Fatal(err)
	}
	repairs := table.repairs
	table.content, table.failApply = content{}, errors.New("there is no such table")
	if err := g.Admit(map[whisk.Address][]netip.Addr{addressOf(a): sources("10.0.0.1", "10.0.0.2")}, nil); err != nil {
		t.Errorf("Admit = %v", err)
	}
	table.check(t, "put back", []uint16{a.Port()}, []uint32{5}, []pair{{netip.MustParseAddr("10.0.0.1"), a.Port()}, {netip.MustParseAddr("10.0.0.2"), a.Port()}})
	if table.repairs != repairs+1 || table.renewed[netip.MustParseAddr("10.0.0.1")] <= 0 {
		t.Errorf("%d repairs, renewed are %v", table.repairs-repairs, table.renewed)
	}

	table.failReplace = errors.New("nothing works")
	if err := g.Admit(map[whisk.Address][]netip.Addr{addressOf(a): nil}, nil); err == nil {
		t.Error("Admit of a broken firewall = nil")
	}
	if got := g.Admitted(addressOf(a)); len(got) != 2 {
		t.Errorf("after a change that failed Admitted = %v", got)
	}
	if _, _, err := g.Take(0); err == nil {
		t.Error("Take of a broken firewall = nil")
	}
	table.failApply, table.failReplace = nil, nil
	if at := take(t, g, 0); at == a {
		t.Error("a port was given out twice")
	}
}

func TestWhatAFormerProcessLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		one, two := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
		table := &memory{content: content{
			ports:     []uint16{25000, 25001, 25002},
			users:     []uint32{1_900_000_001, 1_900_000_002},
			permitted: []pair{{one, 25000}, {two, 25001}, {two, 9}},
			renewed:   map[netip.Addr]time.Duration{one: 4 * time.Second, two: time.Second},
		}}
		g := newGate(t, table, 1)
		table.check(t, "taken over", []uint16{25000, 25001, 25002}, []uint32{1_900_000_001, 1_900_000_002}, []pair{{one, 25000}, {two, 25001}})
		if got := g.Admitted(addressOf(netip.AddrPortFrom(here, 25000))); !slices.Equal(got, []netip.Addr{one}) {
			t.Errorf("Admitted = %v", got)
		}
		time.Sleep(2 * time.Second)
		if err := g.Keep(map[netip.AddrPort]int{netip.AddrPortFrom(here, 25000): 1_900_000_001, netip.AddrPortFrom(here, 25003): 0}); err != nil {
			t.Fatal(err)
		}
		table.check(t, "with what is kept", []uint16{25000, 25003}, []uint32{1_900_000_001}, []pair{{one, 25000}})
		if want := map[netip.Addr]time.Duration{one: 2 * time.Second}; !maps.Equal(table.renewed, want) {
			t.Errorf("renewed are %v, want %v", table.renewed, want)
		}
	})
}

func TestSources(t *testing.T) {
	public := &Gate{config: Config{Address: netip.MustParseAddr("192.0.2.1")}}
	inside := &Gate{config: Config{Address: netip.MustParseAddr("127.0.0.7")}}
	for _, row := range []struct {
		gate *Gate
		peer string
		want []netip.Addr
	}{
		{public, "198.51.100.7", sources("198.51.100.7")},
		{public, "::ffff:198.51.100.7", sources("198.51.100.7")},
		{public, "127.0.0.1", sources("192.0.2.1")},
		{public, "::1", sources("192.0.2.1")},
		{inside, "127.0.0.1", sources("127.0.0.7", "127.0.0.1")},
		{public, "2001:db8::1", nil},
	} {
		got, err := row.gate.Sources(netip.MustParseAddr(row.peer))
		if !slices.Equal(got, row.want) || (err == nil) != (row.want != nil) || err != nil && whisk.KindOf(err) != whisk.Invalid {
			t.Errorf("from %s to %s: %v, %v; want %v", row.peer, row.gate.config.Address, got, err, row.want)
		}
	}
}

func TestValidate(t *testing.T) {
	good := Default()
	good.Instance, good.Address = "x", netip.MustParseAddr("10.0.0.1")
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for name, change := range map[string]func(*Config){
		"no instance":     func(c *Config) { c.Instance = "" },
		"no address":      func(c *Config) { c.Address = netip.Addr{} },
		"any address":     func(c *Config) { c.Address = netip.IPv4Unspecified() },
		"many addresses":  func(c *Config) { c.Address = netip.MustParseAddr("224.0.0.1") },
		"a zone":          func(c *Config) { c.Address = netip.MustParseAddr("fe80::1%eth0") },
		"a mapped one":    func(c *Config) { c.Address = netip.MustParseAddr("::ffff:10.0.0.1") },
		"low ports":       func(c *Config) { c.First = 80 },
		"an upside range": func(c *Config) { c.First, c.Last = 3000, 2000 },
		"no lease":        func(c *Config) { c.Lease = 0 },
	} {
		bad := good
		change(&bad)
		if err := bad.Validate(); whisk.KindOf(err) != whisk.Invalid {
			t.Errorf("%s: Validate = %v", name, err)
		}
	}
}

func TestAnAddressThatIsNotOurs(t *testing.T) {
	config := Default()
	config.Instance, config.Address = "test", netip.MustParseAddr("192.0.2.77")
	if _, err := open(config, &memory{}); whisk.KindOf(err) != whisk.Invalid || !strings.Contains(err.Error(), "192.0.2.77") {
		t.Errorf("open = %v", err)
	}
}
