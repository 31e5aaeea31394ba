// SPDX-License-Identifier: Apache-2.0

package couchdb

import (
	"encoding/json"

	"github.com/whirl-faas/whirl/whisk"
)

// Package reads a package or a binding.
func (d Document) Package() (whisk.Package, error) {
	doc := struct {
		head
		Binding *struct{ Namespace, Name string } `json:"binding"`
	}{head: newHead()}
	if err := d.decode(&doc); err != nil {
		return whisk.Package{}, err
	}
	name, err := doc.fullName(d, false)
	if err != nil {
		return whisk.Package{}, err
	}
	pkg := whisk.Package{
		Name: name, Version: doc.Version, Publish: doc.Publish,
		Parameters: doc.Parameters, Annotations: doc.Annotations, Updated: doc.Updated.Time,
	}
	if to := doc.Binding; to != nil && to.Name != "" {
		pkg.Binding, err = whisk.ParseFullName(to.Namespace+"/"+to.Name, name.Namespace)
		if err == nil && pkg.Binding.Package != "" {
			err = whisk.Errorf(whisk.Invalid, "it is bound to %s, which is no package's name", pkg.Binding)
		}
	}
	return pkg, err
}

// Trigger reads a trigger with the states of its rules.
func (d Document) Trigger() (whisk.Trigger, error) {
	doc := struct {
		head
		Rules map[string]struct {
			Action json.RawMessage  `json:"action"`
			Status whisk.RuleStatus `json:"status"`
		} `json:"rules"`
	}{head: newHead()}
	if err := d.decode(&doc); err != nil {
		return whisk.Trigger{}, err
	}
	name, err := doc.fullName(d, false)
	if err != nil {
		return whisk.Trigger{}, err
	}
	trigger := whisk.Trigger{
		Name: name, Version: doc.Version, Publish: doc.Publish,
		Parameters: doc.Parameters, Annotations: doc.Annotations, Updated: doc.Updated.Time,
	}
	for path, link := range doc.Rules {
		rule, err := whisk.ParseFullName(path, name.Namespace)
		if err != nil {
			return whisk.Trigger{}, whisk.Errorf(whisk.Invalid, "rule %.200q: %w", path, err)
		}
		action, err := parseReference(link.Action, name.Namespace)
		if err != nil {
			return whisk.Trigger{}, whisk.Errorf(whisk.Invalid, "action of rule %s: %w", rule, err)
		}
		if link.Status != whisk.Active && link.Status != whisk.Inactive {
			return whisk.Trigger{}, whisk.Errorf(whisk.Invalid, "rule %s is %.200q, which is neither active nor inactive", rule, link.Status)
		}
		trigger = trigger.WithRule(rule, whisk.RuleLink{Action: action, Status: link.Status})
	}
	return trigger, nil
}

// Rule reads a rule. Old ones name trigger and action by mere strings; both are in
// the rule's namespace then.
func (d Document) Rule() (whisk.Rule, error) {
	doc := struct {
		head
		Trigger json.RawMessage `json:"trigger"`
		Action  json.RawMessage `json:"action"`
	}{head: newHead()}
	if err := d.decode(&doc); err != nil {
		return whisk.Rule{}, err
	}
	name, err := doc.fullName(d, false)
	if err != nil {
		return whisk.Rule{}, err
	}
	trigger, err := parseReference(doc.Trigger, name.Namespace)
	if err != nil {
		return whisk.Rule{}, whisk.Errorf(whisk.Invalid, "trigger: %w", err)
	}
	action, err := parseReference(doc.Action, name.Namespace)
	if err != nil {
		return whisk.Rule{}, whisk.Errorf(whisk.Invalid, "action: %w", err)
	}
	return whisk.Rule{
		Name: name, Version: doc.Version, Publish: doc.Publish, Trigger: trigger, Action: action,
		Annotations: doc.Annotations, Updated: doc.Updated.Time,
	}, nil
}
