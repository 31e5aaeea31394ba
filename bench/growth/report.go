// SPDX-License-Identifier: Apache-2.0

package growth

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/whirl-faas/whirl/bench/plot"
)

// Report is how costs grow along some dimensions.
type Report struct {
	Started    time.Time     `json:"started"`
	Took       time.Duration `json:"took_ns"`
	Machine    string        `json:"machine"`
	Load       float64       `json:"load,omitempty"` // of the machine, at most, what the bench does included; 0 if unknown
	Passes     int           `json:"passes"`         // over each dimension, every other one backwards
	Dimensions []Dimension   `json:"dimensions"`
}

// Dimension is one kind of work, and what it costs.
type Dimension struct {
	Name  string `json:"name"`  // of its file, too
	Work  string `json:"work"`  // what there is more and more of
	Setup string `json:"setup"` // what stayed as it was
	Costs []Cost `json:"costs"`
}

// Cost is what was measured along a dimension.
type Cost struct {
	Name   string  `json:"name"`
	Unit   string  `json:"unit"`
	Total  bool    `json:"total,omitempty"` // of all the work and what is there without any, as memory is
	Points []Point `json:"points"`          // of all passes, in the order in which they were measured
	Fit    Fit     `json:"fit"`
}

// Add adds a measurement of a cost, which is otherwise without points.
func (d *Dimension) Add(cost Cost, measured Point) {
	i := slices.IndexFunc(d.Costs, func(c Cost) bool { return c.Name == cost.Name })
	if i < 0 {
		i = len(d.Costs)
		d.Costs = append(d.Costs, cost)
	}
	c := &d.Costs[i]
	c.Points = append(c.Points, measured)
	c.Fit = FitTo(c.Points)
}

// middles are the medians of the passes at each amount of work, in order.
func (c Cost) middles() (all []Point) {
	costs := map[float64][]float64{}
	for _, p := range c.Points {
		costs[p.Work] = append(costs[p.Work], p.Cost)
	}
	for _, work := range slices.Sorted(maps.Keys(costs)) {
		sorted := slices.Sorted(slices.Values(costs[work]))
		n := len(sorted)
		all = append(all, Point{work, (sorted[(n-1)/2] + sorted[n/2]) / 2})
	}
	return all
}

// EachMore is what one more of the work adds to a total, from the least to the
// most that was measured; 0 for what is no total. The exponent of a total hides
// that as long as what is there without any work is most of it.
func (c Cost) EachMore() float64 {
	middles := c.middles()
	if !c.Total || len(middles) < 2 {
		return 0
	}
	first, last := middles[0], middles[len(middles)-1]
	return (last.Cost - first.Cost) / (last.Work - first.Work)
}

// WriteMarkdown writes a page with all exponents, and then for each dimension the
// medians of the passes, what one more adds to totals, and the plot, which it takes
// to be the file beside it that has the dimension's name.
func (r Report) WriteMarkdown(w io.Writer) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "# How costs grow\n\nWritten by `whirl bench growth`: %s; %s; a load of up to %s; medians of %d passes; the whole took %s.\n\n",
		r.Machine, r.Started.UTC().Format("2006-01-02 15:04 UTC"), short(r.Load), r.Passes, r.Took.Round(time.Second))
	fmt.Fprint(out, "To each cost *factor × work ^ exponent* is fitted, by least squares of the logarithms of all passes; ± is the margin of 95 %.\n\n")
	r.writeExponents(out)
	for _, d := range r.Dimensions {
		d.writeMarkdown(out)
	}
	return out.Flush()
}

// writeExponents sums all up.
func (r Report) writeExponents(w io.Writer) {
	writeRow(w, "work", "from, to", "exponents")
	writeRow(w, "---", "---", "---")
	for _, d := range r.Dimensions {
		if len(d.Costs) == 0 {
			continue
		}
		works := d.Costs[0].middles()
		var exponents []string
		for _, c := range d.Costs {
			exponents = append(exponents, c.Name+" "+c.Fit.String())
		}
		writeRow(w, d.Work, short(works[0].Work)+", "+short(works[len(works)-1].Work), strings.Join(exponents, "; "))
	}
}

func (d Dimension) writeMarkdown(w io.Writer) {
	if len(d.Costs) == 0 {
		return
	}
	fmt.Fprintf(w, "\n## %s\n\n%s\n\n", strings.ToUpper(d.Work[:1])+d.Work[1:], d.Setup)
	works := d.Costs[0].middles()
	heads := []string{d.Work}
	for _, p := range works {
		heads = append(heads, short(p.Work))
	}
	heads = append(heads, "exponent", "each more")
	writeRow(w, heads...)
	writeRow(w, slices.Repeat([]string{"---"}, len(heads))...)
	for _, c := range d.Costs {
		writeRow(w, c.cells(works)...)
	}
	fmt.Fprintf(w, "\n![plot](%s.svg)\n", d.Name)
}

// cells are the medians at each amount of work, and what they come to.
func (c Cost) cells(works []Point) []string {
	name := c.Name
	if c.Unit != "" {
		name += ", " + c.Unit
	}
	at := map[float64]float64{}
	for _, p := range c.middles() {
		at[p.Work] = p.Cost
	}
	cells := []string{name}
	for _, p := range works {
		cell := "-"
		if cost, measured := at[p.Work]; measured {
			cell = short(cost)
		}
		cells = append(cells, cell)
	}
	each := "-"
	if c.Total {
		each = short(c.EachMore())
	}
	return append(cells, c.Fit.String(), each)
}

func writeRow(w io.Writer, cells ...string) {
	fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
}

// line is what is drawn through the points: the fit, or of a total its medians,
// because what is there without any work bends it.
func (c Cost) line(middles []Point) []Point {
	if c.Total {
		return middles
	}
	first, last := middles[0].Work, middles[len(middles)-1].Work
	return []Point{{first, c.Fit.At(first)}, {last, c.Fit.At(last)}}
}

// Plot draws the costs of a dimension with their fits, each relative to its median
// at the least work, so that different units share an axis. There is none if
// nothing was measured.
func (d Dimension) Plot() []plot.Plot {
	var curves []plot.Curve
	for _, c := range d.Costs {
		middles := c.middles()
		if len(middles) < 2 || middles[0].Cost <= 0 {
			continue
		}
		base := middles[0].Cost
		curve := plot.Curve{Name: fmt.Sprintf("%s\n1 = %s; exponent %s", c.Name, strings.TrimSpace(short(base)+" "+c.Unit), c.Fit)}
		for _, at := range c.line(middles) {
			curve.Points = append(curve.Points, plot.Point{X: at.Work, Y: at.Cost / base})
		}
		for _, p := range c.Points {
			if p.Cost > 0 {
				curve.Dots = append(curve.Dots, plot.Point{X: p.Work, Y: p.Cost / base})
			}
		}
		curves = append(curves, curve)
	}
	return plot.Draw("Cost by "+d.Work, plot.Axes{X: d.Work, Y: "in terms of the least", LogX: true, LogY: true}, curves)
}

// short is a number to three digits.
func short(value float64) string {
	if value == 0 {
		return "0"
	}
	digits := max(2-int(math.Floor(math.Log10(math.Abs(value)))), 0)
	whole, part, _ := strings.Cut(strconv.FormatFloat(value, 'f', digits, 64), ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if part = strings.TrimRight(part, "0"); part != "" {
		return whole + "." + part
	}
	return whole
}

// WriteJSON writes the report as one JSON object.
func (r Report) WriteJSON(w io.Writer) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", " ")
	if err := encoder.Encode(r); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}
