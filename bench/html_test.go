// SPDX-License-Identifier: Apache-2.0

package bench_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/bench"
)

// measured is a report with curves, and with a server whose name is an attack.
func measured(t *testing.T) string {
	t.Helper()
	r := report()
	r.Build = `<script>alert("build")</script>`
	r.Cold[0].Invoke.Curve = []bench.Quantile{{Share: 0, Within: 100 * time.Millisecond}, {Share: 1, Within: time.Second}}
	r.Warm[0].Platform.Latency.Curve = []bench.Quantile{{Share: 0, Within: time.Millisecond}, {Share: 0.5, Within: 2 * time.Millisecond}, {Share: 1, Within: 100 * time.Millisecond}}
	r.Warm[0].Platform.Timeline = bench.Timeline{Step: time.Second, Rounds: [][]int64{{990, 1000}, {500, 1010}}}
	var page bytes.Buffer
	if err := r.WriteHTML(&page); err != nil {
		t.Fatal(err)
	}
	return page.String()
}

func TestPageNeedsNothingFromElsewhere(t *testing.T) {
	page := measured(t)
	for _, bad := range []string{"<script", "<link", "<img", "src=", "href=", "url(", "@import", "ZgotmplZ"} {
		if strings.Contains(page, bad) {
			t.Errorf("%q is in the page", bad)
		}
	}
	for _, want := range []string{"Cold starts, in ms", "Platform in terms of https://other.example.org", "nodejs, cold and warm", "nodejs, noop, 1 at once", "&lt;script&gt;alert"} {
		if !strings.Contains(page, want) {
			t.Errorf("%q is not in the page", want)
		}
	}
}

// TestPlotsShowTheFigures looks for the curves' corners inside of the frame.
func TestPlotsShowTheFigures(t *testing.T) {
	page := measured(t)
	drawings := regexp.MustCompile(`(?s)<svg.*?</svg>`).FindAllString(page, -1)
	if len(drawings) != 3 {
		t.Fatalf("%d drawings, want cold and warm, latency, and throughput", len(drawings))
	}
	lines := 0
	for _, drawing := range drawings {
		decoder := xml.NewDecoder(strings.NewReader(drawing))
		for {
			token, err := decoder.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if element, ok := token.(xml.StartElement); ok && element.Name.Local == "polyline" {
				lines++
				checkInFrame(t, element)
			}
		}
	}
	if lines != 4 {
		t.Errorf("%d lines, want 4", lines)
	}
	// From 1 ms to 100 ms, with half of the answers within 2 ms: log 2 is 0.15 of log 100.
	if want := `points="60.0,230.0 123.2,130.0 480.0,30.0"`; !strings.Contains(drawings[1], want) {
		t.Errorf("%s is not in %s", want, drawings[1])
	}
	// Four steps of a second, the middle of the third at 500 of at most 1010.
	if want := `points="60.0,34.0 200.0,32.0 340.0,131.0 480.0,30.0"`; !strings.Contains(drawings[2], want) {
		t.Errorf("%s is not in %s", want, drawings[2])
	}
}

func checkInFrame(t *testing.T, line xml.StartElement) {
	t.Helper()
	for _, attr := range line.Attr {
		if attr.Name.Local != "points" {
			continue
		}
		for pair := range strings.FieldsSeq(attr.Value) {
			x, y, _ := strings.Cut(pair, ",")
			left, err := strconv.ParseFloat(x, 64)
			top, err2 := strconv.ParseFloat(y, 64)
			if err != nil || err2 != nil || left < 60 || left > 480 || top < 30 || top > 230 {
				t.Errorf("point %s is outside of the frame", pair)
			}
		}
	}
}

func TestPageThatCannotBeWritten(t *testing.T) {
	full, err := os.Open(os.DevNull) // opened for reading only
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	if err := report().WriteHTML(full); err == nil {
		t.Error("no error")
	}
}
