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
)

//go:embed report.html.tmpl
var pageText string

// WriteHTML writes the report as a page that needs nothing from elsewhere: the
// tables of [Report.WriteText] and plots of what they sum up.
func (r Report) WriteHTML(w io.Writer) error {
	page, err := template.New("page").Parse(pageText)
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
	Plots   []plot
}

// sections draws what there is: for each kind its cold starts beside its warm
// answers, then each course, then each trace.
func (r Report) sections() (all []pageSection) {
	add := func(heading string, plots []plot) {
		if len(plots) > 0 {
			all = append(all, pageSection{heading, plots})
		}
	}
	for _, kind := range r.coldKinds() {
		add(kind+", cold and warm", draw("Latency of an invoke", "ms", "share of the answers", true, r.coldAndWarm(kind)))
	}
	for _, one := range r.Warm {
		sides := one.sides()
		plots := draw("Latency", "ms", "share of the answers", true, curves(sides, latencyCurve))
		plots = append(plots, draw("Throughput", "s of its rounds", "good answers per second", false, curves(sides, throughputCurve))...)
		add(one.describe(), plots)
	}
	for _, one := range r.Replays {
		plots := draw("Latency beyond what the functions ran for", "ms", "share of the answers", true,
			[]curve{{"warm", one.Warm.share()}, {"cold", one.Cold.share()}})
		plots = append(plots, draw("Throughput", "s", "good answers per second", false, []curve{throughputCurve("answers", one.Side)})...)
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
func (r Report) coldAndWarm(kind string) (all []curve) {
	for _, c := range r.Cold {
		if c.Kind == kind {
			all = append(all, curve{"cold " + c.Mode + ", " + c.Endpoint, c.Invoke.share()})
		}
	}
	for _, one := range r.Warm {
		if one.Kind == kind {
			return append(all, curve{"warm, " + one.Pace, one.Platform.Latency.share()})
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

func curves(sides []namedSide, of func(string, Side) curve) (all []curve) {
	for _, one := range sides {
		all = append(all, of(one.name, one.side))
	}
	return all
}

func latencyCurve(name string, s Side) curve { return curve{name, s.Latency.share()} }

// share is the share of the answers that came within a time, in ms.
func (l Latency) share() (points []point) {
	for _, q := range l.Curve {
		points = append(points, point{float64(q.Within) / float64(time.Millisecond), q.Share})
	}
	return points
}

// throughputCurve puts the rounds one behind the other.
func throughputCurve(name string, s Side) curve {
	c := curve{name: name}
	at, step := 0.0, s.Timeline.Step.Seconds()
	for _, round := range s.Timeline.Rounds {
		for _, good := range round {
			c.points = append(c.points, point{at + step/2, float64(good) / step})
			at += step
		}
	}
	return c
}
