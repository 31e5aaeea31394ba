// SPDX-License-Identifier: Apache-2.0

package couchdb

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"strconv"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Database is one of OpenWhisk's databases; its name is a prefix and this.
type Database string

// The databases: users with their keys and limits, entities, and records.
const (
	Subjects    Database = "subjects"
	Whisks      Database = "whisks"
	Activations Database = "activations"
)

// Source is where documents come from. Its methods may be called concurrently.
type Source interface {
	// Documents yields the documents of a database but for those of its design,
	// sorted by id, so that a package comes before what is in it. An error that comes
	// with an ID is that document's, and the next ones follow; any other one is
	// the last. NotFound if there is no such database.
	Documents(ctx context.Context, database Database) iter.Seq2[Document, error]
	// Attachment opens an attachment of a document of Whisks, or returns NotFound.
	// The caller closes it.
	Attachment(ctx context.Context, doc Document, name string) (io.ReadCloser, error)
}

// Document is a document as CouchDB has it.
type Document struct {
	ID   string
	Body json.RawMessage // a JSON object
}

// Type is what a document of [Whisks] is.
type Type string

// The types, as OpenWhisk names them.
const (
	TypeAction  Type = "action"
	TypePackage Type = "package"
	TypeTrigger Type = "trigger"
	TypeRule    Type = "rule"
)

// Type returns what a document of [Whisks] is. Old ones do not say it and are
// known by their fields, as OpenWhisk's views know them.
func (d Document) Type() (Type, error) {
	var fields struct {
		EntityType                         string
		Exec, Binding, Trigger, Parameters json.RawMessage
	}
	if err := d.decode(&fields); err != nil {
		return "", err
	}
	switch said := Type(fields.EntityType); {
	case said == TypeAction, said == TypePackage, said == TypeTrigger, said == TypeRule:
		return said, nil
	case said != "":
		return "", whisk.Errorf(whisk.Invalid, "it is of type %q, which is no action, package, trigger or rule", said)
	case fields.Exec != nil:
		return TypeAction, nil
	case fields.Binding != nil:
		return TypePackage, nil
	case fields.Trigger != nil:
		return TypeRule, nil
	case fields.Parameters != nil:
		return TypeTrigger, nil
	}
	return "", whisk.Errorf(whisk.Invalid, "it is no action, package, trigger or rule")
}

func (d Document) decode(to any) error {
	if err := json.Unmarshal(d.Body, to); err != nil {
		return whisk.Errorf(whisk.Invalid, "it cannot be read: %w", err)
	}
	return nil
}

// attached returns an attachment that lies in the document itself, and nil if it
// does not: then the document tells only that it exists.
func (d Document) attached(name string) ([]byte, error) {
	var fields struct {
		Attachments map[string]struct {
			Data []byte `json:"data"`
		} `json:"_attachments"`
	}
	err := d.decode(&fields)
	return fields.Attachments[name].Data, err
}

// head is what the documents of all entities begin with.
type head struct {
	Namespace   string           `json:"namespace"` // with the package: "ns" or "ns/pkg"
	Name        string           `json:"name"`
	Version     whisk.Version    `json:"version"`
	Publish     bool             `json:"publish"`
	Parameters  whisk.Parameters `json:"parameters"`
	Annotations whisk.Parameters `json:"annotations"`
	Updated     moment           `json:"updated"`
}

// newHead has what holds where a document says nothing.
func newHead() head { return head{Version: whisk.FirstVersion, Updated: moment{time.UnixMilli(0)}} }

// fullName returns the name of an entity, by which its document must be named, too.
// Only what is said to be in one may be in a package.
func (h head) fullName(d Document, packaged bool) (whisk.FullName, error) {
	name, err := whisk.ParseFullName(h.Namespace+"/"+h.Name, "")
	switch {
	case err != nil:
		return whisk.FullName{}, err
	case name.Path() != d.ID:
		return whisk.FullName{}, whisk.Errorf(whisk.Invalid, "it says that it is %s", name)
	case name.Package != "" && !packaged:
		return whisk.FullName{}, whisk.Errorf(whisk.Invalid, "only actions may be in a package")
	}
	return name, nil
}

// moment is a time to the millisecond: a number, or, in old documents, a text.
type moment struct{ time.Time }

// UnmarshalJSON implements [json.Unmarshaler].
func (m *moment) UnmarshalJSON(text []byte) (err error) {
	if string(text) == "null" {
		return nil
	}
	if text[0] == '"' {
		if err = m.Time.UnmarshalJSON(text); err == nil {
			m.Time = m.Truncate(time.Millisecond).Local()
		}
		return err
	}
	ms, err := strconv.ParseFloat(string(text), 64)
	m.Time = time.UnixMilli(int64(ms))
	return err
}
