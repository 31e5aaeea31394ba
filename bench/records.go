// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/whirl-faas/whirl/client"
)

const recordsWait = 15 * time.Second // for the last records to be written

// countRecords compares the answers that actions gave with the records that were
// stored of them. A record may be written a moment after its answer.
func (r *runner) countRecords(run context.Context, kind string, actions []deployed, answered int64) error {
	r.display.pending("%s: counting records", kind)
	ctx, cancel := context.WithTimeout(run, recordsWait)
	defer cancel()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	records := Records{Kind: kind, Answered: answered}
	for {
		var stored int64
		for _, action := range actions {
			n, err := action.endpoint.client.CountActivations(ctx, client.ActivationQuery{Name: action.name})
			if err != nil && ctx.Err() == nil {
				return fmt.Errorf("count the records of %s: %w", kind, err)
			}
			stored += int64(n)
		}
		if run.Err() != nil {
			return context.Cause(run)
		}
		records.Stored = max(records.Stored, stored)
		if records.Stored >= answered || ctx.Err() != nil {
			r.report.Records = append(r.report.Records, records)
			return nil
		}
		select {
		case <-again.C:
		case <-ctx.Done():
		}
	}
}
