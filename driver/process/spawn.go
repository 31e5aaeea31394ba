// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"syscall"

	"github.com/whirl-faas/whirl/driver/process/internal/stage"
	"golang.org/x/sys/unix"
)

// InitStage turns this process into the first process of a sandbox if it was
// started to be one, and then does not return. In any other process it returns
// at once. It must be the first call of main, and of TestMain: every
// initialisation before it is paid for at each start of a sandbox.
func InitStage() {
	if stage.Asked() {
		stage.Main()
	}
}

// spawner starts all first processes from one thread. The kernel kills a
// sandbox when the thread that made it ends, and Go ends threads at its own
// discretion unless a goroutine holds them.
type spawner struct {
	requests chan spawnRequest // closed by close
	ended    sync.WaitGroup
}

type spawnRequest struct {
	attributes *syscall.ProcAttr
	reply      chan<- spawnReply // has room for one
}

type spawnReply struct {
	pid int
	err error
}

func newSpawner() *spawner {
	s := &spawner{requests: make(chan spawnRequest)}
	s.ended.Go(s.spawnLoop)
	return s
}

func (s *spawner) spawnLoop() {
	runtime.LockOSThread() // never unlocked: the thread ends with the loop
	for request := range s.requests {
		pid, err := syscall.ForkExec("/proc/self/exe", []string{stage.Argument}, request.attributes)
		request.reply <- spawnReply{pid, err}
	}
}

// close ends the thread, and with it what it started.
func (s *spawner) close() {
	close(s.requests)
	s.ended.Wait()
}

// spawn clones a stage with the given files as its descriptors from 0 on.
func (s *spawner) spawn(files []*os.File, attributes *syscall.SysProcAttr) (*firstProcess, error) {
	pidfd := -1
	attributes.PidFD = &pidfd
	attributes.Setsid = true
	attributes.Pdeathsig = syscall.SIGKILL
	descriptors := make([]uintptr, len(files))
	for i, file := range files {
		descriptors[i] = file.Fd()
	}
	reply := make(chan spawnReply, 1)
	s.requests <- spawnRequest{&syscall.ProcAttr{Env: []string{"GOMAXPROCS=1"}, Files: descriptors, Sys: attributes}, reply}
	child := <-reply
	runtime.KeepAlive(files)
	if child.err != nil {
		return nil, child.err
	}
	return newFirstProcess(child.pid, pidfd)
}

// firstProcess is process 1 of a sandbox, a child of ours.
type firstProcess struct {
	pid  int      // ours until wait returned
	file *os.File // its pidfd, on the poller: waiting for an end costs no thread
}

func newFirstProcess(pid, pidfd int) (*firstProcess, error) {
	err := errors.New("the kernel gives no pidfd; it must be Linux 5.12 or newer")
	if pidfd >= 0 {
		err = unix.SetNonblock(pidfd, true)
	}
	if err != nil {
		_ = unix.Kill(pid, unix.SIGKILL)
		_, _ = syscall.Wait4(pid, nil, 0, nil)
		return nil, err
	}
	return &firstProcess{pid: pid, file: os.NewFile(uintptr(pidfd), "pidfd")}, nil
}

// kill is safe at any time: the descriptor never names another process.
func (p *firstProcess) kill() error {
	conn, err := p.file.SyscallConn()
	if err != nil {
		return err
	}
	var failure error
	err = conn.Control(func(fd uintptr) { failure = unix.PidfdSendSignal(int(fd), unix.SIGKILL, nil, 0) })
	if err != nil || errors.Is(failure, unix.ESRCH) {
		return nil // the descriptor is closed once the process was reaped
	}
	return failure
}

// wait waits for the process's end and reaps it. It is called once.
func (p *firstProcess) wait() (status syscall.WaitStatus, usage syscall.Rusage) {
	reap := func(options int) bool {
		pid, err := syscall.Wait4(p.pid, &status, options, &usage)
		return pid == p.pid || err != nil && err != syscall.EINTR
	}
	conn, err := p.file.SyscallConn()
	if err == nil {
		err = conn.Read(func(uintptr) bool { return reap(syscall.WNOHANG) })
	}
	if err != nil {
		for !reap(0) {
		}
	}
	return status, usage
}
