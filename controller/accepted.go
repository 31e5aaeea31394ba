// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"

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
//     the next start runs it;
//   - after Claim, before the record was stored: it may have run, so it must not
//     run again; the next start finds it claimed by a process that is no more
//     and stores a record which says that it was lost;
//   - after the record was stored, before Complete: the next start does the same,
//     but the store leaves a record that is there as it was, so the true one stays;
//   - after Complete: nothing is left to do.
//
// Two that try to run the same entry both need Claim, which only one gets; the
// other makes no record. A Claim whose answer was lost counts as failed here: the
// activation is not run, and its record says so.

// acceptedBody is what the queue keeps of an activation.
type acceptedBody struct {
	Origin  origin          `json:"origin"`
	Payload json.RawMessage `json:"payload"`
}

// origin is what was known of a call when it was accepted. Key is the caller's
// secret in clear, because an action that asks for __OW_API_KEY needs it and
// the platform itself has only the hash. It is kept only for such actions
// (annotation provide-api-key), and goes with the entry when the record is
// stored; who can read the queue's database can read it meanwhile.
type origin struct {
	Subject     string             `json:"subject"`
	UUID        string             `json:"uuid"`
	Key         string             `json:"key,omitempty"`
	Transaction string             `json:"transaction"`
	Package     string             `json:"package,omitempty"`
	Name        string             `json:"name"`
	Version     whisk.Version      `json:"version"`
	Kind        string             `json:"kind"`
	Limits      whisk.ActionLimits `json:"limits"`
}

// Submit accepts an activation and returns its id while it waits to run. When
// it returns without an error the activation is on disk.
func (c *Controller) Submit(ctx context.Context, call Call) (whisk.ActivationID, error) {
	act, err := c.begin(ctx, call)
	if err != nil {
		return "", err
	}
	// The place comes before the promise: what was accepted is not turned away.
	if act.admission, err = c.deps.Balancer.Admit(&act.invocation); err != nil {
		act.admission = nil
		c.abandon(act)
		return "", err
	}
	if err := c.accept(act, call); err != nil {
		c.abandon(act)
		return "", err
	}
	c.start(act, nil, func() { c.accepted.remove(act.id) })
	return act.id, nil
}

// accept puts the activation into the durable queue. That does not depend on
// the client, who may go away: it is under way and will be answered.
func (c *Controller) accept(act *activation, call Call) error {
	payload := call.Payload
	if len(payload) == 0 {
		payload = []byte("{}")
	}
	origin, err := json.Marshal(origin{
		Subject: act.subject, UUID: call.Caller.UUID, Key: act.keyToKeep(call), Transaction: act.transaction,
		Package: act.action.Name.Package, Name: act.action.Name.Name,
		Version: act.action.Version, Kind: act.action.Exec.Kind, Limits: act.action.Limits,
	})
	if err != nil {
		return fmt.Errorf("encode activation %s: %w", act.id, err)
	}
	// Not marshalled as a whole: that would rewrite the payload.
	body := slices.Concat([]byte(`{"origin":`), origin, []byte(`,"payload":`), payload, []byte("}"))
	patience, cancel := context.WithTimeout(c.activations, c.config.AcceptWait)
	defer cancel()
	c.accepted.add(act.id)
	entry := whisk.Accepted{Activation: act.id, Namespace: act.invocation.Key.Namespace, At: act.received, Body: body}
	if err := c.deps.Queue.Accept(patience, entry); err != nil {
		c.unaccept(act.id)
		return fmt.Errorf("accept activation %s: %w", act.id, err)
	}
	act.accepted = true
	return nil
}

func (a *activation) keyToKeep(call Call) string {
	if a.action.apiKey {
		return call.Caller.Key.Key
	}
	return ""
}

// unaccept tries to take back an entry of which it is not known whether it is
// there. If it is and stays, it runs after the next start: nobody was promised
// that it would not.
func (c *Controller) unaccept(id whisk.ActivationID) {
	patience, cancel := context.WithTimeout(c.activations, c.config.AdmitWait)
	defer cancel()
	if err := c.deps.Queue.Complete(patience, []whisk.ActivationID{id}); err != nil {
		c.deps.Logger.Warn("refused activation may be left in the queue", "activation", id, "err", err)
	}
	c.accepted.remove(id)
}

// acceptedSet knows the entries of the queue that this process accepted and that
// have no record yet. From then on the recorder knows them.
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
