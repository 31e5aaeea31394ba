// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/rpc/inmem"
	"github.com/whirl-faas/whirl/whisk"
)

// TestALateSchedulerDoesNotBlameItsPeers holds the owner loop up for longer than
// a peer may be silent. Who spoke all the time keeps its session; who is silent
// afterwards loses it when it has been so for long enough.
func TestALateSchedulerDoesNotBlameItsPeers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		cfg := Default()
		cfg.Inbox = 1
		s, err := New(cfg, Deps{})
		if err != nil {
			t.Fatal(err)
		}
		ended, over := make(chan error, 1), make(chan error, 1)
		go func() { ended <- s.Run(ctx) }()
		near, far := inmem.Pipe[whisk.AgentReport, whisk.AgentCommand]()
		go func() { over <- s.ServeAgent(ctx, far) }()
		say := func(m whisk.AgentReport) {
			if err := near.Send(ctx, m); err != nil {
				t.Fatal(err)
			}
		}
		say(whisk.NodeReport{Node: "one", Memory: whisk.GB})
		go s.call(ctx, func(*ownerLoop) { time.Sleep(3 * cfg.Silence) })
		start := time.Now()
		for time.Since(start) < 3*cfg.Silence {
			say(whisk.KeepAlive{})
			time.Sleep(time.Second)
		}
		synctest.Wait()
		select {
		case err := <-over:
			t.Errorf("the session ended after %s in %v", time.Since(start), err)
		default:
			if err := <-over; whisk.KindOf(err) != whisk.Timeout || time.Since(start) != 4*cfg.Silence {
				t.Errorf("the silent peer's session ended after %s in %v", time.Since(start), err)
			}
		}
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
