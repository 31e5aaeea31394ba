// SPDX-License-Identifier: Apache-2.0

package inmem_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/whirl-faas/whirl/rpc/inmem"
	"github.com/whirl-faas/whirl/whisk"
)

func TestPipeKeepsOrderBothWays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left, right := inmem.Pipe[int, string]()
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := range 5000 {
				if err := left.Send(t.Context(), i); err != nil {
					t.Errorf("send %d: %v", i, err)
				}
			}
		})
		for want := range 5000 {
			if got, err := right.Recv(t.Context()); err != nil || got != want {
				t.Fatalf("received %d, %v; want %d", got, err, want)
			}
		}
		if err := right.Send(t.Context(), "back"); err != nil {
			t.Fatal(err)
		}
		if got, err := left.Recv(t.Context()); err != nil || got != "back" {
			t.Errorf("received %q, %v", got, err)
		}
		wg.Wait()
	})
}

func TestCloseEndsBothSides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left, right := inmem.Pipe[int, int]()
		received := make(chan error)
		go func() {
			_, err := right.Recv(t.Context())
			received <- err
		}()
		synctest.Wait()
		left.Close()
		left.Close()
		if err := <-received; !errors.Is(err, io.EOF) {
			t.Errorf("the peer's Recv ended with %v, want EOF", err)
		}
		if err := right.Send(t.Context(), 1); err == nil {
			t.Error("a send into a closed session succeeded")
		}
	})
}

func TestASlowReceiverBlocksTheSender(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left, right := inmem.Pipe[int, int]()
		ctx, cancel := context.WithCancelCause(t.Context())
		sent := 0
		result := make(chan error)
		go func() {
			for {
				if err := left.Send(ctx, sent); err != nil {
					result <- err
					return
				}
				sent++
			}
		}()
		synctest.Wait()
		reason := errors.New("no longer")
		cancel(reason)
		if err := <-result; !errors.Is(err, reason) {
			t.Errorf("the send ended with %v, want the cause", err)
		}
		if sent == 0 || sent > 10_000 {
			t.Errorf("%d messages were buffered, want a bounded number", sent)
		}
		for want := range sent {
			if got, err := right.Recv(t.Context()); err != nil || got != want {
				t.Fatalf("received %d, %v; want %d", got, err, want)
			}
		}
	})
}

func TestExchangeServesUntilItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		exchange := inmem.NewExchange()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- exchange.Run(ctx) }()

		echo := func(ctx context.Context, far whisk.Stream[int, int]) error {
			for {
				message, err := far.Recv(ctx)
				if err != nil {
					return err
				}
				if err := far.Send(ctx, message+1); err != nil {
					return err
				}
			}
		}
		near, err := inmem.Dial(exchange, echo)
		if err != nil {
			t.Fatal(err)
		}
		if err := near.Send(t.Context(), 41); err != nil {
			t.Fatal(err)
		}
		if got, err := near.Recv(t.Context()); err != nil || got != 42 {
			t.Errorf("received %d, %v; want 42", got, err)
		}

		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if _, err := near.Recv(t.Context()); !errors.Is(err, io.EOF) {
			t.Errorf("after the end the session gives %v, want EOF", err)
		}
		if _, err := inmem.Dial(exchange, echo); whisk.KindOf(err) != whisk.Unavailable {
			t.Errorf("a closed exchange answers %v, want unavailable", err)
		}
	})
}
