// SPDX-License-Identifier: Apache-2.0

package lookout

import "golang.org/x/sys/unix"

// epoll tells of sockets whether something came since it told last. Its
// methods may not be called concurrently.
type epoll struct {
	fd     int
	events [128]unix.EpollEvent
	fds    []int
}

func newEpoll() (*epoll, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	return &epoll{fd: fd}, nil
}

// add has a socket told of until it is closed.
func (e *epoll) add(fd int) error {
	return unix.EpollCtl(e.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(fd)})
}

// ready returns sockets to which something came, until it is called again: as many as there is room
// for, and the others then. It does not block.
func (e *epoll) ready() []int {
	n, _ := unix.EpollWait(e.fd, e.events[:], 0) // with an error there are none, and Go's own look comes
	e.fds = e.fds[:0]
	for i := range n {
		e.fds = append(e.fds, int(e.events[i].Fd))
	}
	return e.fds
}

func (e *epoll) close() { _ = unix.Close(e.fd) }
