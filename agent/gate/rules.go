// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// The constant part of the table. Its chains come before the kernel translates
// addresses, so that they see what is published, whoever serves behind it:
//
//	chain arriving {
//		type filter hook prerouting priority -310
//		ip daddr ADDRESS tcp dport @ports jump visitors
//	}
//	chain leaving {
//		type filter hook output priority -310
//		ip daddr ADDRESS tcp dport @ports jump visitors
//		ip saddr ADDRESS tcp sport @ports tcp flags & (syn|ack) == syn drop
//		meta skuid @users jump owners
//	}
//	chain visitors {
//		ip saddr . tcp dport != @permitted drop
//		tcp flags & (fin|syn|rst|ack) == syn ip saddr != @renewed drop
//	}
//	chain owners {
//		ip saddr ADDRESS tcp sport @ports return
//		drop
//	}
//
// The last two rules of leaving are about sockets that were handed into a sandbox, which
// are of the host's network whatever the sandbox's is: code there could disconnect one and
// connect it to something else. The listening one keeps its address and port whatever is done
// to it; one that was accepted can be bound anew, also to a port number that is published,
// but its packets show whose it is.

const early = -310 // before raw, conntrack and the translation of addresses

type chain struct {
	*nftables.Chain
	rules [][]expr.Any
}

func (t *kernelTable) chains(table *nftables.Table, lists sets) []chain {
	base := func(name string, hook *nftables.ChainHook) chain {
		return chain{Chain: &nftables.Chain{
			Name: name, Table: table, Type: nftables.ChainTypeFilter, Hooknum: hook,
			Priority: nftables.ChainPriorityRef(early),
		}}
	}
	visitors := chain{Chain: &nftables.Chain{Name: "visitors", Table: table}}
	visitors.rules = [][]expr.Any{
		all(t.ofFamily(), tcp(), t.put(source), port(destinationPort, secondRegister(t.address)), notIn(lists.permitted), drop()),
		all(t.ofFamily(), tcp(), flags(syn|ack|fin|rst, syn), t.put(source), notIn(lists.renewed), drop()),
	}
	owners := chain{Chain: &nftables.Chain{Name: "owners", Table: table}}
	owners.rules = [][]expr.Any{
		all(t.with(source), tcp(), port(sourcePort, 1), in(lists.ports), goBack()),
		drop(),
	}
	visit := all(t.with(destination), tcp(), port(destinationPort, 1), in(lists.ports), jump(visitors))
	arriving, leaving := base("arriving", nftables.ChainHookPrerouting), base("leaving", nftables.ChainHookOutput)
	arriving.rules = [][]expr.Any{visit}
	leaving.rules = [][]expr.Any{
		visit,
		all(t.with(source), tcp(), port(sourcePort, 1), in(lists.ports), flags(syn|ack, syn), drop()),
		all(socketUser(), in(lists.users), jump(owners)),
	}
	return []chain{visitors, owners, arriving, leaving}
}

func all(parts ...[]expr.Any) []expr.Any {
	var rule []expr.Any
	for _, part := range parts {
		rule = append(rule, part...)
	}
	return rule
}

// end is which end of a packet's way an address is of.
type end int

const (
	source end = iota
	destination
)

// put puts an address of the right family into the first register.
func (t *kernelTable) put(which end) []expr.Any {
	offset, size := uint32(12), uint32(4) // in the IPv4 header
	if t.address.Is6() {
		offset, size = 8, 16
	}
	return []expr.Any{&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: offset + uint32(which)*size, Len: size, DestRegister: 1}}
}

// secondRegister is where a key goes on behind an address.
func secondRegister(address netip.Addr) uint32 {
	if address.Is6() {
		return unix.NFT_REG_2
	}
	return unix.NFT_REG32_01
}

// with matches packets that have the published address at an end.
func (t *kernelTable) with(which end) []expr.Any {
	return all(t.ofFamily(), t.put(which), []expr.Any{equal(t.address.AsSlice())})
}

func (t *kernelTable) ofFamily() []expr.Any {
	family := byte(unix.NFPROTO_IPV4)
	if t.address.Is6() {
		family = unix.NFPROTO_IPV6
	}
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: 1}, equal([]byte{family})}
}

func tcp() []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equal([]byte{unix.IPPROTO_TCP})}
}

// Offsets in the TCP header.
const (
	sourcePort      = 0
	destinationPort = 2
	tcpFlags        = 13
)

func port(offset, register uint32) []expr.Any {
	return []expr.Any{&expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: 2, DestRegister: register}}
}

const fin, syn, rst, ack = 1, 2, 4, 16

// flags matches TCP packets of whose masked flags just these are set.
func flags(mask, set byte) []expr.Any {
	return []expr.Any{
		&expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: tcpFlags, Len: 1, DestRegister: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{mask}, Xor: []byte{0}},
		equal([]byte{set}),
	}
}

// socketUser finds out who opened the socket that sends a packet.
func socketUser() []expr.Any {
	return []expr.Any{&expr.Meta{Key: expr.MetaKeySKUID, Register: 1}}
}

func equal(data []byte) expr.Any { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data} }

func in(set *nftables.Set) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID}}
}

func notIn(set *nftables.Set) []expr.Any {
	return []expr.Any{&expr.Lookup{SourceRegister: 1, SetName: set.Name, SetID: set.ID, Invert: true}}
}

func jump(to chain) []expr.Any {
	return []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: to.Name}}
}

func goBack() []expr.Any { return []expr.Any{&expr.Verdict{Kind: expr.VerdictReturn}} }

func drop() []expr.Any {
	return []expr.Any{&expr.Counter{}, &expr.Verdict{Kind: expr.VerdictDrop}}
}
