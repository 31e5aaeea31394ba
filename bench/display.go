// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

const (
	// eraseLine goes to the line's start and clears it.
	eraseLine = "\r\x1b[K"
	// clipOn has the terminal cut what is too long for it: a line that wraps could
	// not be erased again.
	clipOn, clipOff = "\x1b[?7l", "\x1b[?7h"

	refreshTime = 500 * time.Millisecond
	barCells    = 20
)

// display shows how far a run is: on a terminal a line that changes, with a bar,
// the time that is left and the answers that come in, and results above it;
// elsewhere a line for each step. Its loop owns the output; the other methods are
// for the goroutine that carries out the run.
type display struct {
	out      io.Writer // nil for silence
	terminal bool
	updates  chan update  // to the loop; the run closes it at its end
	answered atomic.Int64 // answers so far, of any load

	// Of the loop alone.
	began time.Time
	total int // steps
	done  int
	text  string // what happens now, "" before anything does
	rate  rateMeter
}

// update tells the loop what is new.
type update struct {
	plan int // more steps to come
	done int // steps that were begun
	text string
	note string // a result that stays
}

func newDisplay(out io.Writer) *display {
	d := &display{out: out, updates: make(chan update)}
	if file, ok := out.(*os.File); ok {
		info, err := file.Stat()
		d.terminal = err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
	}
	return d
}

// plan tells of so many more steps to come.
func (d *display) plan(steps int) { d.updates <- update{plan: steps} }

// step begins the next step.
func (d *display) step(format string, args ...any) {
	d.updates <- update{done: 1, text: fmt.Sprintf(format, args...)}
}

// pending tells what happens between two steps.
func (d *display) pending(format string, args ...any) {
	d.updates <- update{text: fmt.Sprintf(format, args...)}
}

// note shows a result that stays.
func (d *display) note(format string, args ...any) {
	d.updates <- update{note: fmt.Sprintf(format, args...)}
}

// loop shows updates until there are no more.
func (d *display) loop() {
	refresh := time.NewTicker(refreshTime)
	defer refresh.Stop()
	d.began = time.Now()
	for {
		select {
		case u, more := <-d.updates:
			if !more {
				d.clear()
				return
			}
			d.show(u)
		case <-refresh.C:
			d.rate.read(d.answered.Load(), time.Now())
			d.redraw()
		}
	}
}

func (d *display) show(u update) {
	d.total += u.plan
	d.done += u.done
	if u.note != "" {
		d.clear()
		d.print(u.note + "\n")
	}
	if u.text != "" {
		d.text = u.text
		if !d.terminal {
			d.print(fmt.Sprintf("[%d/%d] %s\n", d.done, d.total, d.text))
		}
	}
	d.redraw()
}

// redraw writes the line that changes.
func (d *display) redraw() {
	if d.terminal && d.text != "" {
		d.print(eraseLine + clipOn + d.line() + clipOff)
	}
}

// clear erases the line that changes.
func (d *display) clear() {
	if d.terminal && d.text != "" {
		d.print(eraseLine)
	}
}

func (d *display) line() string {
	filled := 0
	if d.total > 0 {
		filled = barCells * d.done / d.total
	}
	var s strings.Builder
	fmt.Fprintf(&s, "[%s%s] %d/%d", strings.Repeat("#", filled), strings.Repeat("-", barCells-filled), d.done, d.total)
	// The step that is under way is not done. Those that are tell how long one takes.
	if past := d.done - 1; past > 0 {
		left := time.Since(d.began) * time.Duration(d.total-past) / time.Duration(past)
		fmt.Fprintf(&s, ", about %s left", left.Round(time.Second))
	}
	if d.rate.perSecond > 0 {
		fmt.Fprintf(&s, ", %.0f/s", d.rate.perSecond)
	}
	return s.String() + "  " + d.text
}

func (d *display) print(text string) {
	if d.out == nil {
		return
	}
	// A progress line that cannot be written is no reason to stop.
	_, _ = io.WriteString(d.out, text)
}

// rateMeter turns readings of a counter into a rate.
type rateMeter struct {
	count     int64
	at        time.Time
	perSecond float64
}

func (m *rateMeter) read(count int64, now time.Time) {
	if elapsed := now.Sub(m.at); !m.at.IsZero() && elapsed > 0 {
		m.perSecond = float64(count-m.count) / elapsed.Seconds()
	}
	m.count, m.at = count, now
}
