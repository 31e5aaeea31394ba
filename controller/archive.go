// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"

	"github.com/whirl-faas/whirl/controller/apijson"
	"github.com/whirl-faas/whirl/whisk"
)

// Archive shows operators all that the stores hold, in the form of the databases
// that OpenWhisk has in CouchDB: their names, their views, their documents. It
// reads as it goes, and what is written meanwhile may or may not be in it.
type Archive struct {
	Entities    whisk.EntityArchive
	Subjects    whisk.SubjectStore
	Activations whisk.ActivationArchive
}

// ArchiveRow is a row of a database's primary index, or of a view.
type ArchiveRow struct {
	ID    string          `json:"id"`
	Key   json.RawMessage `json:"key"`
	Value json.RawMessage `json:"value"`
	Doc   json.RawMessage `json:"doc,omitempty"` // nil unless it was asked for
}

// archived is one document on its way into rows.
type archived struct {
	id       string
	revision whisk.Revision
	document func() ([]byte, error)
	entity   whisk.Document    // of whisks
	subject  *whisk.Subject    // of subjects, nil for limits
	limits   namespaceLimits   // of subjects, where subject is nil
	record   *whisk.Activation // of activations
}

// emitted is what a view makes of a document. A view's rows may have another
// document than the one that they were made of.
type emitted struct {
	key, value []byte
	document   func() ([]byte, error) // nil for the one it was made of
}

type mapping func(ctx context.Context, a Archive, from archived) ([]emitted, error)

type archiveDatabase struct {
	read  func(Archive, context.Context) iter.Seq2[archived, error]
	views map[string]mapping
}

// archiveDatabases returns what OpenWhisk has, by its names.
func archiveDatabases() map[string]archiveDatabase {
	return map[string]archiveDatabase{
		"whisks": {Archive.readEntities, map[string]mapping{
			"whisks.v2.1.0/actions":         ofCollection(whisk.Actions),
			"whisks.v2.1.0/packages":        ofCollection(whisk.Packages),
			"whisks.v2.1.0/packages-public": ofPublicPackages,
			"whisks.v2.1.0/rules":           ofCollection(whisk.Rules),
			"whisks.v2.1.0/triggers":        ofCollection(whisk.Triggers),
		}},
		"subjects": {Archive.readSubjects, map[string]mapping{
			"subjects.v2.0.0/identities":             ofIdentities,
			"namespaceThrottlings/blockedNamespaces": ofBlockedNamespaces,
		}},
		"activations": {Archive.readRecords, map[string]mapping{
			"whisks.v2.1.0/activations":         ofRecords,
			"whisks-filters.v2.1.1/activations": ofRecordsByName,
			"activations/byDate":                ofRecordsByDate,
			"logCleanup/byDateWithLogs":         ofRecordsWithLogs,
		}},
	}
}

// Rows yields the rows of a database, "whisks", "subjects" or "activations", in the
// order of their documents; those of a view, "design/view", if that is not "". The
// error is Invalid and says what there is.
func (a Archive) Rows(ctx context.Context, database, view string, docs bool) (iter.Seq2[ArchiveRow, error], error) {
	databases := archiveDatabases()
	of, known := databases[database]
	if !known {
		return nil, whisk.Errorf(whisk.Invalid, "there is no database %q, only %s", database, strings.Join(slices.Sorted(maps.Keys(databases)), ", "))
	}
	emit := ofPrimaryIndex
	if view != "" {
		if emit = of.views[view]; emit == nil {
			return nil, whisk.Errorf(whisk.Invalid, "%s has no view %q, only %s", database, view, strings.Join(slices.Sorted(maps.Keys(of.views)), ", "))
		}
	}
	return func(yield func(ArchiveRow, error) bool) {
		for from, err := range of.read(a, ctx) {
			if err != nil {
				yield(ArchiveRow{}, err)
				return
			}
			rows, err := a.rowsOf(ctx, from, emit, docs)
			if err != nil {
				yield(ArchiveRow{}, fmt.Errorf("show %s of %s: %w", from.id, database, err))
				return
			}
			for _, row := range rows {
				if !yield(row, nil) {
					return
				}
			}
		}
	}, nil
}

func (a Archive) rowsOf(ctx context.Context, from archived, emit mapping, docs bool) ([]ArchiveRow, error) {
	all, err := emit(ctx, a, from)
	if err != nil {
		return nil, err
	}
	rows := make([]ArchiveRow, len(all))
	for i, one := range all {
		rows[i] = ArchiveRow{ID: from.id, Key: one.key, Value: one.value}
		if !docs {
			continue
		}
		document := from.document
		if one.document != nil {
			document = one.document
		}
		if rows[i].Doc, err = document(); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// ofPrimaryIndex is the mapping where there is no view.
func ofPrimaryIndex(_ context.Context, _ Archive, from archived) ([]emitted, error) {
	return []emitted{{key: apijson.AppendString(nil, from.id), value: append(apijson.AppendString([]byte(`{"rev":`), from.rev()), '}')}}, nil
}

func (a archived) rev() string { return fmt.Sprint(int64(a.revision)) }

// readEntities yields actions, packages, triggers and rules.
func (a Archive) readEntities(ctx context.Context) iter.Seq2[archived, error] {
	return func(yield func(archived, error) bool) {
		for doc, err := range a.Entities.Documents(ctx) {
			if err != nil {
				yield(archived{}, err)
				return
			}
			from := archived{id: doc.Name.Path(), revision: doc.Revision, entity: doc}
			from.document = func() ([]byte, error) { return entityDocument(from) }
			if !yield(from, nil) {
				return
			}
		}
	}
}

// entityDocument is an entity as CouchDB has it: as the API shows it, with who it
// is. Code is told by its digest, as an attachment.
func entityDocument(from archived) ([]byte, error) {
	doc := from.entity
	kind := strings.TrimSuffix(string(doc.Collection), "s")
	var text []byte
	var err error
	switch doc.Collection {
	case whisk.Actions:
		var action whisk.Action
		action, err = decodeAction(doc)
		text = attached(apijson.AppendAction(nil, action, nil, whisk.FullName{}), action.Exec)
	case whisk.Packages:
		var pkg whisk.Package
		pkg, err = decodePackage(doc)
		text = apijson.AppendPackage(nil, pkg)
	case whisk.Triggers:
		var trigger whisk.Trigger
		trigger, err = decodeTrigger(doc)
		text = apijson.AppendTrigger(nil, trigger)
	case whisk.Rules:
		var rule whisk.Rule
		rule, err = decodeRule(doc)
		text = apijson.AppendRuleSummary(nil, rule)
	}
	if err != nil {
		return nil, err
	}
	return identified(text, from, kind), nil
}

// identified puts what CouchDB adds before the members of a document.
func identified(object []byte, from archived, kind string) []byte {
	head := apijson.AppendString([]byte(`{"_id":`), from.id)
	head = apijson.AppendString(append(head, `,"_rev":`...), from.rev())
	if kind != "" {
		head = apijson.AppendString(append(head, `,"entityType":`...), kind)
	}
	if string(object) == "{}" {
		return append(head, '}')
	}
	return append(append(head, ','), object[1:]...)
}

// attached notes an action's code in its document.
func attached(action []byte, code whisk.Exec) []byte {
	if code.Code == "" {
		return action
	}
	stub := apijson.AppendString([]byte(`{"code":{"attachmentName":`), code.Code)
	stub = apijson.AppendString(append(stub, `,"digest":`...), code.Code)
	stub = apijson.AppendInt(append(stub, `,"length":`...), int64(code.Size))
	stub = append(stub, "},"...)
	return replaced(action, "exec", func(exec []byte) []byte { return append(stub, exec[1:]...) })
}

// replaced returns an object with another value of one of its members.
func replaced(object []byte, name string, to func([]byte) []byte) []byte {
	made := make([]byte, 0, len(object)+256)
	made = append(made, '{')
	for member := range apijson.Members(object) {
		if len(made) > 1 {
			made = append(made, ',')
		}
		if string(member.Key) == name {
			made = append(apijson.AppendString(made, name), ':')
			made = append(made, to(member.Value)...)
			continue
		}
		made = append(made, member.Text...)
	}
	return append(made, '}')
}

// ofCollection is a view of the entities of a collection: what lists show of them,
// by namespace and time, for what is in a package also by package.
func ofCollection(collection whisk.Collection) mapping {
	return func(_ context.Context, _ Archive, from archived) ([]emitted, error) {
		doc := from.entity
		if doc.Collection != collection {
			return nil, nil
		}
		value := []byte(doc.Summary)
		if collection == whisk.Rules {
			value = []byte("1")
		}
		all := []emitted{{key: keyed(doc.Name.Namespace, doc.Updated.UnixMilli()), value: value}}
		if doc.Name.Package != "" {
			all = append([]emitted{{key: keyed(doc.Name.PackageName().Path(), doc.Updated.UnixMilli()), value: value}}, all...)
		}
		return all, nil
	}
}

func ofPublicPackages(ctx context.Context, a Archive, from archived) ([]emitted, error) {
	if !from.entity.Public {
		return nil, nil
	}
	return ofCollection(whisk.Packages)(ctx, a, from)
}

// keyed is a view's key of a path and a time in ms.
func keyed(path string, at int64) []byte {
	key := apijson.AppendString([]byte{'['}, path)
	return append(apijson.AppendInt(append(key, ','), at), ']')
}
