// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"golang.org/x/sys/unix"

	"github.com/whirl-faas/whirl/whisk"
)

// table is the firewall's side of a gate. Each call is one transaction.
type table interface {
	// load returns what a former process left, and the ports that other
	// instances' tables guard. It finds out whether there can be a table at all.
	load() (left content, foreign map[uint16]bool, err error)
	// replace makes the table anew, in place of what there was.
	replace(content) error
	apply(change) error
	// remove removes the table; it is no error if there is none.
	remove() error
	// close ends the connection, and leaves the table as it is.
	close()
}

// content is what a table says.
type content struct {
	ports     []uint16 // that are closed to all but those permitted
	users     []uint32 // who answer on a port, and may do nothing else
	permitted []pair
	renewed   map[netip.Addr]time.Duration // for how long each may open connections yet
}

// pair lets a source in to a port.
type pair struct {
	source netip.Addr
	port   uint16
}

// change is a difference between two contents.
type change struct {
	addPorts, delPorts []uint16
	addUsers, delUsers []uint32
	permit, expel      []pair
	renew              []netip.Addr
	lease              time.Duration // of renew
}

// compare adds what has to change for a port.
func (c *change) compare(port uint16, has, wanted []netip.Addr) {
	for _, source := range has {
		if !slices.Contains(wanted, source) {
			c.expel = append(c.expel, pair{source, port})
		}
	}
	for _, source := range wanted {
		if !slices.Contains(has, source) {
			c.permit = append(c.permit, pair{source, port})
		}
	}
}

func (c *change) empty() bool {
	return len(c.addPorts)+len(c.delPorts)+len(c.addUsers)+len(c.delUsers)+len(c.permit)+len(c.expel)+len(c.renew) == 0
}

// kernelTable is a table of the kernel's nftables.
type kernelTable struct {
	name    string
	address netip.Addr // whose ports it guards

	// conn stays open while all is well: when a connection ends, the kernel waits until
	// nothing can use any more what was deleted by then, which takes it 10 ms and more.
	conn *nftables.Conn
}

func (t *kernelTable) open() (*nftables.Conn, error) {
	if t.conn == nil {
		conn, err := nftables.New(nftables.AsLasting())
		if err != nil {
			return nil, explain(err)
		}
		t.conn = conn
	}
	return t.conn, nil
}

// close implements [table].
func (t *kernelTable) close() {
	if t.conn != nil {
		_ = t.conn.CloseLasting() // nothing waits in it
		t.conn = nil
	}
}

// sets are the variable part of the table.
type sets struct{ ports, users, permitted, renewed *nftables.Set }

func (t *kernelTable) table() *nftables.Table {
	return &nftables.Table{Name: t.name, Family: nftables.TableFamilyINet}
}

func (t *kernelTable) sets(of *nftables.Table) sets {
	source := nftables.TypeIPAddr
	if t.address.Is6() {
		source = nftables.TypeIP6Addr
	}
	return sets{
		ports:     &nftables.Set{Table: of, Name: "ports", KeyType: nftables.TypeInetService, KeyByteOrder: binaryutil.BigEndian},
		users:     &nftables.Set{Table: of, Name: "users", KeyType: nftables.TypeUID, KeyByteOrder: binaryutil.NativeEndian},
		permitted: &nftables.Set{Table: of, Name: "permitted", KeyType: nftables.MustConcatSetType(source, nftables.TypeInetService), Concatenation: true},
		renewed:   &nftables.Set{Table: of, Name: "renewed", KeyType: source, HasTimeout: true},
	}
}

// The elements of the sets, in the form of the kernel.

func portElement(port uint16) nftables.SetElement {
	return nftables.SetElement{Key: binary.BigEndian.AppendUint16(nil, port)}
}

func userElement(user uint32) nftables.SetElement {
	return nftables.SetElement{Key: binary.NativeEndian.AppendUint32(nil, user)}
}

func pairElement(p pair) nftables.SetElement {
	key := binary.BigEndian.AppendUint16(p.source.AsSlice(), p.port)
	return nftables.SetElement{Key: append(key, 0, 0)} // a multiple of four bytes
}

func renewedElement(source netip.Addr, rest time.Duration) nftables.SetElement {
	return nftables.SetElement{Key: source.AsSlice(), Timeout: max(rest, time.Millisecond)}
}

// elements makes elements of values.
func elements[V any](values []V, element func(V) nftables.SetElement) []nftables.SetElement {
	made := make([]nftables.SetElement, len(values))
	for i, value := range values {
		made[i] = element(value)
	}
	return made
}

// load implements [table].
func (t *kernelTable) load() (left content, foreign map[uint16]bool, err error) {
	conn, err := t.open()
	if err != nil {
		return left, nil, err
	}
	conn.AddTable(t.table()) // also to find out whether that can be done
	if err := conn.Flush(); err != nil {
		t.close()
		return left, nil, explain(err)
	}
	tables, err := conn.ListTablesOfFamily(nftables.TableFamilyINet)
	if err != nil {
		return left, nil, err
	}
	foreign = map[uint16]bool{}
	for _, other := range tables {
		if !strings.HasPrefix(other.Name, tablePrefix) || !strings.HasSuffix(other.Name, tableSuffix) {
			continue
		}
		found, err := read(conn, other)
		if err != nil {
			return left, nil, fmt.Errorf("read the firewall table %s: %w", other.Name, err)
		}
		if other.Name == t.name {
			left = found
			continue
		}
		for _, port := range found.ports {
			foreign[port] = true
		}
	}
	return left, foreign, nil
}

// read returns what a table says. One that is not as we make them says nothing.
func read(conn *nftables.Conn, of *nftables.Table) (found content, err error) {
	lists, err := conn.GetSets(of)
	if err != nil {
		return found, err
	}
	found.renewed = map[netip.Addr]time.Duration{}
	for _, set := range lists {
		all, err := conn.GetSetElements(set)
		if err != nil {
			return found, err
		}
		for _, one := range all {
			found.add(set.Name, one)
		}
	}
	return found, nil
}

// add takes an element as the kernel gives it.
func (c *content) add(set string, one nftables.SetElement) {
	switch n := len(one.Key); set {
	case "ports":
		if n >= 2 {
			c.ports = append(c.ports, binary.BigEndian.Uint16(one.Key))
		}
	case "users":
		if n >= 4 {
			c.users = append(c.users, binary.NativeEndian.Uint32(one.Key))
		}
	case "permitted":
		if n >= 8 {
			if source, ok := netip.AddrFromSlice(one.Key[:n-4]); ok {
				c.permitted = append(c.permitted, pair{source, binary.BigEndian.Uint16(one.Key[n-4:])})
			}
		}
	case "renewed":
		if source, ok := netip.AddrFromSlice(one.Key); ok {
			c.renewed[source] = one.Expires
		}
	}
}

// replace implements [table].
func (t *kernelTable) replace(with content) error {
	conn, err := t.open()
	if err != nil {
		return err
	}
	table := t.table()
	// Deleting fails if there is none, so one is made before.
	conn.AddTable(table)
	conn.DelTable(table)
	conn.AddTable(table)
	lists := t.sets(table)
	var renewed []nftables.SetElement
	for source, rest := range with.renewed {
		renewed = append(renewed, renewedElement(source, rest))
	}
	batch := batch{table: t, conn: conn}
	for _, list := range []struct {
		set  *nftables.Set
		with []nftables.SetElement
	}{
		{lists.ports, elements(with.ports, portElement)},
		{lists.users, elements(with.users, userElement)},
		{lists.permitted, elements(with.permitted, pairElement)},
		{lists.renewed, renewed},
	} {
		batch.try(conn.AddSet(list.set, nil))
		batch.add(list.set, list.with)
	}
	for _, chain := range t.chains(table, lists) {
		conn.AddChain(chain.Chain)
		for _, rule := range chain.rules {
			conn.AddRule(&nftables.Rule{Table: table, Chain: chain.Chain, Exprs: rule})
		}
	}
	return batch.flush()
}

// apply implements [table].
func (t *kernelTable) apply(todo change) error {
	conn, err := t.open()
	if err != nil {
		return err
	}
	lists := t.sets(t.table())
	batch := batch{table: t, conn: conn}
	batch.add(lists.ports, elements(todo.addPorts, portElement))
	batch.add(lists.users, elements(todo.addUsers, userElement))
	batch.del(lists.permitted, elements(todo.expel, pairElement))
	batch.add(lists.permitted, elements(todo.permit, pairElement))
	batch.del(lists.users, elements(todo.delUsers, userElement))
	batch.del(lists.ports, elements(todo.delPorts, portElement))
	// The time of an element that is there cannot be changed before Linux 6.12, and
	// one that is not there cannot be deleted.
	renewed := elements(todo.renew, func(source netip.Addr) nftables.SetElement { return renewedElement(source, todo.lease) })
	batch.add(lists.renewed, renewed)
	batch.del(lists.renewed, renewed)
	batch.add(lists.renewed, renewed)
	return batch.flush()
}

// remove implements [table].
func (t *kernelTable) remove() error {
	conn, err := t.open()
	if err != nil {
		return err
	}
	conn.DelTable(t.table())
	err = conn.Flush()
	t.close() // it is the last that is done, or there is something wrong
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove the firewall table %s: %w", t.name, err)
	}
	return nil
}

// batch is a transaction in the making.
type batch struct {
	table *kernelTable
	conn  *nftables.Conn
	err   error // the first
}

func (b *batch) try(err error) {
	if b.err == nil {
		b.err = err
	}
}

// chunk is how many elements one message holds: its parts' sizes have 16 bits.
const chunk = 500

func (b *batch) add(set *nftables.Set, all []nftables.SetElement) {
	for some := range slices.Chunk(all, chunk) {
		b.try(b.conn.SetAddElements(set, some))
	}
}

func (b *batch) del(set *nftables.Set, all []nftables.SetElement) {
	for some := range slices.Chunk(all, chunk) {
		b.try(b.conn.SetDeleteElements(set, some))
	}
}

func (b *batch) flush() error {
	if b.err == nil {
		b.err = b.conn.Flush()
	}
	if b.err != nil {
		b.table.close() // answers may be left in it
		return fmt.Errorf("set the firewall table %s: %w", b.table.name, b.err)
	}
	return nil
}

// explain says what is needed where the firewall cannot be changed.
func explain(err error) error {
	if errors.Is(err, os.ErrPermission) {
		return whisk.Errorf(whisk.Denied, "the firewall before published ports needs root, or the capability CAP_NET_ADMIN: %w", err)
	}
	return whisk.Errorf(whisk.Unavailable, "the firewall before published ports needs nf_tables in the kernel (`sudo modprobe nf_tables nf_tables_inet`): %w", err)
}
