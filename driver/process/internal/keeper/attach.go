// SPDX-License-Identifier: Apache-2.0

package keeper

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/whirl-faas/whirl/whisk"
)

// Config says which keeper an agent wants.
type Config struct {
	Dir    string        // of the instance, locked by the caller and open to his user alone
	Grace  time.Duration // how long the keeper waits for an agent after this one
	Logger *slog.Logger
}

// The files of a keeper in its directory.
const (
	socketName = "keeper"
	lockName   = "keeper.lock"
	logName    = "keeper.log"
)

// Files returns the names of all that keepers have in their directory.
func Files() []string { return []string{socketName, lockName, logName} }

// Lives reports whether the keeper of a directory lives.
func Lives(dir string) bool {
	if _, err := os.Stat(filepath.Join(dir, lockName)); err != nil {
		return false
	}
	lock, err := tryLock(dir)
	if err != nil {
		return true
	}
	lock.Close()
	return false
}

// How long an agent waits for the keeper: to be let in, and for an answer.
const (
	attachTime = 10 * time.Second
	answerTime = 30 * time.Second
)

// Attach returns the keeper of a directory, and what it kept for us. If there is
// none, or one that cannot be understood, a new one is started, and nothing was kept.
func Attach(config Config) (k *Keeper, left []Left, err error) {
	for deadline := time.Now().Add(attachTime); ; {
		k, left, err = attachOnce(config)
		if _, later := errors.AsType[*laterError](err); !later || time.Now().After(deadline) {
			return k, left, err
		}
		time.Sleep(5 * time.Millisecond) // it ends, or has not noticed the former agent's end
	}
}

// laterError says that the keeper may be there in a moment.
type laterError struct{ err error }

func (e *laterError) Error() string { return "reach the keeper of sandboxes: " + e.err.Error() }
func (e *laterError) Unwrap() error { return e.err }

func attachOnce(config Config) (*Keeper, []Left, error) {
	lock, err := tryLock(config.Dir)
	former := err != nil
	switch {
	case err == nil:
		err = start(config, lock)
		lock.Close()
		if err != nil {
			return nil, nil, fmt.Errorf("start a keeper of sandboxes: %w", err)
		}
	case !errors.Is(err, unix.EWOULDBLOCK):
		return nil, nil, err
	}
	line, err := dial(config)
	if mismatch, ok := errors.AsType[*mismatchError](err); ok {
		config.Logger.Warn("the keeper of sandboxes cannot be used, and is ended with all it keeps", "err", mismatch)
		return nil, nil, &laterError{errors.Join(mismatch, kill(config.Dir))}
	}
	if err != nil {
		return nil, nil, err
	}
	line.former = former
	k := newKeeper(line)
	k.loops.Go(line.readLoop)
	k.loops.Go(func() { k.serveLoop(line.exchange) })
	left, err := k.recall()
	if err != nil {
		k.Close()
		return nil, nil, fmt.Errorf("recall sandboxes: %w", err)
	}
	return k, left, nil
}

func tryLock(dir string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		return nil, fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	return lock, nil
}

// Clear ends the keeper of a directory, if there is one, with all it keeps.
func Clear(dir string) error {
	if !Lives(dir) {
		return nil
	}
	return kill(dir)
}

// Kill ends the keeper with all it keeps, whatever it does.
func (k *Keeper) Kill() error {
	if k.line == nil {
		return nil
	}
	defer k.Close()
	return kill(k.line.dir)
}

// kill kills the process that holds the lock of a directory, and waits for its end.
func kill(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, lockName))
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil || pid <= 1 {
		return fmt.Errorf("the keeper's lock names the process %q", text)
	}
	pidfd, err := unix.PidfdOpen(pid, 0)
	if err != nil && err != unix.ESRCH {
		return fmt.Errorf("find the keeper %d: %w", pid, err)
	}
	// Locked still, so this is it and not a later process of the same number.
	if err == nil && Lives(dir) {
		err = unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
	}
	if pidfd >= 0 {
		unix.Close(pidfd)
	}
	for deadline := time.Now().Add(attachTime); Lives(dir); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			return whisk.Errorf(whisk.Timeout, "the keeper %d does not end: %w", pid, err)
		}
	}
	return nil
}

const (
	// argument is what a keeper is started with, as its name; its directory follows.
	argument = "whirl-sandbox-keeper"
	// forkVariable tells it to start another one and end, so that it has no parent.
	forkVariable = "WHIRL_KEEPER_FORK"
)

// start starts a keeper that holds the lock and listens when this returns.
func start(config Config, lock *os.File) error {
	tellLastWords(config)
	words, err := os.OpenFile(filepath.Join(config.Dir, logName), os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer words.Close()
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer null.Close()
	listener, err := listen(filepath.Join(config.Dir, socketName))
	if err != nil {
		return err
	}
	defer unix.Close(listener)
	pid, err := syscall.ForkExec("/proc/self/exe", []string{argument, config.Dir}, &syscall.ProcAttr{
		Dir:   "/",
		Env:   append(environment(), forkVariable+"=1"),
		Files: []uintptr{null.Fd(), null.Fd(), words.Fd(), lock.Fd(), uintptr(listener)},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return err
	}
	var status syscall.WaitStatus
	for {
		if _, err = syscall.Wait4(pid, &status, 0, nil); err != syscall.EINTR {
			break
		}
	}
	if err != nil || status != 0 {
		return fmt.Errorf("its first process ended with status %d, %v", status.ExitStatus(), err)
	}
	return nil
}

// environment is a keeper's. It is small, and has nothing of ours.
func environment() []string { return []string{"GOMAXPROCS=1", "GOGC=25", "GOMEMLIMIT=32MiB"} }

func tellLastWords(config Config) {
	words, err := os.ReadFile(filepath.Join(config.Dir, logName))
	if err == nil && len(words) > 0 {
		config.Logger.Warn("last words of the former keeper of sandboxes", "words", strings.TrimSpace(string(words[:min(len(words), 4096)])))
	}
}

func listen(path string) (int, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return -1, err
	}
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err = unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err == nil {
		err = unix.Listen(fd, 16)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("listen on %s: %w", path, err)
	}
	return fd, nil
}

// forkAgain starts the keeper proper from its first process, which then ends and
// leaves it without a parent. What whoever started the agent may have left open
// stays here.
func forkAgain() int {
	_ = unix.CloseRange(listenFD+1, 1<<31-1, unix.CLOSE_RANGE_CLOEXEC)
	_, err := syscall.ForkExec("/proc/self/exe", os.Args, &syscall.ProcAttr{
		Env:   environment(),
		Files: []uintptr{0, 1, 2, lockFD, listenFD},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "keeper: start it:", err)
		return 1
	}
	return 0
}

// line is a connection to a keeper.
type line struct {
	dir     string
	former  bool // it was there before us
	conn    *net.UnixConn
	replies chan answer   // closed by readLoop, which alone sends
	gone    chan struct{} // closed with it

	data [maxMessage]byte // of who receives: introduce, and then readLoop
	oob  [128]byte        // holds maxFiles descriptors
}

// mismatchError says why a keeper that lives is of no use.
type mismatchError struct{ text string }

func (e *mismatchError) Error() string { return e.text }

// dial connects and introduces us. It is a *[mismatchError] if the keeper does
// not answer as ours do, and a *[laterError] if it does not at all.
func dial(config Config) (*line, error) {
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Net: "unixpacket", Name: filepath.Join(config.Dir, socketName)})
	if err != nil {
		return nil, &laterError{err}
	}
	l := &line{dir: config.Dir, conn: conn, replies: make(chan answer, 1), gone: make(chan struct{})}
	if err := l.introduce(config.Grace); err != nil {
		conn.Close()
		return nil, err
	}
	return l, nil
}

func (l *line) introduce(grace time.Duration) error {
	exe, err := openExecutable()
	if err != nil {
		return err
	}
	defer unix.Close(exe)
	_ = l.conn.SetDeadline(time.Now().Add(attachTime / 2))
	defer func() { _ = l.conn.SetDeadline(time.Time{}) }()
	err = l.send(request{Kind: helloKind, Hello: &hello{version, grace}, files: []int{exe}})
	var r reply
	if err == nil {
		r, err = l.receive()
		closeAll(r.files)
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &mismatchError{"it does not answer"}
	case errors.Is(err, io.EOF), errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return &laterError{err}
	case err != nil:
		return &mismatchError{err.Error()}
	case r.Version != version:
		return &mismatchError{fmt.Sprintf("it is of version %d, this agent knows %d", r.Version, version)}
	}
	return nil
}

// recall gets back what was kept.
func (k *Keeper) recall() (left []Left, err error) {
	for last := ""; ; {
		got, err := k.ask(request{Kind: recallKind, ID: last})
		if err == nil && got.ID != "" && got.ID <= last {
			err = errors.New("its order is not ours")
		}
		if err != nil {
			for _, one := range left {
				one.Close()
			}
			return nil, err
		}
		if got.ID == "" {
			return left, nil
		}
		one := Left{ID: got.ID, Note: got.Note, Exit: got.Exit}
		for i, fd := range got.files {
			file := os.NewFile(uintptr(fd), "kept")
			if i == 0 && got.Exit == nil {
				one.PID = file
			} else {
				one.Files = append(one.Files, file)
			}
		}
		left, last = append(left, one), got.ID
	}
}

// exchange sends a request and returns its reply. A keeper that gives none is no
// keeper any more.
func (l *line) exchange(req request) (reply, error) {
	if err := l.send(req); err != nil {
		l.conn.Close()
		return reply{}, ErrGone
	}
	patience := time.NewTimer(answerTime)
	defer patience.Stop()
	select {
	case got, ok := <-l.replies:
		if !ok {
			return reply{}, ErrGone
		}
		return got.reply, got.err
	case <-patience.C:
		_ = kill(l.dir)
		l.conn.Close()
		return reply{}, ErrGone
	}
}

func (l *line) readLoop() {
	defer close(l.gone)
	defer close(l.replies)
	defer l.conn.Close()
	for {
		r, err := l.receive()
		if err != nil {
			closeAll(r.files)
			return
		}
		select {
		case l.replies <- answer{reply: r}:
		default: // nobody asked
			closeAll(r.files)
			return
		}
	}
}

func (l *line) send(req request) error {
	data, oob, err := encode(req, req.files)
	if err != nil {
		return err
	}
	_, _, err = l.conn.WriteMsgUnix(data, oob, nil)
	return err
}

func (l *line) receive() (r reply, err error) {
	n, oobn, flags, _, err := l.conn.ReadMsgUnix(l.data[:], l.oob[:])
	if err != nil {
		return r, err
	}
	r.files, err = decode(l.data[:n], l.oob[:oobn], flags, &r)
	return r, err
}

// awaitEnd tells the keeper that there will be no more requests, and waits until it
// has ended.
func (l *line) awaitEnd() error {
	if err := l.conn.CloseWrite(); err != nil {
		return nil // it has ended
	}
	select {
	case <-l.gone:
		return nil
	case <-time.After(attachTime):
		return whisk.Errorf(whisk.Timeout, "the keeper of sandboxes did not end within %v", attachTime)
	}
}
