// SPDX-License-Identifier: Apache-2.0

package output

import (
	"strings"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// streamID names one of the two streams.
type streamID uint8

const (
	stdout streamID = iota
	stderr
)

// prefixes stand between a line's time and its text.
var prefixes = [...]string{stdout: " stdout: ", stderr: " stderr: "}

// run is what is held of one run's output. The streams' lines are in the order
// in which they were read, which is the order of their times.
type run struct {
	text      []byte // of all lines
	lines     []line
	size      whisk.Bytes // counted as by [jsonFileSize]
	dropped   bool        // lines beyond the bound were dropped
	collected bool        // before it had ended: what still comes is dropped
}

type line struct {
	at     int64 // Unix time in nanoseconds
	end    int   // in run.text
	stream streamID
	size   int32 // as counted
}

// line returns the text of line i.
func (r *run) line(i int) []byte {
	if i == 0 {
		return r.text[:r.lines[0].end]
	}
	return r.text[r.lines[i-1].end:r.lines[i].end]
}

func (r *run) add(which streamID, now time.Time, text []byte, size whisk.Bytes) {
	r.text = append(r.text, text...)
	r.lines = append(r.lines, line{now.UnixNano(), len(r.text), which, int32(size)})
	r.size += size
}

// timeLayout is always 30 characters long in UTC, so the column needs no padding.
const timeLayout = "2006-01-02T15:04:05.000000000Z"

// format returns the lines as users read them, up to the limit, and whether it
// cut any off. A nil run has none.
func (r *run) format(limit whisk.Bytes) (lines []string, cut bool) {
	if r == nil {
		return nil, false
	}
	fits, size := len(r.lines), whisk.Bytes(0)
	for i, l := range r.lines {
		if size += whisk.Bytes(l.size); size > limit {
			fits, cut = i, true
			break
		}
	}
	if fits == 0 {
		return nil, cut || r.dropped
	}
	const front = len(timeLayout) + len(" stdout: ")
	all := make([]byte, 0, fits*front+r.lines[fits-1].end)
	ends := make([]int, fits)
	for i, l := range r.lines[:fits] {
		all = appendLine(all, time.Unix(0, l.at), l.stream, r.line(i))
		ends[i] = len(all)
	}
	// One string holds them all: they live and die together.
	whole, start := string(all), 0
	lines = make([]string, fits)
	for i, end := range ends {
		lines[i] = strings.ToValidUTF8(whole[start:end], "\uFFFD")
		start = end
	}
	return lines, cut || r.dropped
}

func appendLine(to []byte, at time.Time, which streamID, text []byte) []byte {
	to = at.UTC().AppendFormat(to, timeLayout)
	to = append(to, prefixes[which]...)
	return append(to, text...)
}

// remark is a line of our own, for the action's developer.
func remark(text string) string {
	return string(appendLine(nil, time.Now(), stderr, []byte(text)))
}

// jsonFileSize is what a line takes in docker's json-file log: OpenWhisk counts
// that against the limit. It also covers what a line costs us beside its text.
func jsonFileSize(which streamID, text []byte) whisk.Bytes {
	const frame = len(`{"log":"\n","stream":"stdout","time":""}`) + len(timeLayout) + len("\n")
	size := frame + len(text)
	for _, c := range text {
		switch {
		case c == '"' || c == '\\' || c == '\n' || c == '\r' || c == '\t':
			size++
		case c < ' ' || c == '<' || c == '>' || c == '&':
			size += len(`\u0000`) - 1
		}
	}
	return whisk.Bytes(size)
}
