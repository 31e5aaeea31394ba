// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// plot is a drawing of lines over two axes, for the template "plot".
type plot struct {
	Title  string
	X, Y   string // what the axes are
	XTicks []tickMark
	YTicks []tickMark
	Lines  []line
}

// tickMark is a place on an axis.
type tickMark struct {
	At    string // in the drawing's units
	Label string
}

// line is one curve.
type line struct {
	Name   string
	Colour string
	Points string // for SVG's polyline
	LabelY int    // of its name in the legend
}

// curve is a line that is not drawn yet.
type curve struct {
	name   string
	points []point
}

type point struct{ x, y float64 }

// axis maps values to one side of the drawing.
type axis struct {
	least, most float64
	log         bool
	from, to    float64 // in the drawing
}

// The drawing's frame; the legend is right of it. The template has them, too.
const (
	frameLeft, frameRight = 60.0, 480.0
	frameTop, frameBottom = 30.0, 230.0
)

// draw makes a plot of curves, or nothing if no curve has two points. Times of
// latencies go on a logarithmic axis: their tails are many times their middles.
func draw(title, x, y string, logX bool, curves []curve) []plot {
	curves = slices.DeleteFunc(curves, func(c curve) bool { return len(c.points) < 2 })
	if len(curves) == 0 {
		return nil
	}
	horizontal, vertical := axisOf(curves, logX, func(p point) float64 { return p.x }), axisOf(curves, false, func(p point) float64 { return p.y })
	horizontal.from, horizontal.to = frameLeft, frameRight
	vertical.least = 0
	vertical.from, vertical.to = frameBottom, frameTop
	p := plot{Title: title, X: x, Y: y, XTicks: horizontal.ticks(), YTicks: vertical.ticks()}
	for i, c := range curves {
		var points strings.Builder
		for _, at := range c.points {
			fmt.Fprintf(&points, "%.1f,%.1f ", horizontal.place(at.x), vertical.place(at.y))
		}
		p.Lines = append(p.Lines, line{Name: c.name, Colour: colour(i), Points: strings.TrimSpace(points.String()), LabelY: int(frameTop) + 10 + 16*i})
	}
	return []plot{p}
}

// colour tells lines apart, also for those who do not see red and green apart.
func colour(i int) string {
	colours := []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"}
	return colours[i%len(colours)]
}

func axisOf(curves []curve, log bool, of func(point) float64) axis {
	a := axis{least: math.Inf(1), most: math.Inf(-1), log: log}
	for _, c := range curves {
		for _, p := range c.points {
			a.least, a.most = min(a.least, of(p)), max(a.most, of(p))
		}
	}
	if log {
		a.least = max(a.least, 1e-6)
	}
	if a.most <= a.least {
		a.most = a.least + 1
	}
	return a
}

// place returns where a value is in the drawing.
func (a axis) place(value float64) float64 {
	least, most := a.least, a.most
	if a.log {
		least, most, value = math.Log(least), math.Log(most), math.Log(max(value, a.least))
	}
	return a.from + (value-least)/(most-least)*(a.to-a.from)
}

// ticks are round values, few enough to read.
func (a axis) ticks() (marks []tickMark) {
	add := func(value float64) {
		if value >= a.least*(1-1e-9) && value <= a.most*(1+1e-9) {
			marks = append(marks, tickMark{At: fmt.Sprintf("%.1f", a.place(value)), Label: strconv.FormatFloat(value, 'g', 6, 64)})
		}
	}
	if !a.log {
		for step, i := niceStep(a.most-a.least), 0; float64(i)*step <= a.most; i++ {
			add(float64(i) * step)
		}
		return marks
	}
	factors := []float64{1, 2, 5}
	if a.most/a.least > 1000 {
		factors = factors[:1]
	}
	for power := math.Floor(math.Log10(a.least)); power <= math.Ceil(math.Log10(a.most)); power++ {
		for _, factor := range factors {
			add(factor * math.Pow(10, power))
		}
	}
	return marks
}

// niceStep divides a span into five steps or a few more, each 1, 2 or 5 times a power of ten.
func niceStep(span float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(span/5)))
	for _, factor := range []float64{5, 2} {
		if span/(factor*power) >= 5 {
			return factor * power
		}
	}
	return power
}
