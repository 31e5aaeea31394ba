// SPDX-License-Identifier: Apache-2.0

package plot

import (
	"encoding/xml"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestTicksAreRoundAndFew(t *testing.T) {
	for name, row := range map[string]struct {
		axis axis
		want []string
	}{
		"linear":        {axis{least: 0, most: 1}, []string{"0", "0.2", "0.4", "0.6", "0.8", "1"}},
		"large":         {axis{least: 0, most: 4321}, []string{"0", "500", "1000", "1500", "2000", "2500", "3000", "3500", "4000"}},
		"decades":       {axis{least: 0.3, most: 12, log: true}, []string{"0.5", "1", "2", "5", "10"}},
		"three decades": {axis{least: 1, most: 1000, log: true}, []string{"1", "10", "100", "1000"}},
		"many decades":  {axis{least: 0.09, most: 1001, log: true}, []string{"0.1", "1", "10", "100", "1000"}},
	} {
		var got []string
		for _, mark := range row.axis.ticks() {
			got = append(got, mark.Label)
		}
		if !slices.Equal(got, row.want) {
			t.Errorf("%s: got %v, want %v", name, got, row.want)
		}
	}
}

func TestCurvesWithoutLengthAreNotDrawn(t *testing.T) {
	if got := Draw("", Axes{LogX: true}, []Curve{{Name: "nothing"}, {Name: "a point", Points: []Point{{1, 1}}}}); got != nil {
		t.Errorf("got %+v", got)
	}
	// All in one place is a line nevertheless, and no division by zero.
	same := Draw("", Axes{LogX: true}, []Curve{{Name: "same", Points: []Point{{1, 0}, {1, 0}}}})
	if len(same) != 1 || same[0].Lines[0].Points != "60.0,230.0 60.0,230.0" {
		t.Errorf("got %+v", same)
	}
}

// TestAFileIsOneDrawing has dots on two logarithmic axes.
func TestAFileIsOneDrawing(t *testing.T) {
	curves := []Curve{
		{Name: "measured <1>\nand fitted", Points: []Point{{1, 10}, {100, 10}}, Dots: []Point{{1, 10}, {10, 10.1}, {100, 10}}},
	}
	plots := Draw("Cost", Axes{X: "actions", Y: "us", LogX: true, LogY: true}, curves)
	var file strings.Builder
	if err := plots[0].WriteSVG(&file); err != nil {
		t.Fatal(err)
	}
	elements := map[string]int{}
	decoder := xml.NewDecoder(strings.NewReader(file.String()))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("%v in %s", err, &file)
		}
		if start, ok := token.(xml.StartElement); ok {
			elements[start.Name.Local]++
		}
	}
	if elements["svg"] != 1 || elements["circle"] != 3 || elements["polyline"] != 1 || !strings.Contains(file.String(), "measured &lt;1&gt;</text>") || !strings.Contains(file.String(), ">and fitted</text>") {
		t.Errorf("got %v in %s", elements, &file)
	}
	// What hardly changes is not blown up over the whole height.
	if at := plots[0].Lines[0].Dots; at[0].Y != at[2].Y || at[1].Y < "120" || len(plots[0].YTicks) == 0 {
		t.Errorf("got dots %v, ticks %v", at, plots[0].YTicks)
	}
}
