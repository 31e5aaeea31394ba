// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"

	"github.com/whirl-faas/whirl/controller/apijson"
	"github.com/whirl-faas/whirl/whisk"
)

// Imports takes over what another platform has kept: entities as they are, with
// their versions, times and states, users with their keys, and records. As with
// [Subjects] it works on the stores alone. What is there already is never
// changed unless Overwrite says so, so an import may be repeated.
//
// An error concerns what was given and no other, but for those of the kinds
// Internal and Unavailable, which come from the stores. Methods must not be
// called concurrently.
type Imports struct {
	Entities    whisk.EntityStore
	Subjects    whisk.SubjectStore
	Blobs       whisk.Blobs
	Activations whisk.ActivationStore
	Overwrite   bool // replace entities, users and limits that differ; records never are
	DryRun      bool // only say what would be done

	// What a dry run would have made, and what follows looks for.
	packages map[whisk.FullName]bool
	owners   map[string]string // of namespaces and uuids
}

// Effect is what became of something that was to be imported.
type Effect string

// The effects. In a dry run they are what would become of it.
const (
	Created  Effect = "created"
	Same     Effect = "same"     // it is there already
	Replaced Effect = "replaced" // it was there, and different
	Kept     Effect = "kept"     // it is there, and different, and stays so
)

// Action imports an action with its code, as the API has it; nil for none. An
// action of a kind that the platform lacks is kept for its readers.
func (m *Imports) Action(ctx context.Context, action whisk.Action, code io.Reader) (Effect, error) {
	if code != nil {
		counted := &countingReader{from: code}
		var err error
		if action.Exec.Code, err = m.storeCode(ctx, counted); err != nil {
			return "", err
		}
		action.Exec.Size = counted.size
	}
	if action.Exec.Size == 0 {
		action.Exec.Code = "" // as code of a PUT that is empty
	}
	var err error
	if action.Parameters, err = tidy(action.Parameters); err != nil {
		return "", err
	}
	if action.Annotations, err = tidy(action.Annotations); err != nil {
		return "", err
	}
	return m.put(ctx, action.Name, func(revision whisk.Revision) (whisk.Document, error) { return encodeAction(action, revision) })
}

// storeCode returns the digest of code. What is stored and in the end not wanted, the
// next clean-up takes away.
func (m *Imports) storeCode(ctx context.Context, code io.Reader) (whisk.Digest, error) {
	if !m.DryRun {
		digest, err := m.Blobs.Put(ctx, code)
		if err != nil {
			return "", fmt.Errorf("store the code: %w", err)
		}
		return digest, nil
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, code); err != nil {
		return "", fmt.Errorf("read the code: %w", err)
	}
	return whisk.Digest("sha256-" + hex.EncodeToString(sum.Sum(nil))), nil
}

// countingReader counts what it reads.
type countingReader struct {
	from io.Reader
	size whisk.Bytes
}

func (r *countingReader) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.size += whisk.Bytes(n)
	return n, err
}

// tidy makes parameters what the API would have made of them: without white space
// between the parts of their values, and no deeper than runtimes can read.
func tidy(parameters whisk.Parameters) (whisk.Parameters, error) {
	parameters = slices.Clone(parameters)
	for i, p := range parameters {
		if apijson.TooDeep(p.Value) {
			return nil, whisk.Errorf(whisk.Invalid, "the value of %q is nested more than %d levels deep", p.Key, apijson.MaxDepth)
		}
		parameters[i].Value = apijson.Compact(p.Value)
	}
	return parameters, nil
}

// Package imports a package or a binding. What it is bound to need not be there.
func (m *Imports) Package(ctx context.Context, pkg whisk.Package) (Effect, error) {
	var err error
	if pkg.Parameters, err = tidy(pkg.Parameters); err != nil {
		return "", err
	}
	if pkg.Annotations, err = tidy(pkg.Annotations); err != nil {
		return "", err
	}
	effect, err := m.put(ctx, pkg.Name, func(revision whisk.Revision) (whisk.Document, error) { return encodePackage(pkg, revision) })
	if m.DryRun && err == nil {
		if m.packages == nil {
			m.packages = map[whisk.FullName]bool{}
		}
		m.packages[pkg.Name] = true
	}
	return effect, err
}

// Trigger imports a trigger with the states of its rules. The rules need not be there.
func (m *Imports) Trigger(ctx context.Context, trigger whisk.Trigger) (Effect, error) {
	var err error
	if trigger.Parameters, err = tidy(trigger.Parameters); err != nil {
		return "", err
	}
	if trigger.Annotations, err = tidy(trigger.Annotations); err != nil {
		return "", err
	}
	return m.put(ctx, trigger.Name, func(revision whisk.Revision) (whisk.Document, error) { return encodeTrigger(trigger, revision) })
}

// Rule imports a rule. Its state is its trigger's to say.
func (m *Imports) Rule(ctx context.Context, rule whisk.Rule) (Effect, error) {
	var err error
	if rule.Annotations, err = tidy(rule.Annotations); err != nil {
		return "", err
	}
	return m.put(ctx, rule.Name, func(revision whisk.Revision) (whisk.Document, error) { return encodeRule(rule, revision) })
}

// put writes an entity's document, unless it is there.
func (m *Imports) put(ctx context.Context, name whisk.FullName, encode func(whisk.Revision) (whisk.Document, error)) (Effect, error) {
	there, err := m.Entities.Get(ctx, name)
	if err != nil && !is(err, whisk.NotFound) {
		return "", fmt.Errorf("look for %s: %w", name, err)
	}
	doc, err := encode(there.Revision)
	if err != nil {
		return "", err
	}
	effect := Created
	switch {
	case there.Revision == 0:
	case sameDocument(doc, there):
		return Same, nil
	case !m.Overwrite:
		return Kept, nil
	case there.Collection != doc.Collection:
		return "", whisk.Errorf(whisk.Conflict, "there is one of %s by this name, which is not overwritten by one of %s", there.Collection, doc.Collection)
	default:
		effect = Replaced
	}
	tx := whisk.Transaction{Puts: []whisk.Document{doc}}
	if name.Package != "" {
		if err := m.needPackage(ctx, name.PackageName()); err != nil {
			return "", err
		}
		tx.Needs = []whisk.FullName{name.PackageName()}
	}
	if m.DryRun {
		return effect, nil
	}
	if _, err := m.Entities.Commit(ctx, tx); err != nil {
		return "", fmt.Errorf("write %s: %w", name, err)
	}
	return effect, nil
}

func sameDocument(a, b whisk.Document) bool {
	return a.Collection == b.Collection && a.Code == b.Code && a.Public == b.Public &&
		a.Updated.UnixMilli() == b.Updated.UnixMilli() && bytes.Equal(a.Body, b.Body)
}

// needPackage says in clearer words than the store that a package is missing.
func (m *Imports) needPackage(ctx context.Context, name whisk.FullName) error {
	if m.packages[name] {
		return nil
	}
	there, err := m.Entities.Get(ctx, name)
	switch {
	case is(err, whisk.NotFound), err == nil && there.Collection != whisk.Packages:
		return whisk.Errorf(whisk.Conflict, "its package %s is not there", name)
	case err != nil:
		return fmt.Errorf("look for %s: %w", name, err)
	}
	return nil
}

// Subject imports a user with the keys of its namespaces. Namespaces that belong to
// another user are left out: their names are returned, sorted.
func (m *Imports) Subject(ctx context.Context, subject whisk.Subject) (_ Effect, foreign []string, _ error) {
	there, err := m.Subjects.Subject(ctx, subject.Name)
	isThere := !is(err, whisk.NotFound)
	if err != nil && isThere {
		return "", nil, fmt.Errorf("look for subject %s: %w", subject.Name, err)
	}
	if subject.Namespaces, foreign, err = m.withoutForeign(ctx, subject); err != nil {
		return "", nil, err
	}
	effect := Created
	switch {
	case !isThere:
	case sameSubject(subject, there):
		return Same, foreign, nil
	case !m.Overwrite:
		return Kept, foreign, nil
	default:
		effect = Replaced
	}
	if m.DryRun {
		m.planOwner(subject)
		return effect, foreign, nil
	}
	if err := m.Subjects.PutSubject(ctx, subject); err != nil {
		return "", nil, fmt.Errorf("write subject %s: %w", subject.Name, err)
	}
	return effect, foreign, nil
}

// withoutForeign parts a subject's namespaces from those that are another one's.
func (m *Imports) withoutForeign(ctx context.Context, subject whisk.Subject) (own []whisk.SubjectNamespace, foreign []string, _ error) {
	for _, namespace := range subject.Namespaces {
		owned, err := m.isForeign(ctx, subject.Name, namespace)
		switch {
		case err != nil:
			return nil, nil, err
		case owned:
			foreign = append(foreign, namespace.Name)
		default:
			own = append(own, namespace)
		}
	}
	slices.Sort(foreign)
	return own, foreign, nil
}

func (m *Imports) isForeign(ctx context.Context, subject string, namespace whisk.SubjectNamespace) (bool, error) {
	for _, look := range []struct {
		find func(context.Context, string) (whisk.Subject, error)
		key  string
	}{{m.Subjects.Owner, namespace.Name}, {m.Subjects.Lookup, namespace.UUID}} {
		owner, err := look.find(ctx, look.key)
		switch planned := m.owners[look.key]; {
		case is(err, whisk.NotFound) && planned != "" && planned != subject:
			return true, nil
		case is(err, whisk.NotFound):
		case err != nil:
			return false, fmt.Errorf("look for the owner of %s: %w", namespace.Name, err)
		case owner.Name != subject:
			return true, nil
		}
	}
	return false, nil
}

func (m *Imports) planOwner(subject whisk.Subject) {
	if m.owners == nil {
		m.owners = map[string]string{}
	}
	for _, namespace := range subject.Namespaces {
		m.owners[namespace.Name], m.owners[namespace.UUID] = subject.Name, subject.Name
	}
}

// sameSubject does not mind the order of namespaces.
func sameSubject(a, b whisk.Subject) bool {
	byName := func(x, y whisk.SubjectNamespace) int { return strings.Compare(x.Name, y.Name) }
	return a.Name == b.Name && a.Blocked == b.Blocked &&
		slices.Equal(slices.SortedFunc(slices.Values(a.Namespaces), byName), slices.SortedFunc(slices.Values(b.Namespaces), byName))
}

// Limits imports what a namespace has of its own.
func (m *Imports) Limits(ctx context.Context, namespace string, limits whisk.NamespaceLimits) (Effect, error) {
	there, err := m.Subjects.NamespaceLimits(ctx, namespace)
	if err != nil {
		return "", fmt.Errorf("look for the limits of %s: %w", namespace, err)
	}
	effect := Created
	switch {
	case reflect.DeepEqual(limits, there):
		return Same, nil
	case reflect.DeepEqual(there, whisk.NamespaceLimits{}):
	case !m.Overwrite:
		return Kept, nil
	default:
		effect = Replaced
	}
	if m.DryRun {
		return effect, nil
	}
	if err := m.Subjects.PutNamespaceLimits(ctx, namespace, limits); err != nil {
		return "", fmt.Errorf("write the limits of %s: %w", namespace, err)
	}
	return effect, nil
}

// Records imports records of activations and returns what became of each. Two
// that have an id in common are the same one; if they differ, the one that is
// there is kept.
func (m *Imports) Records(ctx context.Context, records []whisk.Activation) ([]Effect, error) {
	effects := make([]Effect, len(records))
	var missing []whisk.Activation
	for i, record := range records {
		there, err := m.Activations.Activation(ctx, record.Namespace, record.ID)
		switch {
		case is(err, whisk.NotFound):
			effects[i] = Created
			missing = append(missing, record)
		case err != nil:
			return nil, fmt.Errorf("look for activation %s: %w", record.ID, err)
		case bytes.Equal(meaning(there), meaning(record)):
			effects[i] = Same
		default:
			effects[i] = Kept
		}
	}
	if m.DryRun {
		return effects, nil
	}
	if err := m.Activations.PutActivations(ctx, missing); err != nil {
		return nil, fmt.Errorf("write records: %w", err)
	}
	return effects, nil
}

// meaning returns a text that equal records have in common, whatever white space
// and escapes are in their JSON: stores need not keep those.
func meaning(record whisk.Activation) []byte {
	record.Annotations = slices.Clone(record.Annotations)
	for i, annotation := range record.Annotations {
		record.Annotations[i].Value = plain(annotation.Value)
	}
	if record.Response.Result != nil {
		record.Response.Result = plain(record.Response.Result)
	}
	return apijson.AppendActivation(nil, &record)
}

// plain returns valid JSON in the one form that encoding/json gives it.
func plain(text json.RawMessage) json.RawMessage {
	encoded, err := json.Marshal(text)
	if err != nil {
		return text
	}
	return encoded
}
