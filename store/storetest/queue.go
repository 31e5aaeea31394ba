// SPDX-License-Identifier: Apache-2.0

package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"testing"

	"github.com/whirl-faas/whirl/whisk"
)

// QueueStore is what the suite of [Queue] tests.
type QueueStore interface {
	whisk.Queue
	io.Closer
}

// Queue tests a [whisk.Queue].
func Queue[S QueueStore](t *testing.T, opener func(t *testing.T, place string) S) {
	open := Opener[S](opener)
	t.Run("life of an entry", func(t *testing.T) { testQueueLife(t, open.fresh(t)) })
	t.Run("order", func(t *testing.T) { testQueueOrder(t, open.fresh(t)) })
	t.Run("one claim wins", func(t *testing.T) { testOneClaimWins(t, open.fresh(t)) })
	t.Run("many at once", func(t *testing.T) { testQueueCrowd(t, open.fresh(t)) })
	t.Run("reopen", func(t *testing.T) { testQueueReopen(t, open) })
}

func accepted(n int) whisk.Accepted {
	return whisk.Accepted{
		Activation: activationID(n),
		Namespace:  "guest",
		At:         atMilli(n),
		AcceptedBy: whisk.ControllerID(fmt.Sprint("accepter ", n%3)),
		Body:       json.RawMessage(fmt.Sprintf(`{"n":%d}`, n)),
	}
}

func pending(t *testing.T, q whisk.Queue) []whisk.Accepted {
	t.Helper()
	var entries []whisk.Accepted
	for entry, err := range q.Pending(t.Context()) {
		must(t, err)
		entries = append(entries, entry)
	}
	return entries
}

func wantPending(t *testing.T, q whisk.Queue, want ...whisk.Accepted) {
	t.Helper()
	if got := pending(t, q); len(got)+len(want) > 0 && !reflect.DeepEqual(got, want) {
		t.Fatalf("pending are %+v, want %+v", got, want)
	}
}

func testQueueLife(t *testing.T, q whisk.Queue) {
	ctx, entry := t.Context(), accepted(1)
	wantPending(t, q)
	mustBe(t, q.Claim(ctx, entry.Activation, "me"), whisk.NotFound)

	must(t, q.Accept(ctx, entry))
	wantPending(t, q, entry)
	repeated := entry
	repeated.Namespace, repeated.AcceptedBy = "other", "another"
	must(t, q.Accept(ctx, repeated)) // is left as it was
	wantPending(t, q, entry)

	must(t, q.Claim(ctx, entry.Activation, "me"))
	mustBe(t, q.Claim(ctx, entry.Activation, "you"), whisk.Conflict)
	mustBe(t, q.Claim(ctx, entry.Activation, "me"), whisk.Conflict)
	entry.ClaimedBy = "me"
	wantPending(t, q, entry)

	must(t, q.Complete(ctx, []whisk.ActivationID{activationID(9), entry.Activation}))
	must(t, q.Complete(ctx, []whisk.ActivationID{entry.Activation}))
	must(t, q.Complete(ctx, nil))
	wantPending(t, q)
	mustBe(t, q.Claim(ctx, entry.Activation, "me"), whisk.NotFound)

	again := accepted(2) // must not inherit the claim
	must(t, q.Accept(ctx, again))
	wantPending(t, q, again)

	must(t, q.Accept(ctx))
	repeated = again
	repeated.Namespace = "other"
	must(t, q.Accept(ctx, accepted(3), repeated, accepted(4)))
	wantPending(t, q, again, accepted(3), accepted(4))
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := q.Accept(ended, accepted(5), accepted(6)); err == nil {
		t.Error("accepted with an ended context")
	}
	wantPending(t, q, again, accepted(3), accepted(4))
}

func testQueueOrder(t *testing.T, q whisk.Queue) {
	const n = 150 // more than a page of any implementation
	var want []whisk.Accepted
	for i := range n {
		entry := accepted(i)
		entry.Activation = activationID((i*7919 + 13) % 1000) // not in the order of ids
		if i == 3 {
			entry.Body = nil
		}
		if i == 4 {
			entry.AcceptedBy = ""
		}
		want = append(want, entry)
		must(t, q.Accept(t.Context(), entry))
	}
	wantPending(t, q, want...)
	must(t, q.Complete(t.Context(), []whisk.ActivationID{want[n-1].Activation, want[50].Activation}))
	last := accepted(n)
	last.Activation = activationID(5000)
	must(t, q.Accept(t.Context(), last))
	wantPending(t, q, append(append(append([]whisk.Accepted{}, want[:50]...), want[51:n-1]...), last)...)
	for range q.Pending(t.Context()) {
		break
	}
}

func testOneClaimWins(t *testing.T, q whisk.Queue) {
	must(t, q.Accept(t.Context(), accepted(1)))
	if won := race(t, 8, func(i int) error {
		return q.Claim(t.Context(), activationID(1), whisk.ControllerID(fmt.Sprint("c", i)))
	}); won != 1 {
		t.Fatalf("%d of 8 claims won", won)
	}
}

// testQueueCrowd has many go through the queue at once: all stages share commits.
func testQueueCrowd(t *testing.T, q whisk.Queue) {
	all(t, 100, func(i int) error {
		if err := q.Accept(t.Context(), accepted(i)); err != nil {
			return err
		}
		if i%2 == 0 {
			if err := q.Claim(t.Context(), activationID(i), "me"); err != nil {
				return err
			}
		}
		if i%4 == 0 {
			return q.Complete(t.Context(), []whisk.ActivationID{activationID(i)})
		}
		return nil
	})
	seen := make(map[whisk.ActivationID]whisk.Accepted)
	for _, entry := range pending(t, q) {
		seen[entry.Activation] = entry
	}
	for i := range 100 {
		want := accepted(i)
		got, there := seen[want.Activation]
		if i%4 == 0 {
			if there {
				t.Errorf("entry %d was completed and is there", i)
			}
			continue
		}
		if i%2 == 0 {
			want.ClaimedBy = "me"
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("entry %d is %+v, want %+v", i, got, want)
		}
	}
}

func testQueueReopen[S QueueStore](t *testing.T, open Opener[S]) {
	place := t.TempDir()
	q := open(t, place)
	one, two := accepted(1), accepted(2)
	must(t, q.Accept(t.Context(), one))
	must(t, q.Accept(t.Context(), two))
	must(t, q.Claim(t.Context(), two.Activation, "me"))
	must(t, q.Close())
	two.ClaimedBy = "me"
	wantPending(t, open.at(t, place), one, two)
}
