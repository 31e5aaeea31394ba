// SPDX-License-Identifier: Apache-2.0

package rpctest

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/whirl-faas/whirl/whisk"
)

// brokenConnection cuts a connection under a Send and a Recv that wait.
func brokenConnection(t *testing.T, start func(*testing.T, Roles) Ends) {
	f := newFactory(t, start)
	if f.ends.Cut == nil {
		f.stop()
		return
	}
	var waiting sync.WaitGroup
	waiting.Go(func() {
		for {
			if err := f.far.Send(t.Context(), whisk.KeepAlive{}); err != nil {
				wantBroken(t, "the server's Send", err)
				return
			}
		}
	})
	waiting.Go(func() {
		_, err := f.far.Recv(t.Context())
		wantBroken(t, "the server's Recv", err)
	})
	synctest.Wait()
	f.ends.Cut()
	waiting.Wait()
	_, err := f.near.Recv(t.Context())
	for err == nil { // what came before
		_, err = f.near.Recv(t.Context())
	}
	wantBroken(t, "the dialler's Recv", err)
	wantBroken(t, "the dialler's Send", f.near.Send(t.Context(), whisk.KeepAlive{}))
	if err := f.near.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	again, err := f.ends.ControllerToScheduler(t.Context())
	if err != nil {
		t.Fatalf("open another session: %v", err)
	}
	send[whisk.FactoryRequest](t, again, register())
	if err := again.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	f.ends.Stop()
}

func wantBroken(t *testing.T, what string, err error) {
	t.Helper()
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("%s in a broken session ended with %v, as if the peer had closed it", what, err)
	}
}

func closedWhenFull(t *testing.T, start func(*testing.T, Roles) Ends) {
	whenFull(t, start, func(near whisk.ControllerToScheduler, _ Ends) { _ = near.Close() })
}

func brokenWhenFull(t *testing.T, start func(*testing.T, Roles) Ends) {
	whenFull(t, start, func(near whisk.ControllerToScheduler, ends Ends) {
		if ends.Cut != nil {
			ends.Cut()
		}
		_ = near.Close() // it may be broken
	})
}

// whenFull ends a session in which the server waits to send an answer, and
// therefore does not receive, and the dialler likewise. The server has to notice.
func whenFull(t *testing.T, start func(*testing.T, Roles) Ends, end func(whisk.ControllerToScheduler, Ends)) {
	returned := make(chan struct{})
	answer := echo(func(whisk.FactoryRequest) whisk.FactoryEvent { return whisk.KeepAlive{} })
	ends := start(t, Roles{Controller: func(_ context.Context, far whisk.SchedulerToController) error {
		defer close(returned)
		return answer(context.WithoutCancel(t.Context()), far)
	}})
	near, err := ends.ControllerToScheduler(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	send[whisk.FactoryRequest](t, near, register())
	fill(t, near, func(int) whisk.FactoryRequest { return whisk.KeepAlive{Epoch: 1} })
	end(near, ends)
	<-returned
	ends.Stop()
}
