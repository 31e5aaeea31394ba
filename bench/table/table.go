// SPDX-License-Identifier: Apache-2.0

// Package table writes the tables of reports that people read: a line of heads, and
// figures below them, aligned to the right. A table belongs to one goroutine.
package table

import (
	"fmt"
	"io"
	"text/tabwriter"
)

// Table is a table that is being written. Nothing of it is seen before Flush.
type Table struct{ out *tabwriter.Writer }

// New begins a table by its heads.
func New(w io.Writer, heads ...any) Table {
	t := Table{tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)}
	t.Row(heads...)
	return t
}

// Row adds a line. Cells are shown as by fmt.Print, and must hold no tab and no end
// of a line.
func (t Table) Row(cells ...any) {
	for _, cell := range cells {
		fmt.Fprintf(t.out, "%v\t", cell)
	}
	fmt.Fprintln(t.out)
}

// Flush writes the table. It does not tell of errors of the writer below: reports
// have a buffered one, which keeps them.
func (t Table) Flush() { _ = t.out.Flush() }
