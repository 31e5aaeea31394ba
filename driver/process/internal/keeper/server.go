// SPDX-License-Identifier: Apache-2.0

package keeper

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The descriptors of a keeper.
const (
	lockFD   = 3
	listenFD = 4
)

// Asked reports whether this process was started to be a keeper.
func Asked() bool { return len(os.Args) == 2 && os.Args[0] == argument }

// Main is the keeper. It does not return.
func Main() {
	if os.Getenv(forkVariable) != "" {
		unix.Exit(forkAgain())
	}
	runtime.LockOSThread() // the children's lives hang on this thread
	s := &server{nursery: newNursery(), agent: -1, until: time.Now().Add(firstGrace), bell: -1}
	if err := s.begin(); err != nil {
		fmt.Fprintln(os.Stderr, "keeper:", err)
		os.Exit(1)
	}
	s.run()
	unix.Exit(0) // at once: an agent may wait for it
}

// server is the life of a keeper. All of it happens on one thread.
type server struct {
	nursery *nursery
	agent   int           // the connection, -1 while there is none
	grace   time.Duration // as the last agent wished
	until   time.Time     // the end of the wait for an agent
	met     bool          // there was an agent
	bell    int           // becomes readable with SIGTERM
	data    [maxMessage]byte
	oob     [256]byte
}

const (
	firstGrace = 30 * time.Second // for who started it
	helloTime  = 2 * time.Second  // for who connects to say who he is
	buryEvery  = 50 * time.Millisecond
)

func (s *server) begin() error {
	_ = os.WriteFile("/proc/self/comm", []byte("whirl-keeper"), 0) // for people to read
	unix.CloseOnExec(lockFD)
	unix.CloseOnExec(listenFD)
	pid := []byte(strconv.Itoa(os.Getpid()))
	if err := unix.Ftruncate(lockFD, 0); err != nil {
		return fmt.Errorf("write the process id: %w", err)
	}
	if _, err := unix.Pwrite(lockFD, pid, 0); err != nil {
		return fmt.Errorf("write the process id: %w", err)
	}
	if err := unix.SetNonblock(listenFD, true); err != nil {
		return err
	}
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return err
	}
	s.bell = bell
	heard := make(chan os.Signal, 4)
	// Caught and not ignored: what is ignored would be so in sandboxes too.
	signal.Notify(heard, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	go func() { // ends with the process
		for what := range heard {
			if what == syscall.SIGTERM {
				_, _ = unix.Write(bell, []byte{1, 0, 0, 0, 0, 0, 0, 0})
			}
		}
	}()
	debug.FreeOSMemory() // of the start of a large program
	return nil
}

// run serves agents, one after the other, until there is nothing to do any more.
func (s *server) run() {
	for s.agent >= 0 || time.Now().Before(s.until) {
		s.nursery.bury()
		if s.agent < 0 && s.met && len(s.nursery.children) == 0 {
			return
		}
		if !s.turn() {
			break
		}
	}
	left := len(s.nursery.children)
	err := s.nursery.end()
	fmt.Fprintf(os.Stderr, "%s no agent came within %v, and %d sandboxes were ended: %v\n", time.Now().UTC().Format(time.RFC3339), s.grace, left, err)
}

// turn waits for the next event and handles it. It returns false to end.
func (s *server) turn() bool {
	polled := []unix.PollFd{
		{Fd: int32(s.agent), Events: unix.POLLIN}, // a negative one is left out
		{Fd: listenFD, Events: unix.POLLIN},
		{Fd: int32(s.bell), Events: unix.POLLIN},
	}
	if n, err := unix.Poll(polled, s.patience()); err != nil || n == 0 {
		return err == nil || err == unix.EINTR
	}
	if polled[2].Revents != 0 {
		_, _ = unix.Read(s.bell, make([]byte, 8))
		if s.agent < 0 {
			return false
		}
	}
	if polled[0].Revents != 0 && !s.answer() {
		s.leave()
	}
	if polled[1].Revents != 0 {
		s.accept()
	}
	return true
}

// patience is how long to wait for an event, in milliseconds.
func (s *server) patience() int {
	wait := -time.Millisecond
	if s.agent < 0 {
		wait = max(time.Until(s.until), 0) + time.Millisecond
	}
	if len(s.nursery.doomed) > 0 && (wait < 0 || wait > buryEvery) {
		wait = buryEvery
	}
	return int(wait.Milliseconds())
}

// answer handles one request of the agent. It returns false when he is gone, does
// not speak our language, or does not listen.
func (s *server) answer() bool {
	req, err := s.receive(s.agent)
	if err != nil {
		return false
	}
	r := s.nursery.serve(&req)
	closeAll(req.files)
	err = send(s.agent, r)
	closeAll(r.files[:len(r.files)-r.lent])
	return err == nil
}

// leave ends with an agent, and begins the wait for the next one.
func (s *server) leave() {
	s.nursery.abandon()
	if len(s.nursery.children) > 0 { // else our own end closes it: who asked for it waits for that
		unix.Close(s.agent)
	}
	s.agent, s.until = -1, time.Now().Add(s.grace)
}

// accept lets in an agent, if there is none yet.
func (s *server) accept() {
	fd, _, err := unix.Accept4(listenFD, unix.SOCK_CLOEXEC)
	if err != nil {
		return
	}
	if s.agent >= 0 || !s.welcome(fd) {
		unix.Close(fd)
		return
	}
	s.agent, s.met = fd, true
}

// welcome finds out who has connected, and answers if it is an agent of our own
// user and version.
func (s *server) welcome(fd int) bool {
	peer, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil || int(peer.Uid) != os.Geteuid() {
		return false
	}
	patience := unix.NsecToTimeval(helloTime.Nanoseconds())
	if unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &patience) != nil {
		return false
	}
	req, err := s.receive(fd)
	if err != nil || req.Kind != helloKind || req.Hello == nil {
		closeAll(req.files)
		return false
	}
	err = send(fd, reply{Version: version})
	if err != nil || req.Hello.Version != version || len(req.files) != 1 {
		closeAll(req.files)
		return false
	}
	if s.nursery.program >= 0 {
		unix.Close(s.nursery.program)
	}
	s.nursery.program, s.grace = req.files[0], req.Hello.Grace
	return true
}

func (s *server) receive(fd int) (req request, err error) {
	var n, oobn, flags int
	for {
		n, oobn, flags, _, err = unix.Recvmsg(fd, s.data[:], s.oob[:], unix.MSG_CMSG_CLOEXEC)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		return req, err
	}
	req.files, err = decode(s.data[:n], s.oob[:oobn], flags, &req)
	if err != nil {
		closeAll(req.files)
		req.files = nil
	}
	return req, err
}

// send never waits: an agent reads the answer to one request before it sends the next.
func send(fd int, r reply) error {
	data, oob, err := encode(r, r.files)
	if err != nil {
		return err
	}
	return unix.Sendmsg(fd, data, oob, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
}
