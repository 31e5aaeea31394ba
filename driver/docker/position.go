// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/whirl-faas/whirl/whisk"
)

// stateDir keeps what the next process of the instance must know. Its lock says
// that a process lives.
type stateDir struct {
	path string
	lock *os.File
}

func openStateDir(path string) (*stateDir, error) {
	if err := os.MkdirAll(filepath.Join(path, "output"), 0o700); err != nil {
		return nil, err
	}
	name := filepath.Join(path, "lock")
	lock, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, whisk.Errorf(whisk.Conflict, "another process holds the instance in %s", path)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	held, err := lock.Stat()
	if there, statErr := os.Stat(name); err != nil || statErr != nil || !os.SameFile(held, there) {
		lock.Close() // its last holder removed it meanwhile
		return openStateDir(path)
	}
	return &stateDir{path: path, lock: lock}, nil
}

// close lets the instance go. The directory goes too unless it notes positions.
func (s *stateDir) close() error {
	if os.Remove(filepath.Join(s.path, "output")) == nil {
		_ = os.Remove(filepath.Join(s.path, "lock"))
		_ = os.Remove(s.path)
		_ = os.Remove(filepath.Dir(s.path)) // another instance may need it
	}
	return s.lock.Close()
}

func (s *stateDir) positionPath(id whisk.ContainerID) string {
	return filepath.Join(s.path, "output", string(id))
}

func (s *stateDir) removePosition(id whisk.ContainerID) {
	_ = os.Remove(s.positionPath(id)) // a file too many harms nobody
}

// retainPositions removes the files of all sandboxes but those.
func (s *stateDir) retainPositions(known map[whisk.ContainerID]bool) {
	entries, err := os.ReadDir(filepath.Join(s.path, "output"))
	if err != nil {
		return
	}
	for _, entry := range entries {
		if id := whisk.ContainerID(entry.Name()); !known[id] {
			s.removePosition(id)
		}
	}
}

// openPosition makes a new position, or reads that of a known container. One
// that cannot be read stands for the beginning: twice is better than never.
func (s *stateDir) openPosition(id whisk.ContainerID, known bool) (*position, error) {
	file, err := os.OpenFile(s.positionPath(id), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("note the position of output: %w", err)
	}
	p := &position{file: file}
	if known {
		data := make([]byte, binary.Size(p.mark))
		if _, err := file.ReadAt(data, 0); err == nil {
			_, err = binary.Decode(data, binary.NativeEndian, &p.mark)
			if err != nil {
				p.mark = mark{}
			}
		}
	}
	return p, nil
}

// position is how far a container's output was read. It is noted in a file at
// each step, so that a killed process's successor knows; the page cache keeps
// it, and no container outlives that.
type position struct {
	file *os.File
	mark mark
}

// mark is a position in the form in which it is kept.
type mark struct {
	Read  [2]uint64 // bytes of stdout and stderr
	Last  int64     // when the last of them came, in Unix nanoseconds
	Pause struct {  // the last long pause: all that came before was written before it
		At    int64
		Read  [2]uint64
		Lines uint64 // since then
	}
}

// longPause is a time without output after which the clocks of the engine and of
// this process cannot confuse what came before with what came later.
const longPause = time.Second

// advance counts what was read.
func (p *position) advance(which int, data []byte) {
	now := time.Now().UnixNano()
	m := &p.mark
	if m.Last != 0 && now-m.Last > int64(longPause) {
		m.Pause.At, m.Pause.Read, m.Pause.Lines = m.Last+(now-m.Last)/2, m.Read, 0
	}
	m.Read[which] += uint64(len(data))
	m.Last = now
	m.Pause.Lines += uint64(bytes.Count(data, []byte{'\n'}))
	buffer, err := binary.Append(make([]byte, 0, 64), binary.NativeEndian, m)
	if err == nil {
		_, _ = p.file.WriteAt(buffer, 0) // if it fails, something may be read twice one day
	}
}

// perLine is what a journal needs beside a line's text.
const perLine = 48

// resume says from when on the journal has to be read, the zero time for all of
// it, and how much of that was read already.
func (p *position) resume() (since time.Time, skip [2]uint64) {
	m := p.mark
	for i := range skip {
		skip[i] = m.Read[i] - m.Pause.Read[i]
	}
	if skip[0]+skip[1]+m.Pause.Lines*perLine > journalSize {
		// The journal may have lost the place.
		return time.Unix(0, m.Last), [2]uint64{}
	}
	if m.Pause.At == 0 {
		return time.Time{}, skip
	}
	return time.Unix(0, m.Pause.At), skip
}

func (p *position) close() { p.file.Close() }
