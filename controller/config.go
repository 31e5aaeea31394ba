// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"cmp"
	"time"

	"github.com/whirl-faas/whirl/controller/recorder"
	"github.com/whirl-faas/whirl/whisk"
)

// Config holds a controller's settings.
type Config struct {
	ID     whisk.ControllerID // unique to this process
	Limits whisk.Limits
	// Namespaces has what some are allowed in place of that, by their names. What the
	// store has of them goes before it.
	Namespaces map[string]whisk.NamespaceLimits

	ExecuteOnly bool // what others share may be run and not be read, as whisk.shared-packages-execute-only says

	KeepBlocking, KeepNonBlocking Keeping // which calls leave records; a namespace may want none at all

	StartWithin   time.Duration // an activation without a container fails after this
	Patience      time.Duration // a blocking call that would wait longer for a container is refused, if many wait already
	RoomWait      time.Duration // how long a call waits for room for its record before it is refused
	AdmitWait     time.Duration // how long a firing may take until it is accepted
	AcceptWait    time.Duration // how long a non-blocking call waits for the durable queue
	LogCollection time.Duration // how long a record waits for the activation's logs
	LogWait       time.Duration // how long a reader waits for an ended activation's logs
	DrainTimeout  time.Duration // how long running activations may go on after Run's context ended
	Sequences     int           // sequences and compositions that run at once, nested ones not counted
	Builtins      int           // builtin actions that run at once
	Recovery      int           // accepted activations of processes that are no more that run at once

	RecoveryInterval time.Duration // between looks for those, where there are other controllers

	CachedActions    int // and as many packages, triggers, and actions seen through packages
	CachedIdentities int
	CachedOffers     int           // namespaces whose APIs are ready to be served
	IdentityTTL      time.Duration // a cached identity is looked up again after this
	FeedInterval     time.Duration // between polls of the change feed

	Retention         time.Duration // records and logs older than this are removed; 0 keeps them for ever
	RetentionInterval time.Duration // between clean-ups
	BlobGrace         time.Duration // code that no action refers to is kept this long

	Records recorder.Config
}

// Default returns OpenWhisk's limits and settings for one node. ID is left empty.
func Default() Config {
	return Config{
		Limits:            whisk.DefaultLimits(),
		KeepBlocking:      KeepAll,
		KeepNonBlocking:   KeepAll,
		StartWithin:       5 * time.Minute,
		Patience:          2 * time.Second,
		RoomWait:          20 * time.Millisecond,
		AdmitWait:         2 * time.Second,
		AcceptWait:        10 * time.Second,
		LogCollection:     time.Minute,
		LogWait:           2 * time.Second,
		DrainTimeout:      30 * time.Second,
		Sequences:         1000,
		Builtins:          64,
		Recovery:          64,
		RecoveryInterval:  10 * time.Second,
		CachedActions:     10_000,
		CachedIdentities:  10_000,
		CachedOffers:      1_000,
		IdentityTTL:       time.Minute,
		FeedInterval:      250 * time.Millisecond,
		Retention:         7 * 24 * time.Hour,
		RetentionInterval: 10 * time.Minute,
		BlobGrace:         time.Hour,
		Records:           recorder.Default(),
	}
}

// Validate says what is impossible about c.
func (c Config) Validate() error {
	switch {
	case c.ID == "":
		return whisk.Errorf(whisk.Invalid, "the controller needs an id")
	case c.StartWithin <= 0 || c.Patience <= 0 || c.RoomWait <= 0 || c.AdmitWait <= 0 || c.AcceptWait <= 0 || c.LogCollection <= 0:
		return whisk.Errorf(whisk.Invalid, "the times an activation may wait must be positive: start within %v, patience %v, room %v, admit %v, accept %v, log collection %v", c.StartWithin, c.Patience, c.RoomWait, c.AdmitWait, c.AcceptWait, c.LogCollection)
	case c.LogWait < 0 || c.DrainTimeout < 0 || c.Retention < 0 || c.BlobGrace < 0:
		return whisk.Errorf(whisk.Invalid, "no time may be negative: log wait %v, drain %v, retention %v, blob grace %v", c.LogWait, c.DrainTimeout, c.Retention, c.BlobGrace)
	case c.Recovery < 1 || c.Builtins < 1 || c.CachedActions < 1 || c.CachedIdentities < 1 || c.CachedOffers < 1:
		return whisk.Errorf(whisk.Invalid, "recovery, builtin actions and all caches must have room for at least 1")
	case c.Sequences < 1 || c.Sequences >= c.Records.Records:
		return whisk.Errorf(whisk.Invalid, "sequences must be at least 1 and fewer than records, which they wait for: %d and %d", c.Sequences, c.Records.Records)
	case c.IdentityTTL <= 0 || c.FeedInterval <= 0 || c.RetentionInterval <= 0 || c.RecoveryInterval <= 0:
		return whisk.Errorf(whisk.Invalid, "intervals must be positive: identity TTL %v, change feed %v, retention %v, recovery %v", c.IdentityTTL, c.FeedInterval, c.RetentionInterval, c.RecoveryInterval)
	case c.Limits.ListMax < 1 || c.Limits.ListDefault < 1 || c.Limits.BlockingWait < time.Millisecond:
		return whisk.Errorf(whisk.Invalid, "lists must show at least 1 entry and blocking calls wait at least 1 ms")
	}
	if err := cmp.Or(c.KeepBlocking.validate("blocking calls"), c.KeepNonBlocking.validate("non-blocking calls")); err != nil {
		return err
	}
	return c.Records.Validate()
}
