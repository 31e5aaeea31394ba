// SPDX-License-Identifier: Apache-2.0

package table_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/bench/table"
)

func TestNothingIsSeenBeforeFlush(t *testing.T) {
	var out strings.Builder
	tab := table.New(&out, "kind", "rate")
	tab.Row("nodejs:20", 7)
	if out.Len() > 0 {
		t.Errorf("already there: %q", out.String())
	}
	tab.Flush()
	if got, want := out.String(), "       kind  rate\n  nodejs:20     7\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func Example() {
	t := table.New(os.Stdout, "workload", "per second", "p50")
	t.Row("no-op", 3100, 1500*time.Microsecond)
	t.Row("echo of 1 MB", 91, "-")
	t.Flush()
	// Output:
	//       workload  per second    p50
	//          no-op        3100  1.5ms
	//   echo of 1 MB          91      -
}
