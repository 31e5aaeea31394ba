// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/whirl-faas/whirl/scheduler/httpapi"
	"github.com/whirl-faas/whirl/whisk"
)

// printStatus prints the status of a cluster for people to read: a table for
// each list that has lines.
func printStatus(out io.Writer, s httpapi.Status) error {
	tables := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	mood := "settled"
	if !s.Settled {
		mood = "just started, it only listens yet"
	}
	fmt.Fprintf(tables, "scheduler of epoch %d, %s\n", s.Epoch, mood)
	printNodes(tables, s)
	printControllers(tables, s)
	printPrewarmed(tables, s)
	printActions(tables, s)
	printWaiting(tables, s)
	return tables.Flush()
}

// row prints one line of a table.
func row(out io.Writer, cells ...any) {
	texts := make([]string, len(cells))
	for i, cell := range cells {
		texts[i] = printable(fmt.Sprint(cell))
	}
	fmt.Fprintln(out, strings.Join(texts, "\t"))
}

// printable replaces what a terminal would obey, and what would break a table.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
}

// heading begins a table.
func heading(out io.Writer, names string) {
	fmt.Fprintln(out)
	fmt.Fprintln(out, strings.Join(strings.Fields(names), "\t"))
}

// omitted says how many lines a table lacks.
func omitted(out io.Writer, lines int) {
	if lines > 0 {
		fmt.Fprintf(out, "and %d more\n", lines)
	}
}

func printNodes(out io.Writer, s httpapi.Status) {
	if len(s.Nodes) == 0 {
		fmt.Fprintf(out, "\nno agent has a session with it\n")
		return
	}
	heading(out, "NODE STATE FOR MEMORY USED PROMISED BUSY FREE KEPT PREWARMED CREATING GRANTING REMOVING PROBLEM")
	for _, n := range s.Nodes {
		p := n.Pools
		row(out, n.Node, n.State, s.At.Sub(n.Since).Round(time.Second), whisk.Bytes(n.Memory), whisk.Bytes(n.Used), whisk.Bytes(n.Promised),
			p.Busy, p.Free, p.Kept, p.Prewarmed, p.Creating, p.Granting, p.Removing, n.Problem)
	}
}

func printControllers(out io.Writer, s httpapi.Status) {
	if len(s.Controllers) == 0 {
		return
	}
	heading(out, "CONTROLLER CONNECTED CONTAINERS CLAIMED REQUISITIONS")
	for _, c := range s.Controllers {
		row(out, c.Controller, yesNo(c.Connected), c.Containers, c.Claimed, c.Requisitions)
	}
}

func printPrewarmed(out io.Writer, s httpapi.Status) {
	if len(s.Prewarmed) == 0 {
		return
	}
	heading(out, "PREWARMED MEMORY WANTED READY COMING IMAGE")
	for _, p := range s.Prewarmed {
		row(out, p.Kind, whisk.Bytes(p.Memory), p.Wanted, p.Ready, p.Coming, p.Image)
	}
	omitted(out, s.Omitted.Prewarmed)
}

func printActions(out io.Writer, s httpapi.Status) {
	if len(s.Actions) == 0 {
		return
	}
	heading(out, "ACTION REVISION NAMESPACE KIND MEMORY BUSY FREE KEPT COMING LIMIT WAITING")
	for _, a := range s.Actions {
		row(out, a.Action, a.Revision, a.Namespace, a.Kind, whisk.Bytes(a.Memory), a.Busy, a.Free, a.Kept, a.Coming, orNone(a.Limit), a.Waiting)
	}
	omitted(out, s.Omitted.Actions)
}

func printWaiting(out io.Writer, s httpapi.Status) {
	if len(s.Waiting) == 0 {
		return
	}
	heading(out, "WAITING NAMESPACE CONTROLLER SLOTS COMING FOR DEADLINE")
	for _, w := range s.Waiting {
		row(out, w.Action, w.Namespace, w.Controller, w.Slots, w.UnderWay,
			s.At.Sub(w.Since).Round(time.Millisecond), "in "+w.Deadline.Sub(s.At).Round(time.Millisecond).String())
	}
	omitted(out, s.Omitted.Waiting)
}

// orNone shows a bound, "-" where there is none.
func orNone(limit int) string {
	if limit == 0 {
		return "-"
	}
	return strconv.Itoa(limit)
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
