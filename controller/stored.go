// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"encoding/json"
	"fmt"

	"github.com/whirl-faas/whirl/controller/apijson"
	"github.com/whirl-faas/whirl/whisk"
)

// The bodies of documents. The name and the time of the write are the document's own.

type storedAction struct {
	Version     whisk.Version      `json:"version"`
	Publish     bool               `json:"publish"`
	Kind        string             `json:"kind"`
	Code        whisk.Digest       `json:"code,omitempty"`
	Size        whisk.Bytes        `json:"size"`
	Binary      bool               `json:"binary"`
	Main        string             `json:"main,omitempty"`
	Image       string             `json:"image,omitempty"`
	Components  []storedName       `json:"components,omitempty"`
	Parameters  whisk.Parameters   `json:"parameters"`
	Annotations whisk.Parameters   `json:"annotations"`
	Limits      whisk.ActionLimits `json:"limits"`
}

type storedPackage struct {
	Version     whisk.Version    `json:"version"`
	Publish     bool             `json:"publish"`
	Binding     storedName       `json:"binding,omitzero"`
	Parameters  whisk.Parameters `json:"parameters"`
	Annotations whisk.Parameters `json:"annotations"`
}

type storedTrigger struct {
	Version     whisk.Version             `json:"version"`
	Publish     bool                      `json:"publish"`
	Parameters  whisk.Parameters          `json:"parameters"`
	Annotations whisk.Parameters          `json:"annotations"`
	Rules       map[storedName]storedLink `json:"rules"`
}

type storedLink struct {
	Action storedName       `json:"action"`
	Status whisk.RuleStatus `json:"status"`
}

type storedRule struct {
	Version     whisk.Version    `json:"version"`
	Publish     bool             `json:"publish"`
	Trigger     storedName       `json:"trigger"`
	Action      storedName       `json:"action"`
	Annotations whisk.Parameters `json:"annotations"`
}

// storedName is a name in the form "ns/name" or "ns/pkg/name".
type storedName whisk.FullName

// MarshalText implements [encoding.TextMarshaler].
func (n storedName) MarshalText() ([]byte, error) { return []byte(whisk.FullName(n).Path()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (n *storedName) UnmarshalText(text []byte) error {
	name, err := whisk.ParseFullName(string(text), "_")
	*n = storedName(name)
	return err
}

// documentOf returns the document to store for an entity that replaces revision.
func documentOf(collection whisk.Collection, name whisk.FullName, revision whisk.Revision, body any) (whisk.Document, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return whisk.Document{}, fmt.Errorf("encode %s: %w", name, err)
	}
	return whisk.Document{Collection: collection, Name: name, Revision: revision, Body: text}, nil
}

func encodeAction(action whisk.Action, revision whisk.Revision) (whisk.Document, error) {
	exec := action.Exec
	doc, err := documentOf(whisk.Actions, action.Name, revision, storedAction{
		Version: action.Version, Publish: action.Publish,
		Kind: exec.Kind, Code: exec.Code, Size: exec.Size, Binary: exec.Binary, Main: exec.Main, Image: exec.Image,
		Components: convertNames[storedName](exec.Components),
		Parameters: action.Parameters, Annotations: action.Annotations, Limits: action.Limits,
	})
	doc.Updated, doc.Code, doc.Summary = action.Updated, exec.Code, apijson.AppendActionSummary(nil, action)
	return doc, err
}

func decodeAction(doc whisk.Document) (whisk.Action, error) {
	var stored storedAction
	if json.Unmarshal(doc.Body, &stored) != nil {
		return whisk.Action{}, errCorrupted()
	}
	return whisk.Action{
		Name: doc.Name, Version: stored.Version, Publish: stored.Publish,
		Exec: whisk.Exec{
			Kind: stored.Kind, Code: stored.Code, Size: stored.Size, Binary: stored.Binary, Main: stored.Main, Image: stored.Image,
			Components: convertNames[whisk.FullName](stored.Components),
		},
		Parameters: stored.Parameters, Annotations: stored.Annotations, Limits: stored.Limits,
		Updated: doc.Updated,
	}, nil
}

func convertNames[To, From storedName | whisk.FullName](names []From) []To {
	if names == nil {
		return nil
	}
	converted := make([]To, len(names))
	for i, name := range names {
		converted[i] = To(name)
	}
	return converted
}

func encodePackage(pkg whisk.Package, revision whisk.Revision) (whisk.Document, error) {
	doc, err := documentOf(whisk.Packages, pkg.Name, revision, storedPackage{
		Version: pkg.Version, Publish: pkg.Publish, Binding: storedName(pkg.Binding),
		Parameters: pkg.Parameters, Annotations: pkg.Annotations,
	})
	doc.Updated, doc.Public, doc.Summary = pkg.Updated, pkg.Publish && !pkg.IsBinding(), apijson.AppendPackageSummary(nil, pkg)
	return doc, err
}

func decodePackage(doc whisk.Document) (whisk.Package, error) {
	var stored storedPackage
	if json.Unmarshal(doc.Body, &stored) != nil {
		return whisk.Package{}, errCorrupted()
	}
	return whisk.Package{
		Name: doc.Name, Version: stored.Version, Publish: stored.Publish, Binding: whisk.FullName(stored.Binding),
		Parameters: stored.Parameters, Annotations: stored.Annotations, Updated: doc.Updated,
	}, nil
}

func encodeTrigger(trigger whisk.Trigger, revision whisk.Revision) (whisk.Document, error) {
	stored := storedTrigger{
		Version: trigger.Version, Publish: trigger.Publish,
		Parameters: trigger.Parameters, Annotations: trigger.Annotations,
	}
	if trigger.Rules != nil {
		stored.Rules = make(map[storedName]storedLink, len(trigger.Rules))
	}
	for name, link := range trigger.Rules {
		stored.Rules[storedName(name)] = storedLink{storedName(link.Action), link.Status}
	}
	doc, err := documentOf(whisk.Triggers, trigger.Name, revision, stored)
	doc.Updated, doc.Summary = trigger.Updated, apijson.AppendTriggerSummary(nil, trigger)
	return doc, err
}

func decodeTrigger(doc whisk.Document) (whisk.Trigger, error) {
	var stored storedTrigger
	if json.Unmarshal(doc.Body, &stored) != nil {
		return whisk.Trigger{}, errCorrupted()
	}
	trigger := whisk.Trigger{
		Name: doc.Name, Version: stored.Version, Publish: stored.Publish,
		Parameters: stored.Parameters, Annotations: stored.Annotations, Updated: doc.Updated,
	}
	if stored.Rules != nil {
		trigger.Rules = make(map[whisk.FullName]whisk.RuleLink, len(stored.Rules))
	}
	for name, link := range stored.Rules {
		trigger.Rules[whisk.FullName(name)] = whisk.RuleLink{Action: whisk.FullName(link.Action), Status: link.Status}
	}
	return trigger, nil
}

func encodeRule(rule whisk.Rule, revision whisk.Revision) (whisk.Document, error) {
	doc, err := documentOf(whisk.Rules, rule.Name, revision, storedRule{
		Version: rule.Version, Publish: rule.Publish,
		Trigger: storedName(rule.Trigger), Action: storedName(rule.Action), Annotations: rule.Annotations,
	})
	doc.Updated, doc.Summary = rule.Updated, apijson.AppendRuleSummary(nil, rule)
	return doc, err
}

func decodeRule(doc whisk.Document) (whisk.Rule, error) {
	var stored storedRule
	if json.Unmarshal(doc.Body, &stored) != nil {
		return whisk.Rule{}, errCorrupted()
	}
	return whisk.Rule{
		Name: doc.Name, Version: stored.Version, Publish: stored.Publish,
		Trigger: whisk.FullName(stored.Trigger), Action: whisk.FullName(stored.Action),
		Annotations: stored.Annotations, Updated: doc.Updated,
	}, nil
}
