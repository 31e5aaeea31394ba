// SPDX-License-Identifier: Apache-2.0

// Package keeper clones the first processes of sandboxes and is their parent, so
// that they live as long as it does: the kernel kills them when the thread that
// made them ends.
//
// That thread is one of this process's ([Local]), or the only one that does
// anything in a process of its own ([Attach]): a keeper, which outlives the agent that
// started it, remembers what the next agent must know to take the sandboxes over, and
// holds the descriptors that a sandbox cannot do without. Both do the same, behind
// the same requests; the process gets them over a socket.
//
// # The process
//
// It is this executable, started anew (see [Main]) as a child of nobody here and in a
// session of its own. It belongs to the directory of an instance:
//
//   - keeper is its socket. It takes one agent at a time, of its own user.
//   - keeper.lock is locked as long as it lives, and has its process id.
//   - keeper.log has its last words.
//
// When its agent is gone it kills what that had not said to keep, and waits. If no
// agent comes within the time that the last one asked for, it kills the rest and ends. It
// ends at once when it has neither an agent nor anything to keep, or is asked to by
// SIGTERM while it has no agent. It blocks on nobody, and its end kills its children.
//
// An agent of another version may come. The first message each way, the file names
// and the process id in the lock are for ever; where [version] differs the agent
// kills the keeper and begins anew.
package keeper

import (
	"encoding/json"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/whirl-faas/whirl/driver/internal/cgroup"
	"github.com/whirl-faas/whirl/whisk"
)

// Order says what to start: the program of sandboxes, under these arguments, in namespaces
// of its own. The process dies with the keeper, and leads a session.
type Order struct {
	Argv, Env   []string
	Cloneflags  uintptr
	Users       []syscall.SysProcIDMap `json:",omitempty"` // of a user namespace
	Groups      []syscall.SysProcIDMap `json:",omitempty"`
	AmbientCaps []uintptr              `json:",omitempty"`
	Grouped     bool                   // the last file is the cgroup to clone it into
}

// Exit is how a process ended, and what it and those it waited for had used.
type Exit struct {
	Status syscall.WaitStatus
	CPU    time.Duration
}

// Left is a process that a former agent said to keep.
type Left struct {
	ID    string
	Note  json.RawMessage
	Files []*os.File
	PID   *os.File // its pidfd, on the poller; nil if it has ended and was reaped
	Exit  *Exit    // how it ended; nil if that is not known yet
}

// Close closes its descriptors, for who cannot take it over.
func (l Left) Close() {
	for _, file := range l.Files {
		file.Close()
	}
	if l.PID != nil {
		l.PID.Close()
	}
}

// ErrGone says that the keeper has died, and all it kept with it.
var ErrGone = whisk.Errorf(whisk.Unavailable, "the keeper of the sandboxes has died")

// Keeper starts processes and reaps them. Its methods may be called concurrently; it
// does one thing at a time.
type Keeper struct {
	calls   chan call
	closing chan struct{} // closed by Close
	close   sync.Once
	loops   sync.WaitGroup
	line    *line // to the process; nil for one of this process's threads
}

type call struct {
	request request
	answer  chan<- answer // has room for one
}

type answer struct {
	reply reply
	err   error
}

// Local returns a keeper that is a thread of this process and starts a program, whose file is
// the caller's and stays open until the keeper has ended. What it starts ends with it, and nothing is kept.
func Local(program *os.File) *Keeper {
	k := newKeeper(nil)
	k.loops.Go(func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the loop
		nursery := newNursery()
		nursery.program = int(program.Fd())
		k.serveLoop(func(req request) (reply, error) { return nursery.serve(&req), nil })
		for id := range nursery.children {
			nursery.release(id)
		}
	})
	return k
}

func newKeeper(line *line) *Keeper {
	return &Keeper{calls: make(chan call), closing: make(chan struct{}), line: line}
}

func (k *Keeper) serveLoop(serve func(request) (reply, error)) {
	for {
		select {
		case c := <-k.calls:
			reply, err := serve(c.request)
			c.answer <- answer{reply, err}
		case <-k.closing:
			return
		}
	}
}

func (k *Keeper) ask(req request) (reply, error) {
	answers := make(chan answer, 1)
	select {
	case k.calls <- call{req, answers}:
	case <-k.closing:
		return reply{}, ErrGone
	}
	got := <-answers
	if got.err == nil {
		got.err = got.reply.failure()
	}
	return got.reply, got.err
}

// Outlives reports whether the keeper outlives this process.
func (k *Keeper) Outlives() bool { return k.line != nil }

// Former reports whether a former agent started the keeper.
func (k *Keeper) Former() bool { return k.line != nil && k.line.former }

// Gone is closed when the keeper has died; nil if it is a part of this process.
func (k *Keeper) Gone() <-chan struct{} {
	if k.line == nil {
		return nil
	}
	return k.line.gone
}

// Start starts a process with the files as its descriptors from 0 on. The pidfd that
// it returns is on the poller, and the caller's.
func (k *Keeper) Start(id string, order Order, files []*os.File, group *os.File) (pid int, pidfd *os.File, err error) {
	req := request{Kind: startKind, ID: id, Order: &order}
	if group != nil {
		order.Grouped = true
		files = append(files[:len(files):len(files)], group)
	}
	for _, file := range files {
		req.files = append(req.files, int(file.Fd()))
	}
	got, err := k.ask(req)
	runtime.KeepAlive(files)
	if err != nil {
		return 0, nil, err
	}
	return got.PID, os.NewFile(uintptr(got.files[0]), "pidfd"), nil
}

// Keep has a process outlive its agent, with what its next one must know: a note, its
// cgroup, if it has one, and files.
func (k *Keeper) Keep(id string, note any, group *cgroup.Group, files ...*os.File) error {
	if k.line == nil {
		return nil
	}
	text, err := json.Marshal(note)
	if err != nil {
		return err
	}
	req := request{Kind: keepKind, ID: id, Note: text, Group: group}
	defer func() { closeAll(req.files) }()
	for _, file := range files {
		fd, err := duplicate(file)
		if err != nil {
			return err
		}
		req.files = append(req.files, fd)
	}
	_, err = k.ask(req)
	return err
}

// duplicate leaves the file on the poller, from which [os.File.Fd] would take it.
func duplicate(file *os.File) (fd int, err error) {
	conn, err := file.SyscallConn()
	if err != nil {
		return -1, err
	}
	failure := conn.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	if failure != nil {
		return -1, failure
	}
	return fd, err
}

// Reap returns how a process ended, or nil if it has not. It may be called again.
func (k *Keeper) Reap(id string) (*Exit, error) {
	got, err := k.ask(request{Kind: reapKind, ID: id})
	return got.Exit, err
}

// Release forgets a process, and kills it if it runs. One that is not there is no
// error, and neither is a keeper that has died.
func (k *Keeper) Release(id string) error {
	_, err := k.ask(request{Kind: releaseKind, ID: id})
	if err == ErrGone {
		return nil
	}
	return err
}

// Close leaves a keeper that outlives this process, and ends one that does not,
// with all it started. It is idempotent.
func (k *Keeper) Close() {
	k.close.Do(func() { close(k.closing) })
	if k.line != nil {
		k.line.conn.Close()
	}
	k.loops.Wait()
}

// End is Close where nothing is kept any more: the keeper ends, and it is awaited. It
// returns an error if that takes too long.
func (k *Keeper) End() error {
	defer k.Close()
	if k.line == nil {
		return nil
	}
	return k.line.awaitEnd()
}
