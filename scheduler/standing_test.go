// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"testing"

	"github.com/whirl-faas/whirl/whisk"
)

// TestNodeDiagram holds the picture in docs/ against the transition function.
func TestNodeDiagram(t *testing.T) {
	answering := []string{"up", "unhealthy", "draining", "drained"}
	drawn := readDiagram(t, "../docs/state-machines.md", "## Node, as the scheduler sees it", func(name string) []string {
		if name == "answering" {
			return answering
		}
		return []string{name}
	})
	coded := make(map[edge]bool)
	for from := range whisk.NodeDrained + 1 {
		for by := range sign(signs) {
			if to, _ := stand(from, by); to != from {
				coded[edge{from.String(), to.String(), by.String()}] = true
			}
		}
	}
	compareDiagram(t, drawn, coded)
}

// Whatever the facts were before, the state follows from what they are now.
func TestStandingFollowsTheSign(t *testing.T) {
	want := map[sign]whisk.NodeState{
		well: whisk.NodeUp, ailing: whisk.NodeUnhealthy, closing: whisk.NodeDraining,
	}
	for from := range whisk.NodeDrained + 1 {
		for by, to := range want {
			if got, _ := stand(from, by); got != to {
				t.Errorf("from %s by %d: %s, want %s", from, by, got, to)
			}
		}
		for by := range sign(signs) {
			to, do := stand(from, by)
			if again, more := stand(to, by); again != to || more != nothing {
				t.Errorf("from %s by %d: %s, and then %s", from, by, to, again)
			}
			if (to == whisk.NodeUp && from != to) != (do == enlist) || (from == whisk.NodeUp && from != to) != (do == withdraw) {
				t.Errorf("from %s to %s: consequence %d", from, to, do)
			}
		}
	}
}
