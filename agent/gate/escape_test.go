// SPDX-License-Identifier: Apache-2.0

package gate_test

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/whirl-faas/whirl/agent/gate"
)

// TestASocketIsNoWayOut plays hostile code that has a published socket: neither the listening
// one nor one that it accepted may be turned round and connected to something else.
func TestASocketIsNoWayOut(t *testing.T) {
	const user = 1_900_000_123
	h := newHost(t, "10.9.0.1", "10.9.0.2", "10.9.0.3")
	g := h.open()
	secret, err := net.Listen("tcp", "10.9.0.2:80") // a service of the lessee's host, which may answer
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Close()
	service := &unix.SockaddrInet4{Port: 80, Addr: h.a.As4()}

	// Another address, with a port number that is published and so looks good.
	disguise := &unix.SockaddrInet4{Port: int(h.config.First), Addr: h.b.As4()}
	for name, bound := range map[string]unix.Sockaddr{"as it is": nil, "bound anew": disguise} {
		_, accepted := h.acceptOne(g, 0)
		if err := turnRound(accepted, bound, service); err != nil {
			t.Errorf("%s: a socket that nobody watches cannot be turned round, so this test shows nothing: %v", name, err)
		}
		unix.Close(accepted)
		_, accepted = h.acceptOne(g, user)
		if err := turnRound(accepted, bound, service); err == nil {
			t.Errorf("%s: the accepted socket was connected to something else", name)
		}
	}
	listening, accepted := h.acceptOne(g, user)
	name, err := unix.Getsockname(listening)
	if err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(h.config.Address, uint16(name.(*unix.SockaddrInet4).Port))
	next := h.open() // its agent was killed, and the sandbox was not
	if err := turnRound(accepted, nil, service); err == nil {
		t.Error("the accepted socket was connected to something else before the next agent knew whose it is")
	}
	if err := next.Keep(map[netip.AddrPort]int{at: user}); err != nil {
		t.Fatal(err)
	}
	if err := turnRound(accepted, disguise, service); err == nil {
		t.Error("the accepted socket was connected to something else under the next agent")
	}
	if err := turnRound(listening, nil, service); err == nil {
		t.Error("the listening socket was connected to something else")
	}
	if err := turnRound(listening, disguise, service); err == nil {
		t.Error("the listening socket was bound anew and connected to something else")
	}
}

// acceptOne listens on a port for an owner and accepts a connection, which works.
func (h *host) acceptOne(g *gate.Gate, owner int) (listening, accepted int) {
	h.t.Helper()
	socket, at, err := g.Take(owner)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { socket.Close() })
	listening = int(socket.Fd())
	if err := unix.Listen(listening, 16); err != nil {
		h.t.Fatal(err)
	}
	h.admit(g, at, h.a)
	client := h.connect(h.a, at)
	become(h.t, max(owner, 1000))
	accepted, _, err = unix.Accept4(listening, unix.SOCK_CLOEXEC)
	become(h.t, 0)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { unix.Close(accepted) })
	if _, err := unix.Write(accepted, []byte("x")); err != nil {
		h.t.Fatal(err)
	}
	if err := answer(client, 10*time.Second); err != nil {
		h.t.Fatalf("the port's owner cannot answer: %v", err)
	}
	return listening, accepted
}

// become gives this thread's next files another owner, as those of a sandbox have.
func become(t *testing.T, user int) {
	t.Helper()
	if err := unix.Setfsuid(user); err != nil {
		t.Fatal(err)
	}
}

// turnRound disconnects a socket, binds it if that is wanted, and connects it to something
// else. It returns nil if that worked.
func turnRound(fd int, bound, to unix.Sockaddr) error {
	_ = unix.Shutdown(fd, unix.SHUT_RDWR) // ends listening
	// A connect to no family disconnects.
	var none [16]byte
	if _, _, errno := unix.Syscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(&none)), 16); errno != 0 {
		return fmt.Errorf("disconnect: %w", errno)
	}
	if bound != nil {
		if err := unix.Bind(fd, bound); err != nil {
			return fmt.Errorf("bind: %w", err)
		}
	}
	timeout := unix.NsecToTimeval(silence.Nanoseconds())
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &timeout); err != nil {
		return err
	}
	return unix.Connect(fd, to)
}
