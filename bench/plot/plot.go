// SPDX-License-Identifier: Apache-2.0

// Package plot draws curves over two axes as SVG that needs nothing from
// elsewhere. It holds no state, and everything may be called concurrently.
package plot

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Template defines the template "plot" of html/template: how a [Plot] is drawn
// inside a page. Its classes are frame, grid, curve and dot.
//
//go:embed plot.svg.tmpl
var Template string

// Plot is a drawing of lines over two axes.
type Plot struct {
	Title  string
	X, Y   string // what the axes are
	XTicks []Tick
	YTicks []Tick
	Lines  []Line
}

// Tick is a place on an axis.
type Tick struct {
	At    string // in the drawing's units
	Label string
}

// Line is one curve as it is drawn.
type Line struct {
	Labels []Label // its name in the legend
	Colour string
	Points string // for SVG's polyline
	Dots   []Dot
}

// Label is a line of text in the legend.
type Label struct {
	Y    int
	Text string
}

// Dot is one measured point.
type Dot struct{ X, Y string }

// Curve is what is to be drawn.
type Curve struct {
	Name   string  // "\n" ends a line of the legend
	Points []Point // of the line, in order
	Dots   []Point // to be shown beside the line; nil for none
}

// Point is a place in the units of the axes.
type Point struct{ X, Y float64 }

// Axes say what is on the axes, and whether they are logarithmic. The vertical
// one begins at 0 if it is not.
type Axes struct {
	X, Y       string
	LogX, LogY bool
}

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

// Draw makes a plot of curves, or nothing if no curve has two points.
func Draw(title string, axes Axes, curves []Curve) []Plot {
	curves = slices.DeleteFunc(slices.Clone(curves), func(c Curve) bool { return len(c.Points) < 2 })
	if len(curves) == 0 {
		return nil
	}
	horizontal := axisOf(curves, axes.LogX, func(p Point) float64 { return p.X })
	vertical := axisOf(curves, axes.LogY, func(p Point) float64 { return p.Y })
	horizontal.from, horizontal.to = frameLeft, frameRight
	vertical.from, vertical.to = frameBottom, frameTop
	if axes.LogY {
		vertical.least, vertical.most = vertical.least/1.3, vertical.most*1.3 // what hardly changes is to look so
	} else {
		vertical.least = 0
	}
	p := Plot{Title: title, X: axes.X, Y: axes.Y, XTicks: horizontal.ticks(), YTicks: vertical.ticks()}
	place := func(at Point) Dot {
		return Dot{fmt.Sprintf("%.1f", horizontal.place(at.X)), fmt.Sprintf("%.1f", vertical.place(at.Y))}
	}
	below := int(frameTop) + 10
	for i, c := range curves {
		line := Line{Colour: colour(i)}
		for text := range strings.SplitSeq(c.Name, "\n") {
			line.Labels = append(line.Labels, Label{below, text})
			below += 16
		}
		var points []string
		for _, at := range c.Points {
			dot := place(at)
			points = append(points, dot.X+","+dot.Y)
		}
		line.Points = strings.Join(points, " ")
		for _, at := range c.Dots {
			line.Dots = append(line.Dots, place(at))
		}
		p.Lines = append(p.Lines, line)
	}
	return []Plot{p}
}

// WriteSVG writes the plot as a file of its own.
func (p Plot) WriteSVG(w io.Writer) error {
	file, err := template.New("file").Parse(Template + `{{template "plot" .}}`)
	if err != nil {
		return fmt.Errorf("parse the plot's template: %w", err)
	}
	return file.Execute(w, p)
}

// colour tells lines apart, also for those who do not see red and green apart.
func colour(i int) string {
	colours := []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000"}
	return colours[i%len(colours)]
}

func axisOf(curves []Curve, log bool, of func(Point) float64) axis {
	a := axis{least: math.Inf(1), most: math.Inf(-1), log: log}
	for _, c := range curves {
		for _, p := range slices.Concat(c.Points, c.Dots) {
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
func (a axis) ticks() (marks []Tick) {
	add := func(value float64) {
		if value >= a.least*(1-1e-9) && value <= a.most*(1+1e-9) {
			marks = append(marks, Tick{At: fmt.Sprintf("%.1f", a.place(value)), Label: strconv.FormatFloat(value, 'g', 7, 64)})
		}
	}
	if !a.log {
		for step, i := niceStep(a.most-a.least), 0; float64(i)*step <= a.most; i++ {
			add(float64(i) * step)
		}
		return marks
	}
	factors := []float64{1, 2, 5}
	if a.most/a.least >= 1000 {
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
