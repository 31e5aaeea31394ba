// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"errors"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// A sandbox that starts has little of the CPU while others want it: building it and loading
// the runtime is work by the processor alone, and many that do so at once would take the
// cores from those that answer somebody. Where the cores have nothing else to do it makes no
// difference. It needs cgroups: an ordinary user's process that lowered its priority could
// not raise it again.

// startTime is when a sandbox has its share after it was built, at the latest, whatever it
// does then.
const startTime = time.Second

// share is the sandbox's part of the CPU, in thousandths of that of one of 256 MB.
func (s *sandbox) share() int { return int(s.spec.Memory * 1000 / (256 * whisk.MB)) }

// Settled implements [whisk.Sandbox].
func (s *sandbox) Settled() { s.settle() }

// shareLoop gives the sandbox its whole share when it has started. One that is left to
// the next agent gets it before.
func (s *sandbox) shareLoop() {
	timer := time.NewTimer(startTime)
	defer timer.Stop()
	select {
	case <-s.settled:
	case <-timer.C:
	case <-s.life.Done():
		if !errors.Is(context.Cause(s.life), errLeft) {
			return
		}
	}
	s.giveShare()
}

func (s *sandbox) giveShare() {
	if err := s.group.Started(s.share()); err != nil && s.life.Err() == nil {
		s.driver.log.Warn("sandbox keeps a part of its share of the CPU", "container", s.id, "err", err)
	}
}
