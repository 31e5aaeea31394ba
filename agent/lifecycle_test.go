// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestDiagram holds the picture in docs/state-machines.md against the code.
func TestDiagram(t *testing.T) {
	text, err := os.ReadFile("../docs/state-machines.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## Container, as the agent sees it\n")
	if !ok {
		t.Fatal("the section is missing")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var drawn []string
	for _, edge := range regexp.MustCompile(`(?m)^\s*(\w+) --> (\w+): (\w+)$`).FindAllStringSubmatch(section, -1) {
		drawn = append(drawn, fmt.Sprintf("%s --> %s: %s", edge[1], edge[2], edge[3]))
	}
	var coded []string
	for from := range state(states) {
		for on := range event(events) {
			if to, _, ok := transition(from, on); ok && to != from {
				coded = append(coded, fmt.Sprintf("%v --> %v: %v", from, to, on))
			}
		}
	}
	slices.Sort(drawn)
	slices.Sort(coded)
	if !slices.Equal(drawn, coded) {
		t.Errorf("drawn:\n%s\ncoded:\n%s", strings.Join(drawn, "\n"), strings.Join(coded, "\n"))
	}
}

// TestTransitionIsSound walks all states and events.
func TestTransitionIsSound(t *testing.T) {
	for from := range state(states) {
		for on := range event(events) {
			to, do, ok := transition(from, on)
			name := fmt.Sprintf("%v on %v", from, on)
			switch {
			case from == gone && ok:
				t.Errorf("%s: nothing happens to what is gone", name)
			case ok && from == removing && to != removing && to != gone:
				t.Errorf("%s: a removal must not be undone, became %v", name, to)
			case !ok && on == remove && from != gone:
				t.Errorf("%s: removal must always win", name)
			case ok && to == gone && do != settle, ok && to != gone && do == settle:
				t.Errorf("%s: the books are settled when it is gone, not otherwise", name)
			case ok && to == removing && from != removing && do != destroy && do != abort:
				t.Errorf("%s: nobody would destroy it", name)
			}
		}
	}
}
