// SPDX-License-Identifier: Apache-2.0

package couchdb

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/whirl-faas/whirl/whisk"
)

// IsLimits reports whether a document of [Subjects] has a namespace's limits, and
// is no subject.
func (d Document) IsLimits() bool { return strings.HasSuffix(d.ID, "/limits") }

// Subject reads a user. What it has in common with OpenWhisk's are the keys; here
// they are hashes of them.
func (d Document) Subject() (whisk.Subject, error) {
	type opening struct{ Name, UUID, Key string }
	var doc struct {
		Subject    string
		Namespaces []opening
		Blocked    bool
		UUID, Key  string // once a subject had one key, to the namespace of its name
	}
	if err := d.decode(&doc); err != nil {
		return whisk.Subject{}, err
	}
	if doc.Subject == "" || doc.Subject != d.ID {
		return whisk.Subject{}, whisk.Errorf(whisk.Invalid, "it says that it is subject %q", doc.Subject)
	}
	if doc.Namespaces == nil && doc.UUID != "" {
		doc.Namespaces = []opening{{doc.Subject, doc.UUID, doc.Key}}
	}
	subject := whisk.Subject{Name: doc.Subject, Blocked: doc.Blocked}
	for _, namespace := range doc.Namespaces {
		if err := whisk.CheckNamespace(namespace.Name); err != nil {
			return whisk.Subject{}, whisk.Errorf(whisk.Invalid, "namespace %.300q: %w", namespace.Name, err)
		}
		// The key is a secret: it is not in the text.
		if _, err := whisk.ParseAuthKey(namespace.UUID + ":" + namespace.Key); err != nil || strings.Contains(namespace.UUID, ":") {
			return whisk.Subject{}, whisk.Errorf(whisk.Invalid, "namespace %s lacks a uuid and a key of %d characters", namespace.Name, whisk.KeyLength)
		}
		subject.Namespaces = append(subject.Namespaces, whisk.SubjectNamespace{
			Name: namespace.Name, UUID: namespace.UUID, Key: whisk.HashKey(namespace.Key),
		})
	}
	return subject, nil
}

// Limits are a namespace's own, as a document has them.
type Limits struct {
	Namespace string
	whisk.NamespaceLimits
	Unknown []string // fields that whisk has no counterpart of, sorted
}

// Limits reads what a namespace has of its own.
func (d Document) Limits() (Limits, error) {
	limits := Limits{Namespace: strings.TrimSuffix(d.ID, "/limits")}
	if err := whisk.CheckNamespace(limits.Namespace); err != nil {
		return Limits{}, err
	}
	if err := d.decode(&limits.NamespaceLimits); err != nil {
		return Limits{}, err
	}
	if err := limits.Validate(); err != nil {
		return Limits{}, err
	}
	if len(limits.AllowedKinds) == 0 {
		limits.AllowedKinds = nil
	}
	var err error
	limits.Unknown, err = limits.unknownIn(d)
	return limits, err
}

// unknownIn returns the fields of a document that say something which is not in
// what was made of it.
func (l Limits) unknownIn(d Document) ([]string, error) {
	text, err := json.Marshal(l.NamespaceLimits)
	if err != nil {
		return nil, err
	}
	var given, known map[string]json.RawMessage
	if err := json.Unmarshal(text, &known); err != nil {
		return nil, err
	}
	if err := d.decode(&given); err != nil {
		return nil, err
	}
	var unknown []string
	for field, value := range given {
		empty := slices.Contains([]string{"null", "[]", `""`}, string(value))
		if known[field] == nil && !empty && !strings.HasPrefix(field, "_") && field != "entityType" {
			unknown = append(unknown, field)
		}
	}
	slices.Sort(unknown)
	return unknown, nil
}
