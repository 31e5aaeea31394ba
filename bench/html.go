// SPDX-License-Identifier: Apache-2.0

package bench

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/whirl-faas/whirl/bench/plot"
)

//go:embed report.html.tmpl
var pageText string

// WriteHTML writes the report as a page that needs nothing from elsewhere: the
// tables of [Report.WriteText] and plots of what they sum up.
func (r Report) WriteHTML(w io.Writer) error {
	page, err := template.New("page").Parse(pageText + plot.Template)
	if err != nil {
		return fmt.Errorf("parse the report's page: %w", err)
	}
	var tables strings.Builder
	if err := r.WriteText(&tables); err != nil {
		return err
	}
	head, rest, _ := strings.Cut(tables.String(), "\n\n")
	return page.Execute(w, struct {
		Title    string
		Head     string
		Tables   string
		Sections []pageSection
	}{"whirl bench of " + r.APIHost, head, rest, r.sections()})
}

// pageSection is a heading with plots below it.
type pageSection struct {
	Heading string
	Plots   []plot.Plot
}

// sections draws what there is: for each kind its cold starts beside its warm
// answers, then each course, then each trace.
func (r Report) sections() (all []pageSection) {
	add := func(heading string, plots []plot.Plot) {
		if len(plots) > 0 {
			all = append(all, pageSection{heading, plots})
		}
	}
	for _, kind := range r.coldKinds() {
		add(kind+", cold and warm", plot.Draw("Latency of an invoke", plot.Axes{X: "ms", Y: "share of the answers", LogX: true}, r.coldAndWarm(kind)))
	}
	for _, one := range r.Warm {
		sides := one.sides()
		plots := plot.Draw("Latency", plot.Axes{X: "ms", Y: "share of the answers", LogX: true}, curves(sides, latencyCurve))
		plots = append(plots, plot.Draw("Throughput", plot.Axes{X: "s of its rounds", Y: "good answers per second"}, curves(sides, throughputCurve))...)
		add(one.describe(), plots)
	}
	for _, one := range r.Replays {
		plots := plot.Draw("Latency beyond what the functions ran for", plot.Axes{X: "ms", Y: "share of the answers", LogX: true},
			[]plot.Curve{{Name: "warm", Points: one.Warm.share()}, {Name: "cold", Points: one.Cold.share()}})
		plots = append(plots, plot.Draw("Throughput", plot.Axes{X: "s", Y: "good answers per second"}, []plot.Curve{throughputCurve("answers", one.Side)})...)
		add(one.describe(), plots)
	}
	return all
}

func (r Report) coldKinds() []string {
	kinds := map[string]bool{}
	for _, c := range r.Cold {
		kinds[c.Kind] = true
	}
	return slices.Sorted(maps.Keys(kinds))
}

// coldAndWarm sets the cold starts of a kind beside the answers of its first course.
func (r Report) coldAndWarm(kind string) (all []plot.Curve) {
	for _, c := range r.Cold {
		if c.Kind == kind {
			all = append(all, plot.Curve{Name: "cold " + c.Mode + ", " + c.Endpoint, Points: c.Invoke.share()})
		}
	}
	for _, one := range r.Warm {
		if one.Kind == kind {
			return append(all, plot.Curve{Name: "warm, " + one.Pace, Points: one.Platform.Latency.share()})
		}
	}
	return all
}

// namedSide is a side and how it is called in plots.
type namedSide struct {
	name string
	side Side
}

func (w Warm) sides() []namedSide {
	sides := []namedSide{{"platform", w.Platform}}
	if w.Versus != nil {
		sides = append(sides, namedSide{"versus", *w.Versus})
	}
	if w.Alone != nil {
		sides = append(sides, namedSide{sideAlone, *w.Alone})
	}
	if w.Direct != nil {
		sides = append(sides, namedSide{sideDirect, *w.Direct})
	}
	if w.Hop != nil {
		sides = append(sides, namedSide{sideHop, *w.Hop})
	}
	return sides
}

func curves(sides []namedSide, of func(string, Side) plot.Curve) (all []plot.Curve) {
	for _, one := range sides {
		all = append(all, of(one.name, one.side))
	}
	return all
}

func latencyCurve(name string, s Side) plot.Curve {
	return plot.Curve{Name: name, Points: s.Latency.share()}
}

// share is the share of the answers that came within a time, in ms.
func (l Latency) share() (points []plot.Point) {
	for _, q := range l.Curve {
		points = append(points, plot.Point{X: float64(q.Within) / float64(time.Millisecond), Y: q.Share})
	}
	return points
}

// throughputCurve puts the rounds one behind the other.
func throughputCurve(name string, s Side) plot.Curve {
	c := plot.Curve{Name: name}
	at, step := 0.0, s.Timeline.Step.Seconds()
	for _, round := range s.Timeline.Rounds {
		for _, good := range round {
			c.Points = append(c.Points, plot.Point{X: at + step/2, Y: float64(good) / step})
			at += step
		}
	}
	return c
}
