// SPDX-License-Identifier: Apache-2.0

package process

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/whirl-faas/whirl/driver/process/internal/keeper"
	"github.com/whirl-faas/whirl/whisk"
)

// stateDir is the directory of a live instance: it holds the lock, the empty
// directory that roots are built on, the sockets, the runtimes' files and, if need be, this program. Nobody
// but the agent's user can enter it.
type stateDir struct {
	path string
	lock *os.File // held as long as the instance lives; it contains the name of the cgroup tree
}

// treeName is the cgroup tree of the instance that lives in dir. Two instances of
// one name in different directories are different instances.
func treeName(instance, dir string) string {
	hash := fnv.New32a()
	hash.Write([]byte(dir))
	return fmt.Sprintf("%s-%08x", instance, hash.Sum32())
}

// isTreeName keeps a damaged lock file from naming anything but a tree.
func isTreeName(name string) bool {
	instance, hash, found := cutLast(name, "-")
	return found && len(hash) == 8 && instanceName(instance) && instanceName("x"+hash)
}

func cutLast(s, separator string) (before, after string, found bool) {
	if i := strings.LastIndex(s, separator); i >= 0 {
		return s[:i], s[i+len(separator):], true
	}
	return s, "", false
}

// openStateDir makes the directory, takes its lock and clears what a former
// holder left, unless sandboxes of that live. The parent is checked too, if there is one that is ours alone.
func openStateDir(dir, parent, tree string) (*stateDir, error) {
	if len(dir) > maxStateDir {
		return nil, whisk.Errorf(whisk.Invalid, "state directory %s is too long: sockets in it need its path to have at most %d bytes", dir, maxStateDir)
	}
	lock, err := makeAndLock(dir, parent)
	if errors.Is(err, fs.ErrNotExist) {
		// A neighbour saw the lock before it was locked, and took us for dead.
		lock, err = makeAndLock(dir, parent)
	}
	if err != nil {
		return nil, err
	}
	state := &stateDir{path: dir, lock: lock}
	if err := state.prepare(tree); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return state, nil
}

func makeAndLock(dir, parent string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make state directory: %w", err)
	}
	for _, owned := range []string{parent, dir} {
		if err := checkOwner(owned); owned != "" && err != nil {
			return nil, err
		}
	}
	return lockDir(dir, time.Second)
}

func (s *stateDir) prepare(tree string) error {
	if err := errors.Join(s.lock.Truncate(0), writeAt(s.lock, tree)); err != nil {
		return fmt.Errorf("write lock: %w", err)
	}
	for _, name := range contents {
		if !keeper.Lives(s.path) { // or its sandboxes need what is there
			if err := os.RemoveAll(filepath.Join(s.path, name)); err != nil {
				return fmt.Errorf("prepare state directory: %w", err)
			}
		}
		if err := os.MkdirAll(filepath.Join(s.path, name), 0o700); err != nil {
			return fmt.Errorf("prepare state directory: %w", err)
		}
	}
	return nil
}

func writeAt(file *os.File, text string) error {
	_, err := file.WriteAt([]byte(text), 0)
	return err
}

// checkOwner refuses a directory that another user may have put there, as anybody
// can in /tmp.
func checkOwner(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || !info.IsDir() || int(stat.Uid) != os.Geteuid() {
		return whisk.Errorf(whisk.Denied, "state directory %s is not a directory of this user; remove it or choose another", dir)
	}
	return os.Chmod(dir, 0o700)
}

// lockDir takes the lock of a state directory. It tries for a moment, because a
// neighbour may just be looking whether the instance is dead.
func lockDir(dir string, patience time.Duration) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		lock, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, fmt.Errorf("lock state directory: %w", err)
		}
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil && sameFile(lock, path) {
			return lock, nil
		}
		lock.Close()
		if err != nil && time.Now().After(deadline) {
			return nil, whisk.Errorf(whisk.Conflict, "another process uses %s; stop it or choose another instance: %w", dir, err)
		}
	}
}

// sameFile reports whether path still names the locked file: a neighbour may
// have removed it between open and lock.
func sameFile(lock *os.File, path string) bool {
	held, errHeld := lock.Stat()
	named, errNamed := os.Stat(path)
	return errHeld == nil && errNamed == nil && os.SameFile(held, named)
}

// socketPath is where the controller finds the sandbox.
func (s *stateDir) socketPath(id whisk.ContainerID) string {
	return filepath.Join(s.path, socketsName, string(id))
}

// The longest path of a socket, and of the state directory if ids have 32 bytes.
const (
	maxSocketPath = 107
	maxStateDir   = maxSocketPath - len("/s/") - 32
)

// rootBase is the empty directory that the stages build their roots on, each in
// its own mount namespace.
func (s *stateDir) rootBase() string { return filepath.Join(s.path, rootName) }

// unpack writes a runtime's files where sandboxes can be shown them, in a directory
// that is named after all that is in it: sandboxes of a former agent may see it.
func (s *stateDir) unpack(files fs.FS) (string, error) {
	fresh, err := os.MkdirTemp(filepath.Join(s.path, filesName), "new-")
	if err != nil {
		return "", fmt.Errorf("unpack runtime files: %w", err)
	}
	sum := sha256.New()
	err = fs.WalkDir(files, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return copyInto(fresh, files, path, entry, sum)
	})
	dir := filepath.Join(s.path, filesName, fmt.Sprintf("%x", sum.Sum(nil)[:12]))
	if _, there := os.Stat(dir); err == nil && there != nil {
		err = os.Rename(fresh, dir)
	}
	if err = errors.Join(err, os.RemoveAll(fresh)); err != nil {
		return "", fmt.Errorf("unpack runtime files: %w", err)
	}
	return dir, nil
}

// copyInto copies one file or directory. Sandboxes' users have to read it, whatever
// the umask here.
func copyInto(dir string, files fs.FS, path string, entry fs.DirEntry, sum io.Writer) error {
	target := filepath.Join(dir, path)
	if entry.IsDir() {
		fmt.Fprintf(sum, "%q\n", path)
		return errors.Join(os.MkdirAll(target, 0o755), os.Chmod(target, 0o755))
	}
	info, err := entry.Info()
	if err != nil {
		return err
	}
	data, err := fs.ReadFile(files, path)
	if err != nil {
		return err
	}
	mode := info.Mode().Perm() | 0o444
	fmt.Fprintf(sum, "%q %o %d\n%s", path, mode, len(data), data)
	return errors.Join(os.WriteFile(target, data, mode), os.Chmod(target, mode))
}

// clearFiles removes the runtimes' files that are not in use.
func (s *stateDir) clearFiles(used map[string]bool) error {
	return s.clear(filesName, func(path string) bool { return used[path] })
}

// clearSockets removes the sockets of all but these sandboxes.
func (s *stateDir) clearSockets(kept []string) error {
	return s.clear(socketsName, func(path string) bool { return slices.Contains(kept, filepath.Base(path)) })
}

func (s *stateDir) clear(name string, spare func(path string) bool) error {
	entries, err := os.ReadDir(filepath.Join(s.path, name))
	if err != nil {
		return fmt.Errorf("clear state directory: %w", err)
	}
	var errs []error
	for _, entry := range entries {
		if path := filepath.Join(s.path, name, entry.Name()); !spare(path) {
			errs = append(errs, os.RemoveAll(path))
		}
	}
	return errors.Join(errs...)
}

// leave frees the lock, and nothing else.
func (s *stateDir) leave() error { return s.lock.Close() }

// close removes what is ours and then frees the lock.
func (s *stateDir) close() error {
	return errors.Join(removeState(s.path), s.lock.Close())
}

// contents are the directories in a state directory, beside the lock.
var contents = [...]string{rootName, socketsName, filesName, selfName}

const rootName, socketsName, filesName, selfName = "root", "s", "files", "self"

// removeState removes a state directory of which the lock is held, but nothing
// that others put into it: the user may have chosen a directory in use.
func removeState(dir string) error {
	var errs []error
	for _, name := range contents {
		errs = append(errs, os.RemoveAll(filepath.Join(dir, name)))
	}
	for _, name := range keeper.Files() {
		if err := os.Remove(filepath.Join(dir, name)); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	errs = append(errs, os.Remove(filepath.Join(dir, "lock")))
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := unix.Rmdir(dir); err != nil && err != unix.ENOTEMPTY && err != unix.EBUSY {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	return nil
}

// deadNeighbours yields the state directories of instances that live no more,
// each with its lock held until the callback returns, and removes them if the
// callback succeeds.
func deadNeighbours(parent, self string, clean func(tree string) error) error {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return fmt.Errorf("look for dead instances: %w", err)
	}
	var errs []error
	for _, entry := range entries {
		dir := filepath.Join(parent, entry.Name())
		if !entry.IsDir() || dir == self || checkOwner(dir) != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, "lock")); err != nil {
			continue // not of ours
		}
		lock, err := lockDir(dir, 0)
		if err != nil {
			continue // it lives
		}
		if keeper.Lives(dir) {
			lock.Close()
			continue // its sandboxes wait for its next agent
		}
		tree, err := os.ReadFile(filepath.Join(dir, "lock"))
		if err == nil && isTreeName(string(tree)) {
			err = clean(string(tree))
		}
		if err == nil {
			err = removeState(dir)
		}
		errs = append(errs, err, lock.Close())
	}
	return errors.Join(errs...)
}
