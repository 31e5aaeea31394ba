// SPDX-License-Identifier: Apache-2.0

package whisk

import (
	"maps"
	"slices"
	"strings"
	"time"
)

// Trigger is a channel of events. Rules tie it to the actions that are to run
// when it fires.
type Trigger struct {
	Name        FullName // without a package
	Version     Version
	Publish     bool
	Parameters  Parameters // laid under what it is fired with
	Annotations Parameters
	Rules       map[FullName]RuleLink // by the rule's name; nil if it never had one
	Updated     time.Time             // set by the server at each write of a user, to the millisecond
}

// RuleLink is what a trigger knows of one of its rules.
type RuleLink struct {
	Action FullName
	Status RuleStatus
}

// RuleStatus says whether a rule's action runs when its trigger fires.
type RuleStatus string

// The states of a rule. They are kept with the trigger, so a rule whose trigger
// does not know it is inactive.
const (
	Active   RuleStatus = "active"
	Inactive RuleStatus = "inactive"
)

// StatusOf returns the state of a rule of t.
func (t Trigger) StatusOf(rule FullName) RuleStatus {
	if link, there := t.Rules[rule]; there {
		return link.Status
	}
	return Inactive
}

// RuleNames returns the names of the rules of t, sorted.
func (t Trigger) RuleNames() []FullName {
	return slices.SortedFunc(maps.Keys(t.Rules), func(a, b FullName) int { return strings.Compare(a.Path(), b.Path()) })
}

// WithRule returns t with that link to a rule, in place of a former one.
func (t Trigger) WithRule(rule FullName, link RuleLink) Trigger {
	rules := maps.Clone(t.Rules)
	if rules == nil {
		rules = map[FullName]RuleLink{}
	}
	rules[rule] = link
	t.Rules = rules
	return t
}

// WithoutRule returns t without its link to a rule.
func (t Trigger) WithoutRule(rule FullName) Trigger {
	t.Rules = maps.Clone(t.Rules)
	delete(t.Rules, rule)
	return t
}

// Rule says which action runs when a trigger fires.
type Rule struct {
	Name        FullName // without a package
	Version     Version
	Publish     bool
	Trigger     FullName
	Action      FullName // may stand in a package or a binding
	Annotations Parameters
	Updated     time.Time // set by the server at each write of a user, to the millisecond
}
