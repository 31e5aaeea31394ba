// SPDX-License-Identifier: Apache-2.0

package whisk

import (
	"context"
	"encoding/json"
	"io"
	"iter"
	"time"
)

// The contracts of the databases. Each has a conformance suite in
// store/storetest that every implementation runs. All methods may be called
// concurrently; a method that returns nil has made its effect durable as the
// contract says. Errors carry a [Kind]; one that the database itself caused is
// Unavailable when trying again may help (locked, disk full) and Internal otherwise.

// Collection is a kind of entity.
type Collection string

// The collections, named as in the API's paths.
const (
	Actions  Collection = "actions"
	Packages Collection = "packages"
	Triggers Collection = "triggers"
	Rules    Collection = "rules"
)

// Revision identifies one write of a document. Later writes have larger
// revisions and none ever comes back, also after a deletion. 0 means that the
// document does not exist.
type Revision int64

// Document is an entity as the store keeps it. Names are unique within a
// namespace across all collections, so an action cannot take a trigger's name.
type Document struct {
	Collection Collection
	Name       FullName
	Revision   Revision
	Updated    time.Time       // to the millisecond; lists are sorted by it
	Code       Digest          // the blob that it refers to, "" for none
	Public     bool            // lists for other namespaces show it
	Summary    json.RawMessage // what lists show
	Body       json.RawMessage // the whole entity
}

// EntityStore keeps entities. Writes are durable when they return.
type EntityStore interface {
	// Get returns the document of that name, of whatever collection, or NotFound.
	Get(ctx context.Context, name FullName) (Document, error)
	// Put writes doc if the stored revision is doc.Revision, where 0 means that
	// no document of that name may exist, and returns the new revision.
	// Otherwise, or if the stored one is of another collection: Conflict.
	Put(ctx context.Context, doc Document) (Revision, error)
	// Delete removes the document if its revision is the given one. NotFound if
	// there is none, Conflict if it has another revision.
	Delete(ctx context.Context, name FullName, revision Revision) error
	// Commit does all of a transaction or nothing, and returns the new revisions
	// of its Puts in their order. Conflict if one of the stored revisions is
	// another one, or if a condition does not hold.
	Commit(ctx context.Context, tx Transaction) ([]Revision, error)
	// List returns the matching documents without Body, newest first; of equal
	// times, the one with the smaller path first.
	List(ctx context.Context, query EntityQuery) ([]Document, error)
	// Count counts what List would return without Skip and Limit.
	Count(ctx context.Context, query EntityQuery) (int, error)
	// Changes returns up to limit changes after the position since, oldest
	// first. Position 0 is before all; the change feed keeps every change long
	// enough for any reader that polls at least hourly.
	Changes(ctx context.Context, since int64, limit int) ([]Change, error)
	// LastChange returns the position of the newest change, 0 if there is none.
	LastChange(ctx context.Context) (int64, error)
	// Digests yields every blob that a document refers to, each at least once.
	Digests(ctx context.Context) iter.Seq2[Digest, error]
}

// EntityArchive reads what a store of entities and subjects holds, of all
// namespaces, for administration. It holds a part of it at a time, and no
// transaction between the parts: what is written meanwhile may or may not be seen.
type EntityArchive interface {
	// Documents yields all documents, with Body, sorted by namespace and then by path.
	Documents(ctx context.Context) iter.Seq2[Document, error]
	// LimitedNamespaces yields the namespaces that have limits of their own, sorted.
	LimitedNamespaces(ctx context.Context) iter.Seq2[string, error]
}

// Transaction is a set of writes that take effect together. A name occurs once
// among them, or else it is Invalid.
type Transaction struct {
	Puts    []Document // each as [EntityStore] Put takes it
	Deletes []Stored   // each must be there
	Needs   []FullName // documents that must be there in the end, of whatever revision
	Vacant  []FullName // packages in which no documents may be in the end
}

// Stored names a document as it was read.
type Stored struct {
	Name     FullName
	Revision Revision
}

// EntityQuery selects documents.
type EntityQuery struct {
	Collection Collection
	Namespace  string
	Package    *string // nil: the whole namespace, packaged actions included; "": the default package
	Public     bool    // only what is public
	Skip       int
	Limit      int  // at least 1
	Full       bool // with Body
}

// Change is one line of the change feed: the entity, the subject, or a
// namespace's APIs may differ from what a cache holds. It names one of the three.
type Change struct {
	Position int64 // of a write of an entity also the revision that it made
	Entity   FullName
	Subject  string
	APIs     string // the namespace
}

// SubjectStore keeps users and the hashes of their keys. Its writes appear in
// the change feed of the [EntityStore] beside it.
type SubjectStore interface {
	// Subject returns the subject of that name, or NotFound.
	Subject(ctx context.Context, name string) (Subject, error)
	// PutSubject creates or replaces a subject. Conflict if one of its
	// namespaces or uuids belongs to another subject.
	PutSubject(ctx context.Context, subject Subject) error
	// DeleteSubject removes a subject and its namespaces' keys, or returns NotFound.
	DeleteSubject(ctx context.Context, name string) error
	// Subjects returns all subjects sorted by name.
	Subjects(ctx context.Context) ([]Subject, error)
	// Lookup returns the subject that owns the namespace of that uuid, or NotFound.
	Lookup(ctx context.Context, uuid string) (Subject, error)
	// Owner returns the subject that owns the namespace of that name, or NotFound.
	Owner(ctx context.Context, namespace string) (Subject, error)
	// NamespaceLimits returns what a namespace has of its own; none, without an
	// error, if it has nothing.
	NamespaceLimits(ctx context.Context, namespace string) (NamespaceLimits, error)
	// PutNamespaceLimits replaces them. A namespace that nobody owns may have some.
	// The change feed has it as a change of the namespace's subject.
	PutNamespaceLimits(ctx context.Context, namespace string, limits NamespaceLimits) error
	// DeleteNamespaceLimits removes them, or returns NotFound.
	DeleteNamespaceLimits(ctx context.Context, namespace string) error
}

// APIStore keeps the APIs that namespaces offer to the web. Its writes are durable
// when they return, and appear in the change feed of the [EntityStore] beside it.
type APIStore interface {
	// APIs returns all APIs of a namespace, sorted by base path.
	APIs(ctx context.Context, namespace string) ([]API, error)
	// PutAPI writes api if the stored revision is api.Revision, where 0 means that
	// the namespace may have no API of that base path, and returns the new
	// revision. Otherwise: Conflict.
	PutAPI(ctx context.Context, api API) (Revision, error)
	// DeleteAPI removes the API if its revision is the given one. NotFound if there
	// is none, Conflict if it has another revision.
	DeleteAPI(ctx context.Context, namespace, basePath string, revision Revision) error
}

// API is an API as the store keeps it. Base paths are unique within a namespace.
type API struct {
	Namespace string
	BasePath  string
	Revision  Revision
	Document  json.RawMessage // what it consists of; the store does not look inside
}

// Blobs keeps code by content. A blob is durable when Put returns.
type Blobs interface {
	// Put stores what content yields and returns its digest. The same content
	// again is no error.
	Put(ctx context.Context, content io.Reader) (Digest, error)
	// Get returns a blob, or NotFound.
	Get(ctx context.Context, digest Digest) ([]byte, error)
	// Sweep deletes the blobs that keep does not want and that were last put
	// before olderThan, and returns how many.
	Sweep(ctx context.Context, keep func(Digest) bool, olderThan time.Time) (int, error)
}

// ActivationStore keeps activation records. Records may be lost when the
// machine's power fails, but not when the process is killed.
type ActivationStore interface {
	// PutActivations stores records in one transaction. One whose namespace has a
	// record of that id already is left as it was, so a batch may be tried again.
	PutActivations(ctx context.Context, records []Activation) error
	// Activation returns a record, or NotFound.
	Activation(ctx context.Context, namespace string, id ActivationID) (Activation, error)
	// ListActivations returns the matching records, newest start first; of equal
	// starts, the larger id first. Without Full they lack Response.Result, Size and Logs.
	ListActivations(ctx context.Context, query ActivationQuery) ([]Activation, error)
	// CountActivations counts what ListActivations would return without Skip and Limit.
	CountActivations(ctx context.Context, query ActivationQuery) (int, error)
	// ExpireActivations deletes up to limit records that started before the
	// given time and returns how many.
	ExpireActivations(ctx context.Context, before time.Time, limit int) (int, error)
}

// ActivationArchive is to an [ActivationStore] what an [EntityArchive] is to an [EntityStore].
type ActivationArchive interface {
	// AllActivations yields all records, whole, sorted by namespace, start and id.
	AllActivations(ctx context.Context) iter.Seq2[Activation, error]
}

// ActivationQuery selects activation records.
type ActivationQuery struct {
	Namespace   string
	Name        string    // of the action, "" for all
	Package     *string   // with Name: nil for any package, "" for the default one
	Since, Upto time.Time // of the start, both inclusive; zero for no bound
	Skip        int
	Limit       int // at least 1
	Full        bool
}

// LogStore keeps the output of activations. Agents write it, controllers read it.
type LogStore interface {
	// AppendLogs stores entries in one transaction. One whose activation is
	// stored already is left as it was.
	AppendLogs(ctx context.Context, entries []LogEntry) error
	// Logs returns an activation's lines; none, without an error, if there are none.
	Logs(ctx context.Context, namespace string, id ActivationID) ([]string, error)
	// ExpireLogs deletes up to limit entries that were made before the given
	// time and returns how many.
	ExpireLogs(ctx context.Context, before time.Time, limit int) (int, error)
}

// LogEntry is the output of one activation.
type LogEntry struct {
	Activation ActivationID
	Namespace  string
	Made       time.Time
	Lines      []string // as users read them: time, stream and text
}

// Queue keeps the non-blocking activations that were accepted and have no
// record yet. An entry goes from accepted to claimed and is then removed, once
// its record is stored.
type Queue interface {
	// Accept stores entries durably, all or none; it returns after they would
	// survive a power failure. Concurrent calls share a commit. An entry whose id
	// is stored already is left as it was, so a call may be repeated.
	Accept(ctx context.Context, entries ...Accepted) error
	// Claim marks an accepted entry as about to run, durably. Conflict if it is
	// claimed already, by whomever, NotFound if it is gone. Of concurrent calls,
	// of several processes too, one succeeds.
	Claim(ctx context.Context, id ActivationID, by ControllerID) error
	// Complete removes entries. Ids that are not there are no error.
	Complete(ctx context.Context, ids []ActivationID) error
	// Pending yields all entries, oldest first. Entries that are accepted or
	// removed meanwhile may or may not be among them.
	Pending(ctx context.Context) iter.Seq2[Accepted, error]
}

// Accepted is an entry of the [Queue].
type Accepted struct {
	Activation ActivationID
	Namespace  string
	At         time.Time       // when it was accepted
	AcceptedBy ControllerID    // "" for those of programs that did not say
	ClaimedBy  ControllerID    // "" until it was claimed
	Body       json.RawMessage // what the controller needs to run it; the store does not look inside
}

// Alarms keeps when triggers are to be fired by the clock. Writes are durable when
// they return. It is a part of the store that has the [Queue].
type Alarms interface {
	// Alarm returns the alarm of that trigger, or NotFound.
	Alarm(ctx context.Context, trigger FullName) (Alarm, error)
	// SetAlarm writes an alarm if the stored revision is alarm.Revision, where 0 means
	// that the trigger may have none, and returns the new revision; otherwise Conflict.
	// In the same transaction it accepts entries as [Queue] Accept does. Of
	// concurrent calls for one revision, of several processes too, one succeeds.
	SetAlarm(ctx context.Context, alarm Alarm, entries ...Accepted) (Revision, error)
	// DeleteAlarm removes an alarm if its revision is the given one. NotFound if
	// there is none, Conflict if it has another revision.
	DeleteAlarm(ctx context.Context, trigger FullName, revision Revision) error
	// DueAlarms returns up to limit alarms whose time is not after by, the earliest first.
	DueAlarms(ctx context.Context, by time.Time, limit int) ([]Alarm, error)
	// NextAlarm returns the earliest time that an alarm has, zero if none has one.
	NextAlarm(ctx context.Context) (time.Time, error)
}

// Alarm is when a trigger is to be fired next. A trigger has one at most.
type Alarm struct {
	Trigger  FullName
	Revision Revision        // as that of a [Document]
	At       time.Time       // to the millisecond; zero: not at all
	Body     json.RawMessage // the rest, which the store does not look at
}
