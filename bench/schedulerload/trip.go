// SPDX-License-Identifier: Apache-2.0

package schedulerload

import (
	"fmt"
	"maps"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/whirl-faas/whirl/whisk"
)

// trip is one requisition on its way to its allocation. Its label travels along
// with it, so that the agent which creates the container finds it again.
type trip struct {
	load      *load
	container int       // of Transfer: which one is asked for
	due       time.Time // when it should have been sent
	sent      time.Time

	ordered atomic.Int64 // when an agent was told to create, in nanoseconds since due; 0 if none was
	making  atomic.Int64 // how long it took to create
}

// label names a requisition of a controller.
func label(controller int, id whisk.RequisitionID) string {
	return fmt.Sprintf("bench-%d-%d", controller, id)
}

// parseLabel is the way back; false if the label is not one of ours.
func parseLabel(text string) (controller int, id whisk.RequisitionID, ok bool) {
	rest, ours := strings.CutPrefix(text, "bench-")
	first, second, both := strings.Cut(rest, "-")
	controller, err := strconv.Atoi(first)
	number, err2 := strconv.ParseUint(second, 10, 64)
	return controller, whisk.RequisitionID(number), ours && both && err == nil && err2 == nil
}

// tally is what became of the trips of one load.
type tally struct {
	mu         sync.Mutex
	answered   *hdrhistogram.Histogram // from due to the allocation, less the creation
	ordered    *hdrhistogram.Histogram // from due to the order to create
	late       *hdrhistogram.Histogram // from due to the sending
	origins    [whisk.Transferred + 1]int64
	rejections map[string]int64
}

// Trips take a microsecond to ten minutes.
const (
	shortest = time.Microsecond
	longest  = 10 * time.Minute
)

func newTally() *tally {
	histogram := func() *hdrhistogram.Histogram { return hdrhistogram.New(int64(shortest), int64(longest), 3) }
	return &tally{answered: histogram(), ordered: histogram(), late: histogram(), rejections: make(map[string]int64)}
}

// arrived counts a trip that ended well.
func (t *tally) arrived(one *trip, now time.Time, origin whisk.Origin) {
	t.mu.Lock()
	defer t.mu.Unlock()
	record(t.answered, now.Sub(one.due)-time.Duration(one.making.Load()))
	record(t.late, one.sent.Sub(one.due))
	if ordered := one.ordered.Load(); ordered > 0 {
		record(t.ordered, time.Duration(ordered))
	}
	t.origins[origin]++
}

// refused counts one that did not.
func (t *tally) refused(reason whisk.RejectReason) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rejections[reason.String()]++
}

// merge adds what another tally has, which nobody changes any more.
func (t *tally) merge(from *tally) {
	t.answered.Merge(from.answered)
	t.ordered.Merge(from.ordered)
	t.late.Merge(from.late)
	for origin, count := range from.origins {
		t.origins[origin] += count
	}
	for reason, count := range from.rejections {
		t.rejections[reason] += count
	}
}

// rejected returns a copy of the counts.
func (t *tally) rejected() map[string]int64 { return maps.Clone(t.rejections) }

func record(h *hdrhistogram.Histogram, d time.Duration) {
	// In range, so it cannot fail.
	_ = h.RecordValue(int64(min(max(d, shortest), longest)))
}
