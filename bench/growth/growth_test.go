// SPDX-License-Identifier: Apache-2.0

package growth_test

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/whirl-faas/whirl/bench/growth"
)

func TestFitsFindThePower(t *testing.T) {
	for name, row := range map[string]struct {
		points []growth.Point
		want   growth.Fit
	}{
		"linear":   {[]growth.Point{{1, 3}, {10, 30}, {100, 300}}, growth.Fit{Exponent: 1, Factor: 3, Points: 3}},
		"constant": {[]growth.Point{{1, 7}, {1000, 7}}, growth.Fit{Exponent: 0, Factor: 7, Points: 2}},
		"square":   {[]growth.Point{{2, 8}, {4, 32}, {8, 128}, {0, 5}, {3, 0}}, growth.Fit{Exponent: 2, Factor: 2, Points: 3}},
		"one work": {[]growth.Point{{5, 1}, {5, 2}}, growth.Fit{Points: 2}},
		"nothing":  {nil, growth.Fit{}},
	} {
		got := growth.FitTo(row.points)
		if math.Abs(got.Exponent-row.want.Exponent) > 1e-9 || math.Abs(got.Factor-row.want.Factor) > 1e-9 || got.Points != row.want.Points || got.Margin > 1e-6 {
			t.Errorf("%s: got %+v, want %+v", name, got, row.want)
		}
	}
}

// TestMarginsHoldTheTruth fits 1,000 noisy series of a known exponent: about 95 %
// of the margins must contain it.
func TestMarginsHoldTheTruth(t *testing.T) {
	const seed, series, truth = 7, 1000, 0.5
	random := rand.New(rand.NewPCG(seed, 0))
	for _, passes := range []int{1, 3, 8} { // by the table of Student's percentiles, and beyond
		held := 0
		for range series {
			var points []growth.Point
			for range passes {
				for _, work := range []float64{1, 10, 100, 1000} {
					points = append(points, growth.Point{Work: work, Cost: 20 * math.Pow(work, truth) * math.Exp(0.2*random.NormFloat64())})
				}
			}
			if fit := growth.FitTo(points); math.Abs(fit.Exponent-truth) <= fit.Margin {
				held++
			}
		}
		if held < 930 || held > 970 {
			t.Errorf("seed %d: %d of %d margins of %d passes hold the truth", seed, held, series, passes)
		}
	}
}

func TestReportsShowMediansAndExponents(t *testing.T) {
	d := growth.Dimension{Name: "rate", Work: "activations a second", Setup: "One action."}
	for _, p := range []struct{ work, cost float64 }{{100, 1000}, {1000, 2000}, {1000, 1900}, {100, 1100}, {100, 1050}, {1000, 2000}} {
		d.Add(growth.Cost{Name: "CPU", Unit: "us"}, growth.Point{Work: p.work, Cost: p.cost})
	}
	d.Add(growth.Cost{Name: "p50", Unit: "ms"}, growth.Point{Work: 100, Cost: 0.25})
	d.Add(growth.Cost{Name: "memory", Unit: "MB", Total: true}, growth.Point{Work: 100, Cost: 41})
	d.Add(growth.Cost{Name: "memory", Unit: "MB", Total: true}, growth.Point{Work: 1000, Cost: 50})
	r := growth.Report{Passes: 3, Machine: "two cores", Dimensions: []growth.Dimension{d, {Name: "empty"}}}
	var table strings.Builder
	if err := r.WriteMarkdown(&table); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"two cores; ", "| activations a second | 100, 1,000 | CPU 0.27 ± 0.04; p50 -; memory 0.09 |", "## Activations a second", "![plot](rate.svg)",
		"| activations a second | 100 | 1,000 | exponent | each more |", "| CPU, us | 1,050 | 2,000 | 0.27 ± 0.04 | - |", "| p50, ms | 0.25 | - | - | - |",
		"| memory, MB | 41 | 50 | 0.09 | 0.01 |",
	} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("no %q in:\n%s", want, &table)
		}
	}
	plots := d.Plot()
	if len(plots) != 1 || len(plots[0].Lines) != 2 || len(plots[0].Lines[0].Dots) != 6 || plots[0].Lines[1].Points == "" || len(plots[0].Lines[1].Labels) != 2 {
		t.Errorf("got %+v", plots)
	}
	if plots := (growth.Dimension{}).Plot(); plots != nil {
		t.Errorf("nothing is drawn as %+v", plots)
	}
}
