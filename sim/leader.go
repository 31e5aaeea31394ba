// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"cmp"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"slices"

	"github.com/whirl-faas/whirl/rpc/inmem"
	"github.com/whirl-faas/whirl/scheduler"
	"github.com/whirl-faas/whirl/whisk"
)

// Leader is a scheduler that leads, or believes that it still does.
type Leader struct {
	*scheduler.Scheduler
	epoch              uint64
	exchange           *inmem.Exchange
	running, connected *part
}

func (c *Cluster) startScheduler() error {
	c.epoch++
	config := scheduler.Default()
	config.Epoch = c.epoch
	config.Manifest = c.config.Manifest
	config.KeepWarm = cmp.Or(c.config.KeepWarm, config.KeepWarm)
	var key [32]byte
	binary.BigEndian.PutUint64(key[:], c.config.Seed)
	binary.BigEndian.PutUint64(key[8:], c.epoch)
	s, err := scheduler.New(config, scheduler.Deps{Logger: c.config.Logger.With("epoch", c.epoch), Random: rand.NewChaCha8(key)})
	if err != nil {
		return err
	}
	exchange := inmem.NewExchange()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leaders = append(c.leaders, &Leader{s, c.epoch, exchange, run(c.ctx, s.Run), run(c.ctx, exchange.Run)})
	return nil
}

// Leader returns the present scheduler: the youngest.
func (c *Cluster) Leader() *Leader {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leaders[len(c.leaders)-1]
}

// anyLeader returns one of those that serve. Who dials may reach an old one as
// long as it does not know that it is over.
func (c *Cluster) anyLeader() *Leader {
	c.mu.Lock()
	defer c.mu.Unlock()
	chosen := c.leaders[c.random.IntN(len(c.leaders))]
	select {
	case <-chosen.running.done:
		return c.leaders[len(c.leaders)-1]
	default:
		return chosen
	}
}

// RestartScheduler replaces the scheduler by a new leader that knows nothing.
func (c *Cluster) RestartScheduler() error {
	old := c.Leader()
	return errors.Join(c.EndLeader(old), c.startScheduler())
}

// Supersede starts a new leader beside the present one, which goes on with the
// sessions that it has until it learns of its successor, or [Cluster.EndLeader].
func (c *Cluster) Supersede() (old *Leader, err error) {
	old = c.Leader()
	return old, c.startScheduler()
}

// EndLeader stops a scheduler. Nothing happens to one that was stopped before.
func (c *Cluster) EndLeader(l *Leader) error {
	over := c.Leader() != l // it may have ended by itself
	err := errors.Join(l.connected.halt(), l.running.halt())
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.leaders) > 1 {
		c.leaders = slices.DeleteFunc(c.leaders, func(other *Leader) bool { return other == l })
	}
	if over && whisk.KindOf(err) == whisk.Unavailable {
		return nil
	}
	return err
}
