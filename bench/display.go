// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"io"
	"os"
)

// eraseLine goes to the line's start and clears it.
const eraseLine = "\r\x1b[K"

// display shows how far a run is: on a terminal one line that changes, with
// results above it; elsewhere a line for each step. One goroutine uses it.
type display struct {
	out      io.Writer // nil for silence
	terminal bool
	total    int // steps
	done     int
	shown    bool // a line on the terminal waits to be erased
}

func newDisplay(out io.Writer) *display {
	d := &display{out: out}
	if file, ok := out.(*os.File); ok {
		info, err := file.Stat()
		d.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
	}
	return d
}

// plan tells of so many more steps to come.
func (d *display) plan(steps int) { d.total += steps }

// step begins the next step.
func (d *display) step(format string, args ...any) {
	d.done++
	d.pending(format, args...)
}

// pending tells what happens between two steps.
func (d *display) pending(format string, args ...any) {
	d.show(fmt.Sprintf("[%d/%d] ", d.done, d.total) + fmt.Sprintf(format, args...))
}

// note writes a result that stays.
func (d *display) note(format string, args ...any) {
	d.clear()
	d.print(fmt.Sprintf(format, args...) + "\n")
}

// clear erases the line that changes.
func (d *display) clear() {
	if d.shown {
		d.print(eraseLine)
		d.shown = false
	}
}

func (d *display) show(line string) {
	if !d.terminal {
		d.print(line + "\n")
		return
	}
	d.print(eraseLine + line)
	d.shown = true
}

func (d *display) print(text string) {
	if d.out == nil {
		return
	}
	// A progress line that cannot be written is no reason to stop.
	_, _ = io.WriteString(d.out, text)
}
