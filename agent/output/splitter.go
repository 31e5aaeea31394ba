// SPDX-License-Identifier: Apache-2.0

package output

import (
	"bytes"
	"unicode/utf8"

	"github.com/whirl-faas/whirl/whisk"
)

var sentinel = []byte(whisk.LogSentinel)

// splitter cuts a stream that arrives in chunks into lines. A line longer than
// max is cut in pieces, but neither inside a character nor inside what may
// become the sentinel.
type splitter struct {
	max     int    // at least twice the sentinel's length
	partial []byte // a line whose end has not come yet, at most max
}

// next returns the first line of chunk, with what earlier chunks left of it and
// without its line end, and the rest of the chunk. When no line is complete, ok
// is false and the splitter has kept all. The line is valid until the next call.
func (s *splitter) next(chunk []byte) (line, rest []byte, ok bool) {
	end := bytes.IndexByte(chunk, '\n')
	room := s.max - len(s.partial)
	switch {
	case end < 0 && len(chunk) <= room:
		s.partial = append(s.partial, chunk...)
		return nil, nil, false
	case end >= 0 && end <= room && len(s.partial) == 0:
		return chomp(chunk[:end]), chunk[end+1:], true
	case end >= 0 && end <= room:
		line = append(s.partial, chunk[:end]...)
		s.partial = s.partial[:0]
		return chomp(line), chunk[end+1:], true
	}
	whole := append(s.partial, chunk[:room]...)
	cut := seam(whole)
	// The rest of the piece begins the next line; it moves to a buffer of its
	// own because the piece is still to be read.
	s.partial = append(make([]byte, 0, s.max), whole[cut:]...)
	return whole[:cut], chunk[room:], true
}

// last returns what is left when the stream ended or is not waited for any
// longer; ok is false if there is nothing.
func (s *splitter) last() (line []byte, ok bool) {
	line, s.partial = s.partial, nil
	return chomp(line), len(line) > 0
}

// chomp removes the carriage return of a line end.
func chomp(line []byte) []byte { return bytes.TrimSuffix(line, []byte("\r")) }

// seam returns where to cut a piece off a long line.
func seam(piece []byte) int {
	whole := 0 // no cut inside a sentinel that is complete
	if at := bytes.LastIndex(piece, sentinel); at >= 0 {
		whole = at + len(sentinel)
	}
	for tail := min(len(sentinel)-1, len(piece)-whole); tail > 0; tail-- {
		if bytes.HasPrefix(sentinel, piece[len(piece)-tail:]) {
			return len(piece) - tail
		}
	}
	for back := 1; back < utf8.UTFMax && back < len(piece); back++ {
		if at := len(piece) - back; utf8.RuneStart(piece[at]) {
			if !utf8.FullRune(piece[at:]) {
				return at
			}
			break
		}
	}
	return len(piece)
}
