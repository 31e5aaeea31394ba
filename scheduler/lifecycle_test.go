// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// edge is an arrow of the diagram.
type edge struct{ from, to, by string }

// TestDiagram holds the picture in docs/ against the transition function.
func TestDiagram(t *testing.T) {
	drawn := readDiagram(t, "../docs/state-machines.md", "## Container, as the scheduler sees it", members)
	coded := make(map[edge]bool)
	for from := range condition(conditions) {
		for by := range change(changes) {
			if to, ok := transition(from, by); ok {
				coded[edge{from.String(), to.String(), by.String()}] = true
			}
		}
	}
	compareDiagram(t, drawn, coded)
}

func compareDiagram(t *testing.T, drawn, coded map[edge]bool) {
	t.Helper()
	for e := range coded {
		if !drawn[e] {
			t.Errorf("not drawn: %s --> %s: %s", e.from, e.to, e.by)
		}
	}
	for e := range drawn {
		if !coded[e] {
			t.Errorf("not in the code: %s --> %s: %s", e.from, e.to, e.by)
		}
	}
	if t.Failed() {
		lines := make(map[string][]string)
		for e := range coded {
			lines[e.from+" --> "+e.to] = append(lines[e.from+" --> "+e.to], e.by)
		}
		for _, arrow := range slices.Sorted(maps.Keys(lines)) {
			t.Logf("    %s: %s", arrow, strings.Join(slices.Sorted(slices.Values(lines[arrow])), ", "))
		}
	}
}

var arrow = regexp.MustCompile(`^\s*(\S+) --> (\S+): (.+)$`)

// members returns the conditions that a name of the diagram stands for.
func members(name string) []string {
	var all []string
	for c := creating; c < removing; c++ {
		if name == "existing" || name == "leased" && c.leased() {
			all = append(all, c.String())
		}
	}
	if all == nil {
		all = []string{name}
	}
	return all
}

// readDiagram reads the mermaid block of a section. An arrow may name several
// changes, apart by commas; [*] is the unknown or the gone container. members
// returns what a name stands for.
func readDiagram(t *testing.T, path, heading string, members func(string) []string) map[edge]bool {
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), heading+"\n")
	if !found {
		t.Fatalf("%s has no section %q", path, heading)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	edges := make(map[edge]bool)
	for line := range strings.Lines(section) {
		m := arrow.FindStringSubmatch(strings.TrimRight(line, "\n"))
		if m == nil {
			continue
		}
		from, to := m[1], m[2]
		if from == "[*]" {
			from = unknown.String()
		}
		if to == "[*]" {
			to = gone.String()
		}
		for _, from := range members(from) {
			for by := range strings.SplitSeq(m[3], ", ") {
				edges[edge{from, to, by}] = true
			}
		}
	}
	return edges
}
