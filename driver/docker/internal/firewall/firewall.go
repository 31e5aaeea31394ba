// SPDX-License-Identifier: Apache-2.0

// Package firewall keeps containers on a bridge from what they have no business
// with: the machine that they run on, each other, addresses such as that of a
// cloud's metadata service, and whoever would reach them from outside.
//
// It talks to the kernel's nftables by netlink, so that no command has to be
// installed. All of it is one table of ours: a packet passes only if both our
// table and the host's own rules let it, so nothing of the host's is touched,
// and removing the table removes everything.
package firewall

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Rules say what containers may reach.
type Rules struct {
	Table   string           // the name of our table
	Bridges []string         // network devices of the containers; they need not exist yet
	Denied  []netip.Prefix   // what they may not reach outside
	Allowed []netip.AddrPort // what they may reach all the same, and on this machine, by TCP

	Published bool // the engine publishes ports of theirs, before which another table stands
}

// Apply puts the rules in force, in place of earlier ones of the table, at once.
func Apply(rules Rules) error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	table := &nftables.Table{Name: rules.Table, Family: nftables.TableFamilyINet}
	// Deleting fails if there is none, so one is made before.
	conn.AddTable(table)
	conn.DelTable(table)
	conn.AddTable(table)
	for _, chain := range rules.chains(table) {
		conn.AddChain(chain.Chain)
		for _, rule := range chain.rules {
			conn.AddRule(&nftables.Rule{Table: table, Chain: chain.Chain, Exprs: rule})
		}
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("set the firewall table %s: %w", rules.Table, err)
	}
	return nil
}

// Remove removes a table. It is no error if there is none.
func Remove(table string) error {
	conn, err := nftables.New()
	if err != nil {
		return fmt.Errorf("open nftables: %w", err)
	}
	conn.DelTable(&nftables.Table{Name: table, Family: nftables.TableFamilyINet})
	if err := conn.Flush(); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("remove the firewall table %s: %w", table, err)
	}
	return nil
}

// SeesBridged reports whether packets between two ports of a bridge pass these
// rules at all; only then containers can be kept from each other.
func SeesBridged() bool {
	value, err := os.ReadFile("/proc/sys/net/bridge/bridge-nf-call-iptables")
	return err == nil && strings.TrimSpace(string(value)) == "1"
}

type chain struct {
	*nftables.Chain
	rules [][]expr.Any
}

// early places the chains before the usual filters, for nothing but speed: the
// order between tables changes no verdict of drop.
const early = -5

func (r Rules) chains(table *nftables.Table) []chain {
	base := func(name string, hook *nftables.ChainHook) chain {
		return chain{Chain: &nftables.Chain{
			Name: name, Table: table, Type: nftables.ChainTypeFilter, Hooknum: hook,
			Priority: nftables.ChainPriorityRef(early),
		}}
	}
	input, forward := base("input", nftables.ChainHookInput), base("forward", nftables.ChainHookForward)
	for _, bridge := range r.Bridges {
		// To this machine: answers to what it asked, and what is allowed.
		input.rules = append(input.rules, all(from(bridge), established(), accept()))
		for _, service := range r.Allowed {
			input.rules = append(input.rules, all(from(bridge), toService(service), accept()))
		}
		input.rules = append(input.rules, all(from(bridge), drop()))

		// To each other, to what is denied, and to anything by IPv6, which
		// these rules do not describe.
		for _, other := range r.Bridges {
			forward.rules = append(forward.rules, all(from(bridge), to(other), drop()))
		}
		for _, service := range r.Allowed {
			forward.rules = append(forward.rules, all(from(bridge), toService(service), accept()))
		}
		for _, prefix := range r.Denied {
			if prefix.Addr().Is4() {
				forward.rules = append(forward.rules, all(from(bridge), toPrefix(prefix), drop()))
			}
		}
		forward.rules = append(forward.rules, all(from(bridge), ofFamily(unix.NFPROTO_IPV6), drop()))

		// From outside: answers to what they asked, and what comes by a published port.
		forward.rules = append(forward.rules, all(to(bridge), established(), accept()))
		if r.Published {
			forward.rules = append(forward.rules, all(to(bridge), translated(), accept()))
		}
		forward.rules = append(forward.rules, all(to(bridge), drop()))
	}
	return []chain{input, forward}
}

func all(parts ...[]expr.Any) []expr.Any {
	var rule []expr.Any
	for _, part := range parts {
		rule = append(rule, part...)
	}
	return rule
}

func accept() []expr.Any { return []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}} }

func drop() []expr.Any {
	return []expr.Any{&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop}}
}

func from(device string) []expr.Any { return onDevice(expr.MetaKeyIIFNAME, device) }

func to(device string) []expr.Any { return onDevice(expr.MetaKeyOIFNAME, device) }

func onDevice(key expr.MetaKey, device string) []expr.Any {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, device)
	return []expr.Any{&expr.Meta{Key: key, Register: 1}, equal(name)}
}

func ofFamily(family byte) []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, equal([]byte{family})}
}

func equal(data []byte) expr.Any {
	return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data}
}

func established() []expr.Any {
	mask := binaryutil.NativeEndian.PutUint32(expr.CtStateBitESTABLISHED | expr.CtStateBitRELATED)
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}

// translated matches packets whose destination is another than they were sent to.
func translated() []expr.Any {
	const destinationChanged = 1 << 5 // of the kernel's enum ip_conntrack_status
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATUS, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(destinationChanged), Xor: make([]byte, 4)},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: make([]byte, 4)},
	}
}

// toPrefix matches the destination's IPv4 address.
func toPrefix(prefix netip.Prefix) []expr.Any {
	const destination = 16 // in the IPv4 header
	prefix = prefix.Masked()
	mask := make([]byte, 4)
	binary.BigEndian.PutUint32(mask, ^uint32(0)<<(32-prefix.Bits()))
	if prefix.Bits() == 0 {
		clear(mask)
	}
	return append(ofFamily(unix.NFPROTO_IPV4),
		&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: destination, Len: 4, DestRegister: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		equal(prefix.Addr().AsSlice()))
}

// toService matches TCP to an IPv4 address and port.
func toService(service netip.AddrPort) []expr.Any {
	const port = 2 // in the TCP header
	return append(toPrefix(netip.PrefixFrom(service.Addr(), 32)),
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equal([]byte{unix.IPPROTO_TCP}),
		&expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: port, Len: 2, DestRegister: 1},
		equal(binaryutil.BigEndian.PutUint16(service.Port())))
}
