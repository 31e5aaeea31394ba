// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// selfPath is where sandboxes are shown this program from: the file that runs here. An
// upgrade may have put another one in its place; then sandboxes see a copy, since a
// file that has no name any more cannot be shown.
func (d *Driver) selfPath() (string, error) {
	const running = "/proc/self/exe"
	path, err := os.Readlink(running)
	if err != nil {
		return "", err
	}
	runs, err := os.Stat(running)
	if err != nil {
		return "", err
	}
	if named, err := os.Stat(path); err == nil && os.SameFile(runs, named) {
		return path, nil
	}
	d.mu.Lock()
	path = d.selfCopy
	d.mu.Unlock()
	if path != "" {
		return path, nil
	}
	// Launches that come here together each make the copy, and the last one's stays.
	if path, err = d.state.copyProgram(running); err != nil {
		return "", fmt.Errorf("keep a copy of this program, which was replaced: %w", err)
	}
	d.log.Info("this program's file was replaced; sandboxes are shown a copy of the one that runs", "copy", path)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.selfCopy = path
	return path, nil
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
