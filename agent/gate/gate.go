// SPDX-License-Identifier: Apache-2.0

// Package gate publishes the containers of a node to other hosts: it gives out
// ports of one of the node's addresses, and has the kernel keep everybody from them
// but the controllers that the agent lets in.
//
// No byte passes through this process. All of it is one nftables table of ours, which
// the kernel looks up for each packet: so whoever is let in no more is cut off with
// the connections that he has, and an agent that is killed or replaced disturbs nobody.
// The table outlives the process while there is a port in use, and the next process
// of the same instance begins with what it says. Nothing else of the host's rules is
// touched; whatever drops a packet there still does.
//
// Its promises:
//
//   - A port is closed to everybody from before it can be connected to, until it
//     was given back.
//   - Each change of visitors happens at once or not at all.
//   - Who has not renewed for a lease's time opens no more connections, even if
//     there is no agent to say so. Those that are open stay: nobody else gets the
//     container while no agent grants it.
//   - A table that somebody else removed or changed is put back by the next change.
//   - The owner of a port may answer there and nowhere else in the host's network:
//     a socket that was handed into a sandbox is no way out of it.
//
// Methods may be called concurrently. docs/operations.md shows the table.
package gate

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/whirl-faas/whirl/whisk"
)

// Config says what is published where.
type Config struct {
	Instance    string        // whose table it is; one process at a time may open it
	Address     netip.Addr    // of this machine
	First, Last uint16        // the ports that containers may get
	Lease       time.Duration // how long a renewal lets a controller open connections
	Logger      *slog.Logger  // nil discards
}

// Default returns a config that lacks an instance and an address. Its ports are below
// those that Linux gives to outgoing connections.
func Default() Config {
	return Config{First: 20000, Last: 24095, Lease: whisk.LeaseTTL}
}

// Validate reports what is missing or makes no sense.
func (c Config) Validate() error {
	switch {
	case c.Instance == "":
		return whisk.Errorf(whisk.Invalid, "published ports need an instance")
	case !c.Address.IsValid() || c.Address.IsUnspecified() || c.Address.IsMulticast() || c.Address.Zone() != "" || c.Address.Is4In6():
		return whisk.Errorf(whisk.Invalid, "containers are published on one address of this machine, such as 10.0.0.2, not on %q", c.Address)
	case c.First < 1024 || c.Last < c.First:
		return whisk.Errorf(whisk.Invalid, "published ports must be a range between 1024 and 65535, not %d-%d", c.First, c.Last)
	case c.Lease < time.Second:
		return whisk.Errorf(whisk.Invalid, "a lease of %v is too short", c.Lease)
	}
	return nil
}

// Gate guards published ports.
type Gate struct {
	config Config
	log    *slog.Logger
	table  table
	turn   chan struct{} // holds one token: who changes the table takes it

	// Owned by who has the turn.
	doors   map[uint16]*door
	owners  []uint32                 // of a former process's doors, until Keep says whose each is
	renewed map[netip.Addr]time.Time // until when each may open connections
	next    uint16                   // where the search for a free port begins
	foreign map[uint16]bool          // that another instance's table guards
}

// door is a port in use.
type door struct {
	owner    int // the user who answers there, 0 for none that has to be watched
	visitors []netip.Addr
}

// Open puts the table in force, with what a former process of the instance left in it.
// The error says what is needed if that cannot be done here.
func Open(config Config) (*Gate, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	return open(config, &kernelTable{name: TableOf(config.Instance), address: config.Address})
}

func open(config Config, table table) (*Gate, error) {
	g := &Gate{
		config:  config,
		log:     config.Logger,
		table:   table,
		turn:    make(chan struct{}, 1),
		doors:   map[uint16]*door{},
		renewed: map[netip.Addr]time.Time{},
		next:    config.First,
	}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	g.turn <- struct{}{}
	if err := g.probe(); err != nil {
		return nil, err
	}
	left, foreign, err := table.load()
	if err != nil {
		table.close()
		return nil, fmt.Errorf("publish containers: %w", err)
	}
	g.foreign = foreign
	if len(foreign) > 0 {
		g.log.Warn("ports are guarded by another instance's table, and left alone", "ports", len(foreign))
	}
	g.takeOver(left)
	if err := table.replace(g.content()); err != nil {
		return nil, fmt.Errorf("publish containers: %w", err)
	}
	return g, nil
}

// probe finds out whether the address is ours to listen on.
func (g *Gate) probe() error {
	socket, err := bind(netip.AddrPortFrom(g.config.Address, 0))
	if errors.Is(err, unix.EADDRNOTAVAIL) {
		return whisk.Errorf(whisk.Invalid, "publish containers: this machine has no address %s", g.config.Address)
	}
	if err != nil {
		return fmt.Errorf("publish containers on %s: %w", g.config.Address, err)
	}
	return socket.Close()
}

func (g *Gate) takeOver(left content) {
	g.owners = left.users
	for _, port := range left.ports {
		g.doors[port] = &door{}
	}
	for _, pair := range left.permitted {
		if d := g.doors[pair.port]; d != nil && pair.source.Is4() == g.config.Address.Is4() {
			d.visitors = append(d.visitors, pair.source)
		}
	}
	now := time.Now()
	for source, rest := range left.renewed {
		if source.Is4() == g.config.Address.Is4() {
			g.renewed[source] = now.Add(rest)
		}
	}
}

// TableOf names an instance's table, of nftables' family inet.
func TableOf(instance string) string {
	sum := sha256.Sum256([]byte(instance))
	return fmt.Sprintf("%s%x%s", tablePrefix, sum[:4], tableSuffix)
}

const tablePrefix, tableSuffix = "whirl_", "_published"

// Clear removes the table that a former process of an instance may have left, for one that
// publishes nothing.
func Clear(instance string) error { return (&kernelTable{name: TableOf(instance)}).remove() }

// Guards reports whether a port can be one of ours: it is not if it was published by a former
// process on another address.
func (g *Gate) Guards(at netip.AddrPort) bool { return at.Addr() == g.config.Address }

// Keep says which ports of a former process are still in use, each with its owner as Take has
// it. The others are closed, and may be given out again. It is called once, before any Take.
func (g *Gate) Keep(used map[netip.AddrPort]int) error {
	<-g.turn
	defer func() { g.turn <- struct{}{} }()
	keep := map[uint16]*door{}
	for at, owner := range used {
		if g.Guards(at) {
			keep[at.Port()] = &door{owner: owner}
		}
	}
	for port, d := range keep {
		if was := g.doors[port]; was != nil {
			d.visitors = was.visitors
		}
	}
	g.doors, g.owners = keep, nil
	return g.table.replace(g.content())
}

// errFull says that there is no port.
var errFull = errors.New("none is free")

// Take returns a socket that is bound to a port and does not listen yet. Nobody can connect
// to the port but who is admitted. owner is the user whose processes will answer there, and
// who may then do nothing else in the host's network; 0 if they live in a network of
// their own. Unavailable if all ports are in use.
func (g *Gate) Take(owner int) (*os.File, netip.AddrPort, error) {
	<-g.turn
	defer func() { g.turn <- struct{}{} }()
	socket, at, err := g.find()
	if err != nil {
		return nil, at, whisk.Errorf(whisk.Unavailable, "take a port of %s from %d to %d: %w", g.config.Address, g.config.First, g.config.Last, err)
	}
	g.doors[at.Port()] = &door{owner: owner}
	err = g.applyOrReplace(change{addPorts: []uint16{at.Port()}, addUsers: g.doors[at.Port()].users()})
	if err != nil {
		delete(g.doors, at.Port())
		return nil, at, errors.Join(fmt.Errorf("guard port %d: %w", at.Port(), err), socket.Close())
	}
	return socket, at, nil
}

// find binds the next free port. Each is given out as late as possible after it was given back.
func (g *Gate) find() (*os.File, netip.AddrPort, error) {
	for range int(g.config.Last-g.config.First) + 1 {
		at := netip.AddrPortFrom(g.config.Address, g.next)
		if g.next++; g.next > g.config.Last || g.next == 0 {
			g.next = g.config.First
		}
		if g.doors[at.Port()] != nil || g.foreign[at.Port()] {
			continue
		}
		socket, err := bind(at)
		if errors.Is(err, unix.EADDRINUSE) {
			continue // somebody else's
		}
		return socket, at, err
	}
	return nil, netip.AddrPort{}, errFull
}

// GiveBack says that nobody listens on a port any more. It is no error if it was given back.
func (g *Gate) GiveBack(at netip.AddrPort) error {
	<-g.turn
	defer func() { g.turn <- struct{}{} }()
	d := g.doors[at.Port()]
	if d == nil || !g.Guards(at) {
		return nil
	}
	gone := change{delPorts: []uint16{at.Port()}, delUsers: d.users()}
	for _, source := range d.visitors {
		gone.expel = append(gone.expel, pair{source, at.Port()})
	}
	delete(g.doors, at.Port())
	if err := g.applyOrReplace(gone); err != nil {
		return fmt.Errorf("give port %d back: %w", at.Port(), err)
	}
	return nil
}

// users returns who has to be watched.
func (d *door) users() []uint32 {
	if d.owner == 0 {
		return nil
	}
	return []uint32{uint32(d.owner)}
}

// Admit lets in these visitors at each address, and nobody else, and lets those who
// renewed open connections for a lease's time from now. Addresses that were not taken here are
// left out: the containers there are reached in another way.
func (g *Gate) Admit(visitors map[whisk.Address][]netip.Addr, renewed []netip.Addr) error {
	<-g.turn
	defer func() { g.turn <- struct{}{} }()
	now := time.Now()
	maps.DeleteFunc(g.renewed, func(_ netip.Addr, until time.Time) bool { return !until.After(now) })
	todo := change{renew: renewed, lease: g.config.Lease}
	for _, source := range renewed {
		g.renewed[source] = now.Add(g.config.Lease)
	}
	was := map[*door][]netip.Addr{}
	for address, wanted := range visitors {
		d, port := g.doorAt(address)
		if d == nil {
			continue
		}
		was[d] = d.visitors
		todo.compare(port, d.visitors, wanted)
		d.visitors = slices.Clone(wanted)
	}
	if err := g.applyOrReplace(todo); err != nil {
		for d, visitors := range was {
			d.visitors = visitors
		}
		return fmt.Errorf("admit controllers: %w", err)
	}
	return nil
}

// Admitted returns who is let in at an address.
func (g *Gate) Admitted(address whisk.Address) []netip.Addr {
	<-g.turn
	defer func() { g.turn <- struct{}{} }()
	d, _ := g.doorAt(address)
	if d == nil {
		return nil
	}
	return slices.Clone(d.visitors)
}

func (g *Gate) doorAt(address whisk.Address) (*door, uint16) {
	at, err := netip.ParseAddrPort(address.Address)
	if address.Network != "tcp" || err != nil || !g.Guards(at) {
		return nil, 0
	}
	return g.doors[at.Port()], at.Port()
}

// applyOrReplace changes the table. If that fails the table may not be what we left: it is put back
// whole, as it should be after the change.
func (g *Gate) applyOrReplace(todo change) error {
	if todo.empty() {
		return nil
	}
	err := g.table.apply(todo)
	if err == nil {
		return nil
	}
	if failure := g.table.replace(g.content()); failure != nil {
		return errors.Join(err, failure)
	}
	g.log.Warn("the firewall's table was not as it was left, and is put back", "err", err)
	return nil
}

// content returns what the table has to say.
func (g *Gate) content() content {
	c := content{users: slices.Clone(g.owners), renewed: map[netip.Addr]time.Duration{}}
	for port, d := range g.doors {
		c.ports = append(c.ports, port)
		for _, source := range d.visitors {
			c.permitted = append(c.permitted, pair{source, port})
		}
		c.users = append(c.users, d.users()...)
	}
	now := time.Now()
	for source, until := range g.renewed {
		if rest := until.Sub(now); rest > 0 {
			c.renewed[source] = rest
		}
	}
	return c
}

// Close removes the table, unless ports are in use: those are left to the next process.
func (g *Gate) Close() error {
	<-g.turn
	defer func() { g.turn <- struct{}{} }()
	defer g.table.close()
	if len(g.doors) > 0 {
		return nil
	}
	if err := g.table.remove(); err != nil {
		return fmt.Errorf("close published ports: %w", err)
	}
	return nil
}
