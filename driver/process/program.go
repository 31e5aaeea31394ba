// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/whirl-faas/whirl/whisk"
)

// program is what sandboxes begin as, or what they are shown at /whirl-self: one and the
// same file as long as the driver is open. An upgrade may put another one in its place, or a
// rebuild take it away; then sandboxes see a copy, since a file that has no name
// any more cannot be shown.
type program struct {
	file *os.File // opened for being named alone
	path string

	mu   sync.Mutex
	copy string // of the file, "" while that has its name
}

// openProgram takes the program of a path, "" for the one that runs here; purpose is for errors.
func openProgram(path, purpose string) (*program, error) {
	name := path
	if name == "" {
		name = "/proc/self/exe" // the file itself, whatever its path leads to by now
	}
	fd, err := -1, unix.Access(name, unix.X_OK)
	if err == nil {
		fd, err = unix.Open(name, unix.O_PATH|unix.O_CLOEXEC, 0)
	}
	if err != nil {
		return nil, whisk.Errorf(whisk.Invalid, "program %s, %s: %w", name, purpose, err)
	}
	p := &program{file: os.NewFile(uintptr(fd), name), path: path}
	if path == "" {
		p.path, err = os.Readlink(name)
	}
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	return p, nil
}

func (p *program) close() error {
	if p == nil {
		return nil
	}
	return p.file.Close()
}

// shown returns the path that sandboxes are shown the program from.
func (p *program) shown(state *stateDir, log *slog.Logger) (string, error) {
	opened, err := p.file.Stat()
	if err != nil {
		return "", err
	}
	if named, err := os.Stat(p.path); err == nil && os.SameFile(opened, named) {
		return p.path, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.copy != "" {
		return p.copy, nil
	}
	from := "/proc/self/fd/" + strconv.Itoa(int(p.file.Fd()))
	if p.copy, err = state.copyProgram(from); err != nil {
		return "", fmt.Errorf("keep a copy of %s, which was replaced: %w", p.path, err)
	}
	log.Info("the program that sandboxes are shown was replaced; they are shown a copy of the former one", "program", p.path, "copy", p.copy)
	return p.copy, nil
}

// copyProgram copies a program to where sandboxes can be shown it.
func (s *stateDir) copyProgram(from string) (path string, err error) {
	source, err := os.Open(from)
	if err != nil {
		return "", err
	}
	defer source.Close()
	fresh, err := os.CreateTemp(filepath.Join(s.path, selfName), "new-")
	if err != nil {
		return "", err
	}
	path = filepath.Join(s.path, selfName, "program")
	_, err = io.Copy(fresh, source)
	err = errors.Join(err, fresh.Chmod(0o755), fresh.Close())
	if err == nil {
		err = os.Rename(fresh.Name(), path)
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(fresh.Name()))
	}
	return path, nil
}
