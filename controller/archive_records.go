// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"

	"github.com/whirl-faas/whirl/controller/apijson"
	"github.com/whirl-faas/whirl/whisk"
)

// What an Archive shows of subjects and of activations.

// namespaceLimits is what a namespace has of its own.
type namespaceLimits struct {
	namespace string
	whisk.NamespaceLimits
}

// readSubjects yields subjects and then namespaces' limits, which OpenWhisk keeps
// among them.
func (a Archive) readSubjects(ctx context.Context) iter.Seq2[archived, error] {
	return func(yield func(archived, error) bool) {
		subjects, err := a.Subjects.Subjects(ctx)
		if err != nil {
			yield(archived{}, fmt.Errorf("list subjects: %w", err))
			return
		}
		for _, subject := range subjects {
			from := archived{id: subject.Name, subject: &subject}
			from.document = func() ([]byte, error) {
				text, err := json.Marshal(subject)
				return identified(text, from, ""), err
			}
			if !yield(from, nil) {
				return
			}
		}
		for namespace, err := range a.Entities.LimitedNamespaces(ctx) {
			from := archived{}
			if err == nil {
				from, err = a.limitsOf(ctx, namespace)
			}
			if !yield(from, err) || err != nil {
				return
			}
		}
	}
}

func (a Archive) limitsOf(ctx context.Context, namespace string) (archived, error) {
	limits, err := a.Subjects.NamespaceLimits(ctx, namespace)
	if err != nil {
		return archived{}, fmt.Errorf("get the limits of %s: %w", namespace, err)
	}
	from := archived{id: namespace + "/limits", limits: namespaceLimits{namespace, limits}}
	from.document = func() ([]byte, error) {
		text, err := json.Marshal(limits)
		return identified(text, from, ""), err
	}
	return from, nil
}

// ofIdentities is the view by which OpenWhisk authenticates. Its documents are the
// limits of the namespaces. In place of keys there are their hashes.
func ofIdentities(ctx context.Context, a Archive, from archived) ([]emitted, error) {
	if from.subject == nil || from.subject.Blocked {
		return nil, nil
	}
	var all []emitted
	for _, namespace := range from.subject.Namespaces {
		value := apijson.AppendString([]byte(`{"_id":`), namespace.Name+"/limits")
		value = apijson.AppendString(append(value, `,"namespace":`...), namespace.Name)
		value = apijson.AppendString(append(value, `,"uuid":`...), namespace.UUID)
		value = append(apijson.AppendString(append(value, `,"key":`...), namespace.Key), '}')
		document := func() ([]byte, error) { return a.limitsDocument(ctx, namespace.Name) }
		for _, key := range [][]string{{namespace.Name}, {namespace.UUID, string(namespace.Key)}} {
			text, err := json.Marshal(key)
			if err != nil {
				return nil, err
			}
			all = append(all, emitted{text, value, document})
		}
	}
	return all, nil
}

// limitsDocument is the document of a namespace's limits, null if it has none.
func (a Archive) limitsDocument(ctx context.Context, namespace string) ([]byte, error) {
	from, err := a.limitsOf(ctx, namespace)
	if err != nil {
		return nil, err
	}
	if text, err := json.Marshal(from.limits.NamespaceLimits); err != nil || string(text) == "{}" {
		return []byte("null"), err
	}
	return from.document()
}

// ofBlockedNamespaces is the view of those that may run nothing.
func ofBlockedNamespaces(_ context.Context, _ Archive, from archived) ([]emitted, error) {
	blocked := func(namespace string) emitted {
		return emitted{key: apijson.AppendString(nil, namespace), value: []byte("1")}
	}
	if from.subject == nil {
		if isZero(from.limits.ConcurrentInvocations) || isZero(from.limits.InvocationsPerMinute) {
			return []emitted{blocked(from.limits.namespace)}, nil
		}
		return nil, nil
	}
	var all []emitted
	if from.subject.Blocked {
		for _, namespace := range from.subject.Namespaces {
			all = append(all, blocked(namespace.Name))
		}
	}
	return all, nil
}

func isZero(limit *int) bool { return limit != nil && *limit == 0 }

// readRecords yields the records of activations, with the logs that they have
// themselves: those of sequences and triggers.
func (a Archive) readRecords(ctx context.Context) iter.Seq2[archived, error] {
	return func(yield func(archived, error) bool) {
		for record, err := range a.Activations.AllActivations(ctx) {
			if err != nil {
				yield(archived{}, err)
				return
			}
			from := archived{id: record.Namespace + "/" + string(record.ID), revision: 1, record: &record}
			from.document = func() ([]byte, error) { return recordDocument(from), nil }
			if !yield(from, nil) {
				return
			}
		}
	}
}

// recordDocument is a record as CouchDB has it, which tells the status by its
// number, and has an end in any case.
func recordDocument(from archived) []byte {
	text := replaced(apijson.AppendActivation(nil, from.record), "response", func([]byte) []byte {
		response := from.record.Response
		number := apijson.AppendInt([]byte(`{"statusCode":`), int64(response.Status))
		if response.Result != nil {
			number = append(append(number, `,"result":`...), response.Result...)
			number = apijson.AppendInt(append(number, `,"size":`...), int64(response.Size))
		}
		return append(number, '}')
	})
	if from.record.End.IsZero() {
		text = append([]byte(`{"end":0,`), text[1:]...)
	}
	return identified(text, from, "activation")
}

func ofRecords(_ context.Context, _ Archive, from archived) ([]emitted, error) {
	return []emitted{{key: keyed(from.record.Namespace, from.record.Start.UnixMilli()), value: apijson.AppendActivationSummary(nil, from.record)}}, nil
}

// ofRecordsByName is ofRecords by the name under which lists find them.
func ofRecordsByName(_ context.Context, _ Archive, from archived) ([]emitted, error) {
	name := whisk.FullName{Namespace: from.record.Namespace, Package: from.record.Package, Name: from.record.Name}
	return []emitted{{key: keyed(name.Path(), from.record.Start.UnixMilli()), value: apijson.AppendActivationSummary(nil, from.record)}}, nil
}

func ofRecordsByDate(_ context.Context, _ Archive, from archived) ([]emitted, error) {
	value := apijson.AppendString([]byte{'['}, from.id)
	value = append(apijson.AppendString(append(value, ','), from.rev()), ']')
	return []emitted{{key: apijson.AppendInt(nil, from.record.Start.UnixMilli()), value: value}}, nil
}

// ofRecordsWithLogs is the view of those whose logs may be removed: not the ids of
// a sequence's components.
func ofRecordsWithLogs(_ context.Context, _ Archive, from archived) ([]emitted, error) {
	if len(from.record.Logs) == 0 || string(from.record.Annotations.Get("kind")) == `"sequence"` {
		return nil, nil
	}
	return []emitted{{key: apijson.AppendInt(nil, from.record.Start.UnixMilli()), value: apijson.AppendString(nil, from.id)}}, nil
}
