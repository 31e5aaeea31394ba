// SPDX-License-Identifier: Apache-2.0

package gate

import (
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// What connections to a published port inherit from its socket.
const (
	keepIdle     = 30 // seconds without a byte, until the kernel asks whether the peer is there
	keepInterval = 10 // seconds between questions
	keepCount    = 3  // in vain, until the connection is ended
)

// bind returns a socket that is bound and does not listen yet. The kernel ends connections
// to it whose peer does not answer any more: whoever was let in before and is kept out
// now cannot even say goodbye.
func bind(at netip.AddrPort) (*os.File, error) {
	family, address := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(at.Port()), Addr: at.Addr().As16()})
	if at.Addr().Is4() {
		family, address = unix.AF_INET, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	socket := os.NewFile(uintptr(fd), at.String())
	for _, option := range []struct{ level, name, value int }{
		{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}, // connections of a former container may linger
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, keepIdle},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, keepInterval},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepCount},
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
	} {
		if err == nil {
			err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, option.level, option.name, option.value))
		}
	}
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(fd, address))
	}
	if err != nil {
		socket.Close()
		return nil, err
	}
	return socket, nil
}
