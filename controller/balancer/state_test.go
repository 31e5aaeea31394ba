// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The diagram in docs/state-machines.md shows every transition and no other.
// "any" stands for all states but released.
func TestDiagramShowsTheTransitions(t *testing.T) {
	var code []string
	for from := range released + 1 {
		for e := range lost + 1 {
			to, do := transition(from, e)
			if to == from && do == none {
				continue
			}
			label := e.String()
			if do != none {
				label += " / " + do.String()
			}
			code = append(code, fmt.Sprintf("%v --> %v: %s", from, to, label))
		}
	}
	text, err := os.ReadFile("../../docs/state-machines.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "## Container, as the controller sees it\n")
	if !found {
		t.Fatal("docs/state-machines.md lacks the section")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var drawn []string
	for _, m := range regexp.MustCompile(`(?m)^ +(\w+) --> (\w+): (.+)$`).FindAllStringSubmatch(section, -1) {
		for label := range strings.SplitSeq(m[3], ", ") {
			drawn = append(drawn, fmt.Sprintf("%s --> %s: %s", m[1], m[2], label))
		}
	}
	slices.Sort(code)
	slices.Sort(drawn)
	for _, edge := range code {
		if !slices.Contains(drawn, edge) {
			t.Errorf("not drawn:   %s", edge)
		}
	}
	for _, edge := range drawn {
		if !slices.Contains(code, edge) {
			t.Errorf("not in code: %s", edge)
		}
	}
}

// Nothing leads out of released, and whatever is given back is asked to be only once.
func TestReleasedIsTheEnd(t *testing.T) {
	for e := range lost + 1 {
		if to, do := transition(released, e); to != released || do != none {
			t.Errorf("released on %v: %v, %v", e, to, do)
		}
	}
	for from := range released {
		for e := range lost + 1 {
			if to, do := transition(from, e); do == release && to != released || to == released && do != release && e != lost {
				t.Errorf("%v on %v: %v, %v", from, e, to, do)
			}
		}
	}
}
