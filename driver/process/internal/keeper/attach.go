// SPDX-License-Identifier: Apache-2.0

package keeper

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/whirl-faas/whirl/whisk"
)

// Config says which keeper an agent wants.
type Config struct {
	Dir     string        // of the instance, locked by the caller and open to his user alone
	Program *os.File      // what children begin as; open as long as the keeper is in use
	Grace   time.Duration // how long the keeper waits for an agent after this one
	Logger  *slog.Logger
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
	attachTime = 20 * time.Second
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
