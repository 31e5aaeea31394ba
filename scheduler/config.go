// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"time"

	"github.com/whirl-faas/whirl/scheduler/policy"
	"github.com/whirl-faas/whirl/whisk"
)

// Config says how the scheduler decides. Start from [Default].
type Config struct {
	Epoch    uint64         // of this leader, in every command; at least 1
	Manifest whisk.Manifest // whose stem cells are kept prewarmed

	Place            policy.Scheme // where new containers go
	CreationsPerNode int           // creations at once on one node; more wait for their turn
	Attempts         int           // creations that may fail by their node's fault before a requisition is rejected
	Faults           int           // creations in a row that a node may fail before it is unhealthy
	MaxWaiting       int           // requisitions that may stand at once; more are rejected as Overloaded
	RetryAfter       time.Duration // that a rejection for lack of capacity advises

	FairAfter      time.Duration // a requisition that waited this long may have another action's busy container drained
	ReclaimTimeout time.Duration // an idle container that was asked back and not answered for counts as busy
	KeepWarm       time.Duration // how long a container that nobody holds keeps its action's code
	SurplusTTL     time.Duration // how long a prewarmed container beyond the wanted number lives
	AdjustEvery    time.Duration // how often reactive stem cells are counted anew

	Settle     time.Duration // from the start; until then nothing is removed on our own account
	AgentGrace time.Duration // after an agent's session broke, until its node is down
	KeepAlive  time.Duration // interval of keep-alives
	Silence    time.Duration // without any message, after which a session is dead
	Outbox     int           // messages that one session may lag behind before it is closed
	Inbox      int           // messages that wait for the owner loop before sessions are held up

	ForgetAfter   time.Duration // that a node is down; until then it keeps its place in the order of nodes
	HealthEvery   time.Duration // between two questions to an agent's health route
	HealthTimeout time.Duration // of one question
}

// Default returns the configuration of a scheduler without stem cells.
func Default() Config {
	return Config{
		Epoch:            1,
		Place:            policy.SchemeSharding,
		CreationsPerNode: 8,
		Attempts:         3,
		Faults:           3,
		MaxWaiting:       10_000,
		RetryAfter:       time.Second,
		FairAfter:        time.Second,
		ReclaimTimeout:   5 * time.Second,
		KeepWarm:         10 * time.Minute,
		SurplusTTL:       time.Minute,
		AdjustEvery:      time.Minute,
		Settle:           5 * time.Second,
		AgentGrace:       10 * time.Second,
		KeepAlive:        5 * time.Second,
		Silence:          15 * time.Second,
		Outbox:           16_384,
		Inbox:            1024,
		ForgetAfter:      time.Hour,
		HealthEvery:      10 * time.Second,
		HealthTimeout:    3 * time.Second,
	}
}

// Validate returns an Invalid error that names the first impossible value.
func (c Config) Validate() error {
	if c.Epoch < 1 {
		return whisk.Errorf(whisk.Invalid, "scheduler epoch must be at least 1")
	}
	if c.Place.Placement() == nil {
		return whisk.Errorf(whisk.Invalid, "scheduler knows no placement %q, want one of %v", c.Place, policy.Schemes())
	}
	for _, f := range []struct {
		name  string
		value int
	}{
		{"creations per node", c.CreationsPerNode}, {"attempts", c.Attempts}, {"faults", c.Faults}, {"waiting requisitions", c.MaxWaiting},
		{"outbox", c.Outbox}, {"inbox", c.Inbox},
	} {
		if f.value < 1 {
			return whisk.Errorf(whisk.Invalid, "scheduler %s must be at least 1, not %d", f.name, f.value)
		}
	}
	for _, f := range []struct {
		name  string
		value time.Duration
	}{
		{"retry advice", c.RetryAfter}, {"fairness delay", c.FairAfter}, {"reclaim timeout", c.ReclaimTimeout},
		{"keep-warm time", c.KeepWarm}, {"surplus lifetime", c.SurplusTTL}, {"adjustment interval", c.AdjustEvery},
		{"agent grace", c.AgentGrace}, {"keep-alive interval", c.KeepAlive},
		{"time until a node is forgotten", c.ForgetAfter}, {"health interval", c.HealthEvery}, {"health timeout", c.HealthTimeout},
	} {
		if f.value <= 0 {
			return whisk.Errorf(whisk.Invalid, "scheduler %s must be above 0, not %s", f.name, f.value)
		}
	}
	if c.Settle < 0 {
		return whisk.Errorf(whisk.Invalid, "scheduler settle time must not be negative, not %s", c.Settle)
	}
	if c.Silence <= c.KeepAlive {
		return whisk.Errorf(whisk.Invalid, "scheduler silence limit %s must exceed the keep-alive interval %s", c.Silence, c.KeepAlive)
	}
	return nil
}
