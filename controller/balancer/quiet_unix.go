// SPDX-License-Identifier: Apache-2.0

//go:build unix

package balancer

import (
	"errors"
	"net"
	"syscall"
)

// quiet reports whether an idle connection is open and has nothing to say. It
// does not block. What is no socket counts as quiet.
func quiet(c net.Conn) bool {
	socket, is := c.(syscall.Conn)
	if !is {
		return true
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false
	}
	var peek [1]byte
	var seen error
	err = raw.Control(func(fd uintptr) {
		_, _, seen = syscall.Recvfrom(int(fd), peek[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	})
	return err == nil && errors.Is(seen, syscall.EAGAIN)
}
