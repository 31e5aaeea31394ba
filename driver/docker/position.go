// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"bytes"
	"encoding/binary"
	"os"
	"time"
)

// position is how far a container's output was read. It is noted in a file at
// each batch, so that a killed process's successor knows; the page cache keeps
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

// advance counts what was read of stdout and stderr, at the same time.
func (p *position) advance(read [2][]byte) {
	if len(read[0])+len(read[1]) == 0 {
		return
	}
	now := time.Now().UnixNano()
	m := &p.mark
	if m.Last != 0 && now-m.Last > int64(longPause) {
		m.Pause.At, m.Pause.Read, m.Pause.Lines = m.Last+(now-m.Last)/2, m.Read, 0
	}
	m.Last = now
	for i, data := range read {
		m.Read[i] += uint64(len(data))
		m.Pause.Lines += uint64(bytes.Count(data, []byte{'\n'}))
	}
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
