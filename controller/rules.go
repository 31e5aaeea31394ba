// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"errors"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// A rule's state is kept in a link that its trigger has to it, so most writes of
// rules are writes of triggers too, and happen together. Many rules of one
// trigger may be written at once: who loses against another rule tries again,
// who loses against another write of the same rule is told so.

// linkAttempts bounds the tries. Each but the last has lost against one that won.
const linkAttempts = 50

// RuleView is a rule as its readers see it.
type RuleView struct {
	whisk.Rule
	Status whisk.RuleStatus
}

// Rule returns a rule.
func (c *Controller) Rule(ctx context.Context, caller *Caller, name whisk.FullName) (RuleView, error) {
	if err := caller.Owns(name); err != nil {
		return RuleView{}, err
	}
	rule, _, err := c.fetchRule(ctx, name)
	if err != nil {
		return RuleView{}, err
	}
	trigger, err := c.linkedTrigger(ctx, rule.Trigger)
	return RuleView{rule, trigger.StatusOf(name)}, err
}

// linked is a trigger at the other end of a rule; one without a revision is not there.
type linked struct {
	whisk.Trigger
	revision whisk.Revision
}

// linkedTrigger reads a rule's trigger. One that cannot be read, or that is no
// trigger, counts as none.
func (c *Controller) linkedTrigger(ctx context.Context, name whisk.FullName) (linked, error) {
	trigger, revision, err := c.fetchTrigger(ctx, name)
	if err != nil && isForUser(err) {
		return linked{}, nil
	}
	return linked{trigger, revision}, err
}

// has reports whether the trigger is there and knows the rule.
func (l linked) has(rule whisk.FullName) bool {
	_, there := l.Rules[rule]
	return there
}

// PutRule creates a rule from the JSON of a PUT, or updates it if overwrite is
// set. A new rule is active, others keep their state.
func (c *Controller) PutRule(ctx context.Context, caller *Caller, name whisk.FullName, body []byte, overwrite bool) (RuleView, error) {
	if err := caller.Owns(name); err != nil {
		return RuleView{}, err
	}
	write, err := parseRuleWrite(body, caller.Namespace)
	if err != nil {
		return RuleView{}, err
	}
	if err := checkSizes(c.LimitsOf(caller), write.entityWrite); err != nil {
		return RuleView{}, err
	}
	if err := c.mayRefer(ctx, caller, write); err != nil {
		return RuleView{}, err
	}
	var view RuleView
	err = c.retryLinks(ctx, name, func() (seen whisk.Revision, err error) {
		former, revision, err := c.fetchRule(ctx, name)
		if revision, err = replaceable(revision, err, overwrite); err != nil {
			return 0, err
		}
		view, err = c.putRuleOnce(ctx, former, name, revision, write)
		return revision, err
	})
	return view, err
}

// mayRefer checks that the caller may read what a rule ties together.
func (c *Controller) mayRefer(ctx context.Context, caller *Caller, write ruleWrite) error {
	var refused []string
	if write.trigger != (whisk.FullName{}) && caller.Owns(write.trigger) != nil {
		refused = append(refused, write.trigger.Path())
	}
	if write.action != (whisk.FullName{}) {
		err := c.MayRead(ctx, caller, write.action)
		switch {
		case err != nil && (write.action.Package != "" || !is(err, whisk.Denied)):
			return err
		case err != nil:
			refused = append(refused, write.action.Path())
		}
	}
	return errAllDenied(refused)
}

// retryLinks writes a rule and its triggers until no other rule gets in the way.
// write says which revision of the rule it went by.
func (c *Controller) retryLinks(ctx context.Context, rule whisk.FullName, write func() (seen whisk.Revision, err error)) error {
	for attempt := 1; ; attempt++ {
		seen, err := write()
		if !errors.Is(err, errConcurrentWrite) || attempt == linkAttempts {
			return err
		}
		_, now, readErr := c.fetchRule(ctx, rule)
		if readErr != nil && !is(readErr, whisk.NotFound) || now != seen {
			return err
		}
	}
}

func (c *Controller) putRuleOnce(ctx context.Context, former whisk.Rule, name whisk.FullName, revision whisk.Revision, write ruleWrite) (RuleView, error) {
	rule, err := mergeRule(former, name, revision, write)
	if err != nil {
		return RuleView{}, err
	}
	var old linked
	status := whisk.Active
	if revision != 0 {
		if old, err = c.linkedTrigger(ctx, former.Trigger); err != nil {
			return RuleView{}, err
		}
		status = old.StatusOf(name)
	}
	trigger, err := c.checkReferences(ctx, rule)
	if err != nil {
		return RuleView{}, err
	}
	tx, err := appendRule(whisk.Transaction{}, rule, revision)
	if err != nil {
		return RuleView{}, err
	}
	link := whisk.RuleLink{Action: rule.Action, Status: status}
	if tx, err = appendTrigger(tx, trigger.WithRule(name, link), trigger.revision); err != nil {
		return RuleView{}, err
	}
	if old.has(name) && old.Name != trigger.Name {
		if tx, err = appendTrigger(tx, old.WithoutRule(name), old.revision); err != nil {
			return RuleView{}, err
		}
	}
	_, err = c.commit(ctx, tx)
	return RuleView{rule, status}, err
}

// mergeRule lays a write over the former rule, which is none if its revision is 0.
func mergeRule(former whisk.Rule, name whisk.FullName, revision whisk.Revision, write ruleWrite) (whisk.Rule, error) {
	rule := former
	rule.Name = name
	if write.trigger != (whisk.FullName{}) {
		rule.Trigger = write.trigger
	}
	if write.action != (whisk.FullName{}) {
		rule.Action = write.action
	}
	if rule.Trigger == (whisk.FullName{}) || rule.Action == (whisk.FullName{}) {
		return whisk.Rule{}, whisk.Errorf(whisk.Invalid, "rule requires a valid trigger and a valid action")
	}
	if write.annotations != nil {
		rule.Annotations = write.annotations
	}
	if write.publish != nil {
		rule.Publish = *write.publish
	}
	rule.Updated = time.Now().Truncate(time.Millisecond)
	var err error
	rule.Version, err = nextVersion(former.Version, revision == 0, write.version)
	return rule, err
}

// checkReferences checks that a rule's trigger and action are there, and returns the trigger.
func (c *Controller) checkReferences(ctx context.Context, rule whisk.Rule) (linked, error) {
	trigger, revision, err := c.fetchTrigger(ctx, rule.Trigger)
	if err != nil {
		return linked{}, badReference("trigger", rule.Trigger, err)
	}
	action, _, err := c.stored(ctx, rule.Action, c.storedPackage)
	if err == nil {
		_, _, err = c.fetchAction(ctx, action)
	}
	if err != nil {
		return linked{}, badReference("action", rule.Action, err)
	}
	return linked{trigger, revision}, nil
}

// badReference says that the fault is the rule's, unless it is the store's.
func badReference(what string, name whisk.FullName, err error) error {
	switch {
	case !isForUser(err):
		return err
	case is(err, whisk.Internal):
		return whisk.Errorf(whisk.Invalid, "%s %s is corrupted", what, name)
	}
	return whisk.Errorf(whisk.Invalid, "%s %s does not exist", what, name)
}

func appendRule(tx whisk.Transaction, rule whisk.Rule, revision whisk.Revision) (whisk.Transaction, error) {
	doc, err := encodeRule(rule, revision)
	tx.Puts = append(tx.Puts, doc)
	return tx, err
}

func appendTrigger(tx whisk.Transaction, trigger whisk.Trigger, revision whisk.Revision) (whisk.Transaction, error) {
	doc, err := encodeTrigger(trigger, revision)
	tx.Puts = append(tx.Puts, doc)
	return tx, err
}

// SetRuleStatus makes a rule active or inactive, as the JSON of a POST says. That
// its action is there is not checked: it may come and go.
func (c *Controller) SetRuleStatus(ctx context.Context, caller *Caller, name whisk.FullName, body []byte) error {
	if err := caller.Owns(name); err != nil {
		return err
	}
	status, err := parseStatus(body)
	if err != nil {
		return err
	}
	return c.retryLinks(ctx, name, func() (seen whisk.Revision, err error) {
		rule, revision, err := c.fetchRule(ctx, name)
		if err != nil {
			return 0, err
		}
		trigger, err := c.linkedTrigger(ctx, rule.Trigger)
		switch {
		case err != nil || trigger.StatusOf(name) == status:
			return revision, err
		case trigger.revision == 0:
			return revision, whisk.Errorf(whisk.NotFound, "Only rules with existing triggers can be activated")
		}
		link := whisk.RuleLink{Action: rule.Action, Status: status}
		tx, err := appendTrigger(whisk.Transaction{Needs: []whisk.FullName{name}}, trigger.WithRule(name, link), trigger.revision)
		if err == nil {
			_, err = c.commit(ctx, tx)
		}
		return revision, err
	})
}

// DeleteRule removes a rule, also while it is active, and returns it as inactive.
func (c *Controller) DeleteRule(ctx context.Context, caller *Caller, name whisk.FullName) (RuleView, error) {
	if err := caller.Owns(name); err != nil {
		return RuleView{}, err
	}
	var view RuleView
	err := c.retryLinks(ctx, name, func() (seen whisk.Revision, err error) {
		rule, revision, err := c.fetchRule(ctx, name)
		if err != nil {
			return 0, err
		}
		trigger, err := c.linkedTrigger(ctx, rule.Trigger)
		if err != nil {
			return revision, err
		}
		view = RuleView{rule, whisk.Inactive}
		tx := whisk.Transaction{Deletes: []whisk.Stored{{Name: name, Revision: revision}}}
		if trigger.has(name) {
			tx, err = appendTrigger(tx, trigger.WithoutRule(name), trigger.revision)
		}
		if err == nil {
			_, err = c.commit(ctx, tx)
		}
		return revision, err
	})
	return view, err
}
