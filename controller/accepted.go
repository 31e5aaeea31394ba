// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Non-blocking activations, and why each one that was accepted ends in exactly
// one record, and is run at most once, whatever is killed when.
//
// An entry of the durable queue is there from before the 202 until after the
// record is stored. It is claimed, durably, after a container was found and
// before that container learns of the activation. So a process that is killed
//
//   - before Accept returned: there was no 202, nothing was promised;
//   - after Accept, before Claim: the entry is there and unclaimed, nothing ran;
//     recovery runs it;
//   - after Claim, before the record was stored: it may have run, so it must not
//     run again; recovery finds it claimed by a process that is no more and
//     stores a record which says that it was lost;
//   - after the record was stored, before Complete: recovery does the same, but
//     the store leaves a record that is there as it was, so the true one stays;
//   - after Complete: nothing is left to do.
//
// Recovery is the next start's or, where several controllers share the queue,
// that of all which live. Two that try to run the same entry both need Claim,
// which only one gets; the other makes no record. A Claim whose answer was lost
// counts as failed here: the activation is not run, and its record says so.
//
// A sequence or a composition is one entry, claimed with its first step that finds
// a container; its steps are none. A trigger's entry is its record, which
// recovery only has to store.

// acceptedBody is what the queue keeps of an activation: of a trigger's, its
// record; of others, what is needed to run it. Payload is what it was called with.
type acceptedBody struct {
	Origin  origin          `json:"origin"`
	Firing  *firing         `json:"firing"` // nil for others than triggers
	Payload json.RawMessage `json:"payload"`
}

// origin is what was known of a call when it was accepted. Key is the caller's
// secret in clear, because an action that asks for __OW_API_KEY needs it and
// the platform itself has only the hash. It is kept only for such actions
// (annotation provide-api-key), for sequences with one, and for conductors, who may
// name one. It goes with the entry when the record is stored; who can read the
// queue's database can read it meanwhile.
type origin struct {
	Subject     string             `json:"subject"`
	UUID        string             `json:"uuid"`
	Key         string             `json:"key,omitempty"`
	Transaction string             `json:"transaction"`
	Traced      bool               `json:"traced,omitempty"`
	Namespace   string             `json:"namespace,omitempty"` // of the action as it was called; "" for the one that invokes
	Package     string             `json:"package,omitempty"`   // likewise
	Name        string             `json:"name"`
	Stored      storedName         `json:"stored,omitzero"` // where it was called through a binding, the action's own name
	Version     whisk.Version      `json:"version"`
	Kind        string             `json:"kind"`
	Conductor   bool               `json:"conductor,omitempty"`
	Limits      whisk.ActionLimits `json:"limits"`
}

// Submit accepts an activation and returns its id while it waits to run. When
// it returns without an error the activation is on disk.
func (c *Controller) Submit(ctx context.Context, call Call) (whisk.ActivationID, error) {
	act, err := c.begin(ctx, call)
	if err != nil {
		return "", err
	}
	act.invocation.Patience = c.config.StartWithin // it would end in an error
	if err := c.reserve(act); err != nil {
		c.abandon(act)
		return "", err
	}
	entry, err := c.entryOf(ctx, act, call)
	if err == nil {
		err = c.accept(entry)
	}
	if err != nil {
		c.abandon(act)
		return "", err
	}
	c.startAccepted(act)
	return act.id, nil
}

// startAccepted is start for an activation whose entry is in the queue.
func (c *Controller) startAccepted(act *activation) {
	act.accepted = true
	c.start(act, nil, func() { c.accepted.remove(act.id) })
}

// entryOf returns what the durable queue is to keep of an activation.
func (c *Controller) entryOf(ctx context.Context, act *activation, call Call) (whisk.Accepted, error) {
	origin := origin{
		Subject: act.subject, UUID: call.Caller.UUID, Transaction: act.transaction, Traced: call.Traced,
		Package: call.Action.Package, Name: call.Action.Name,
		Version: act.action.Version, Kind: act.action.Exec.Kind, Conductor: act.action.conductor, Limits: act.action.Limits,
	}
	if c.wantsKey(ctx, act.action, 0) {
		origin.Key = call.Caller.Key.Key
	}
	if call.Action.Namespace != act.namespace {
		origin.Namespace = call.Action.Namespace
	}
	if act.action.Name != call.Action {
		origin.Stored = storedName(act.action.Name)
	}
	return c.acceptedEntry(act.id, act.namespace, act.received, "origin", origin, call.Payload)
}

// acceptedEntry makes an entry of an [acceptedBody] of which one field is
// given. It is not marshalled as a whole: that would rewrite the payload.
func (c *Controller) acceptedEntry(id whisk.ActivationID, namespace string, at time.Time, field string, value any, payload []byte) (whisk.Accepted, error) {
	if len(payload) == 0 {
		payload = []byte("{}")
	}
	head, err := json.Marshal(value)
	if err != nil {
		return whisk.Accepted{}, fmt.Errorf("encode activation %s: %w", id, err)
	}
	body := slices.Concat([]byte(`{"`+field+`":`), head, []byte(`,"payload":`), payload, []byte("}"))
	return whisk.Accepted{Activation: id, Namespace: namespace, At: at, AcceptedBy: c.config.ID, Body: body}, nil
}

// accept puts entries into the durable queue, all or none. That does not depend
// on the client, who may go away: it is under way and will be answered.
func (c *Controller) accept(entries ...whisk.Accepted) error {
	patience, cancel := context.WithTimeout(c.activations, c.config.AcceptWait)
	defer cancel()
	ids := make([]whisk.ActivationID, len(entries))
	for i, entry := range entries {
		ids[i] = entry.Activation
		c.accepted.add(entry.Activation)
	}
	if err := c.deps.Queue.Accept(patience, entries...); err != nil {
		c.unaccept(ids)
		return fmt.Errorf("accept activation %s: %w", ids[0], err)
	}
	return nil
}

// wantsKey reports whether an action gets the caller's key, or something that it
// runs may. depth is in how many sequences it is nested.
func (c *Controller) wantsKey(ctx context.Context, action *resolvedAction, depth int) bool {
	if action.Exec.Kind != whisk.Sequence {
		return action.apiKey || action.conductor
	}
	if depth == c.config.Limits.SequenceLength {
		return false // it will not be run
	}
	for _, name := range action.Exec.Components {
		component, err := c.resolve(ctx, name)
		if err == nil && c.wantsKey(ctx, component, depth+1) {
			return true
		}
	}
	return false
}

// unaccept tries to take back entries of which it is not known whether they are
// there. What is and stays, runs after the next start, or ends in a record:
// nobody was promised that it would not.
func (c *Controller) unaccept(ids []whisk.ActivationID) {
	if len(ids) == 0 {
		return
	}
	patience, cancel := context.WithTimeout(c.activations, c.config.AdmitWait)
	defer cancel()
	if err := c.deps.Queue.Complete(patience, ids); err != nil {
		c.deps.Logger.Warn("refused activations may be left in the queue", "activation", ids[0], "count", len(ids), "err", err)
	}
	for _, id := range ids {
		c.accepted.remove(id)
	}
}

// acceptedSet knows the entries of the queue that this process accepted or took
// up, and that have no record yet. From then on the recorder knows them.
type acceptedSet struct {
	mu  sync.Mutex
	ids map[whisk.ActivationID]struct{}
}

func (s *acceptedSet) add(id whisk.ActivationID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids == nil {
		s.ids = map[whisk.ActivationID]struct{}{}
	}
	s.ids[id] = struct{}{}
}

func (s *acceptedSet) remove(id whisk.ActivationID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ids, id)
}

func (s *acceptedSet) has(id whisk.ActivationID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, there := s.ids[id]
	return there
}
