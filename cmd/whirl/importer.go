// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/couchdb"
	"github.com/whirl-faas/whirl/whisk"
)

// importer brings documents from a source into a data directory, and tells of it.
type importer struct {
	source  couchdb.Source
	imports *controller.Imports
	oldest  time.Time // records that began before it are left out
	skip    map[couchdb.Database]bool

	out, progress io.Writer
	verbs         map[controller.Effect]string // how to name what became of a document; "" says nothing
	told          time.Time                    // of the progress
	counts        map[string]map[string]int    // by sort of document, by what became of them
	kinds         map[string]int               // of actions
	unlike        int                          // documents that are not as in the source

	// Records go into the store in batches of a bounded number and size.
	records []whisk.Activation
	ids     []string
	size    int
}

const (
	batchRecords = 200
	batchBytes   = 8 << 20
	progressTime = 5 * time.Second
	codeAttempts = 3 // at reading the code of an action to its end
)

// What becomes of a document, beside the effects.
const (
	failed = "failed"
	old    = "too old"
)

func newImporter(p program, settings importSettings, data *data, now time.Time) *importer {
	i := &importer{
		source: settings.source,
		imports: &controller.Imports{
			Entities: data.entities, Subjects: data.entities, Blobs: data.code, Activations: data.activations,
			Overwrite: settings.overwrite, DryRun: settings.dryRun,
		},
		skip: map[couchdb.Database]bool{couchdb.Activations: !settings.activations},
		out:  p.stdout, progress: p.stderr, told: now,
		counts: map[string]map[string]int{}, kinds: map[string]int{},
	}
	if settings.dryRun {
		i.verbs = map[controller.Effect]string{controller.Created: "would create", controller.Replaced: "would replace"}
	}
	if settings.retention > 0 {
		i.oldest = now.Add(-settings.retention)
	}
	return i
}

// run imports all. The error says that not all is as in the source, or what ended it early.
func (i *importer) run(ctx context.Context) error {
	var err error
	for _, database := range []couchdb.Database{couchdb.Subjects, couchdb.Whisks, couchdb.Activations} {
		if i.skip[database] {
			continue
		}
		if err = i.importDatabase(ctx, database); err != nil {
			break
		}
	}
	i.summarize()
	switch {
	case err != nil:
		return fmt.Errorf("the import broke off and may be repeated: %w", err)
	case i.unlike > 0:
		return fmt.Errorf("not as in the source: %d, named above", i.unlike)
	}
	return nil
}

// importDatabase imports the documents of a database. What is wrong with one of them
// is told, and the next one follows.
func (i *importer) importDatabase(ctx context.Context, database couchdb.Database) error {
	n := 0
	for doc, err := range i.source.Documents(ctx, database) {
		if err != nil && doc.ID == "" {
			return err
		}
		if n++; time.Since(i.told) > progressTime {
			fmt.Fprintf(i.progress, "%s: %d documents read\n", database, n)
			i.told = time.Now()
		}
		sort := string(database)
		if err == nil {
			sort, err = i.importDocument(ctx, database, doc)
		}
		if err != nil && isFatal(ctx, err) {
			return fmt.Errorf("%s: %w", doc.ID, err)
		}
		if err != nil {
			i.fail(sort, doc.ID, err.Error())
		}
	}
	return i.flush(ctx)
}

// isFatal reports whether an error would meet the next document, too.
func isFatal(ctx context.Context, err error) bool {
	kind := whisk.KindOf(err)
	return ctx.Err() != nil || kind == whisk.Internal || kind == whisk.Unavailable || kind == whisk.Timeout
}

// importDocument imports a document and returns what sort of one it is.
func (i *importer) importDocument(ctx context.Context, database couchdb.Database, doc couchdb.Document) (sort string, err error) {
	switch {
	case database == couchdb.Activations:
		return "activations", i.importRecord(ctx, doc)
	case database == couchdb.Subjects && doc.IsLimits():
		return "limits", i.importLimits(ctx, doc)
	case database == couchdb.Subjects:
		return "subjects", i.importSubject(ctx, doc)
	}
	kind, err := doc.Type()
	if err != nil {
		return string(database), err
	}
	sort = string(kind) + "s"
	var effect controller.Effect
	switch kind {
	case couchdb.TypeAction:
		effect, err = i.importAction(ctx, doc)
	case couchdb.TypePackage:
		effect, err = importEntity(ctx, doc.Package, i.imports.Package)
	case couchdb.TypeTrigger:
		effect, err = importEntity(ctx, doc.Trigger, i.imports.Trigger)
	case couchdb.TypeRule:
		effect, err = importEntity(ctx, doc.Rule, i.imports.Rule)
	}
	if err == nil {
		i.note(sort, doc.ID, effect)
	}
	return sort, err
}

func importEntity[E any](ctx context.Context, read func() (E, error), put func(context.Context, E) (controller.Effect, error)) (controller.Effect, error) {
	entity, err := read()
	if err != nil {
		return "", err
	}
	return put(ctx, entity)
}

// importAction tries again when the connection breaks off while it reads the code.
func (i *importer) importAction(ctx context.Context, doc couchdb.Document) (controller.Effect, error) {
	action, code, err := doc.Action()
	if err != nil {
		return "", err
	}
	i.kinds[action.Exec.Kind]++
	for attempt := 1; ; attempt++ {
		effect, err := i.importActionOnce(ctx, action, code)
		if err == nil || attempt == codeAttempts || ctx.Err() != nil || whisk.KindOf(err) != whisk.Unavailable {
			return effect, err
		}
	}
}

func (i *importer) importActionOnce(ctx context.Context, action whisk.Action, code couchdb.Code) (controller.Effect, error) {
	if !code.Exists() {
		return i.imports.Action(ctx, action, nil)
	}
	content, err := code.Open(ctx, i.source)
	if err != nil {
		return "", err
	}
	defer content.Close()
	return i.imports.Action(ctx, action, content)
}

func (i *importer) importSubject(ctx context.Context, doc couchdb.Document) error {
	subject, err := doc.Subject()
	if err != nil {
		return err
	}
	effect, foreign, err := i.imports.Subject(ctx, subject)
	if err != nil {
		return err
	}
	i.note("subjects", doc.ID, effect)
	if len(foreign) > 0 {
		i.fail("namespaces", doc.ID, "left out, as a namespace has one owner here and they are another one's: "+strings.Join(foreign, ", "))
	}
	return nil
}

func (i *importer) importLimits(ctx context.Context, doc couchdb.Document) error {
	limits, err := doc.Limits()
	if err != nil {
		return err
	}
	effect, err := i.imports.Limits(ctx, limits.Namespace, limits.NamespaceLimits)
	if err != nil {
		return err
	}
	i.note("limits", doc.ID, effect)
	if len(limits.Unknown) > 0 {
		i.tell("note: %s: without meaning here, and left out: %s", doc.ID, strings.Join(limits.Unknown, ", "))
	}
	return nil
}

func (i *importer) importRecord(ctx context.Context, doc couchdb.Document) error {
	record, err := doc.Activation()
	if err != nil {
		return err
	}
	if record.Start.Before(i.oldest) {
		i.count("activations", old)
		return nil
	}
	i.records, i.ids = append(i.records, record), append(i.ids, doc.ID)
	if i.size += len(doc.Body); len(i.records) >= batchRecords || i.size >= batchBytes {
		return i.flush(ctx)
	}
	return nil
}

// flush stores the records that wait for it. If that fails by the fault of one, they
// are tried one by one.
func (i *importer) flush(ctx context.Context) error {
	records, ids := i.records, i.ids
	i.records, i.ids, i.size = nil, nil, 0
	err := i.store(ctx, records, ids)
	if err == nil || isFatal(ctx, err) {
		return err
	}
	for n := range records {
		if err := i.store(ctx, records[n:n+1], ids[n:n+1]); err != nil && isFatal(ctx, err) {
			return err
		} else if err != nil {
			i.fail("activations", ids[n], err.Error())
		}
	}
	return nil
}

func (i *importer) store(ctx context.Context, records []whisk.Activation, ids []string) error {
	effects, err := i.imports.Records(ctx, records)
	if err != nil {
		return err
	}
	for n, effect := range effects {
		if effect == controller.Created { // of so many, none is named
			i.count("activations", string(effect))
			continue
		}
		i.note("activations", ids[n], effect)
	}
	return nil
}

// note counts a document, and names it if that is of interest.
func (i *importer) note(sort, id string, effect controller.Effect) {
	i.count(sort, string(effect))
	if verb := i.verbs[effect]; verb != "" {
		i.tell("%s: %s", verb, id)
	}
	if effect == controller.Kept {
		i.unlike++
		i.tell("kept: %s: it is here and different", id)
	}
}

func (i *importer) fail(sort, id, reason string) {
	i.count(sort, failed)
	i.unlike++
	i.tell("failed: %s: %s", id, reason)
}

// tell prints a line. Documents are others' and may hold anything: it is not to reach
// a terminal.
func (i *importer) tell(format string, args ...any) {
	line := strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return unicode.ReplacementChar
	}, fmt.Sprintf(format, args...))
	fmt.Fprintln(i.out, line)
}

func (i *importer) count(sort, what string) {
	if i.counts[sort] == nil {
		i.counts[sort] = map[string]int{}
	}
	i.counts[sort][what]++
}

// summarize prints the counts as a table, and which kinds the platform should have.
func (i *importer) summarize() {
	if len(i.counts) == 0 {
		return
	}
	columns := []string{string(controller.Created), string(controller.Same), string(controller.Replaced), string(controller.Kept), failed, old}
	table := tabwriter.NewWriter(i.out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "\t%s\t\n", strings.Join(columns, "\t"))
	for _, sort := range []string{"subjects", "namespaces", "limits", "packages", "actions", "triggers", "rules", "whisks", "activations"} {
		counts := i.counts[sort]
		if counts == nil {
			continue
		}
		fmt.Fprintf(table, "%s\t", sort)
		for _, column := range columns {
			fmt.Fprintf(table, "%d\t", counts[column])
		}
		fmt.Fprintln(table)
	}
	table.Flush()
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(i.kinds)) {
		kinds = append(kinds, fmt.Sprintf("%s (%d)", kind, i.kinds[kind]))
	}
	if len(kinds) > 0 {
		i.tell("kinds of actions: %s", strings.Join(kinds, ", "))
	}
}
