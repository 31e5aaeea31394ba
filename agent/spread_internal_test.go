// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// TestNodesRedialSpread holds that of 4,000 nodes about as many call in each
// quarter of the time, at every try, and that a node does not keep its place.
func TestNodesRedialSpread(t *testing.T) {
	const nodes = 4000
	last := make([]int, nodes)
	for try := 1; try <= 5; try++ {
		var quarters [4]int
		same := 0
		for n := range nodes {
			pause := spread(4*time.Second, whisk.NodeID(fmt.Sprintf("node%d", n)), try)
			if pause < 2*time.Second || pause >= 4*time.Second {
				t.Fatalf("node %d rests for %v", n, pause)
			}
			quarter := int((pause - 2*time.Second) / (500 * time.Millisecond))
			quarters[quarter]++
			if quarter == last[n] {
				same++
			}
			last[n] = quarter
		}
		for quarter, count := range quarters {
			if count < nodes/5 || count > nodes*3/10 {
				t.Errorf("try %d: %d of %d nodes in quarter %d", try, count, nodes, quarter)
			}
		}
		if try > 1 && same > nodes*3/10 {
			t.Errorf("try %d: %d of %d nodes come in the same quarter as before", try, same, nodes)
		}
	}
}
