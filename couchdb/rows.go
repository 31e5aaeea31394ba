// SPDX-License-Identifier: Apache-2.0

package couchdb

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"unicode/utf8"

	"github.com/whirl-faas/whirl/whisk"
)

// maxDocument is the largest document that is read. It has room for the greatest
// code that OpenWhisk takes, escaped, with the greatest parameters.
const maxDocument = 128 * whisk.MB

// errTooLarge ends a stream of rows: what comes after a document that is not read
// cannot be found.
var errTooLarge = whisk.Errorf(whisk.TooLarge, "the document is too large")

// row is an entry of the answer of _all_docs.
type row struct {
	ID    string          `json:"id"`
	Error string          `json:"error"`
	Doc   json.RawMessage `json:"doc"`
}

// document returns what the row holds, and what is wrong with it.
func (r row) document() (Document, error) {
	doc := Document{ID: r.ID, Body: r.Doc}
	switch {
	case r.Error != "":
		return doc, whisk.Errorf(whisk.Invalid, "CouchDB says of it: %s", r.Error)
	case len(r.Doc) == 0 || r.Doc[0] != '{':
		return doc, whisk.Errorf(whisk.Invalid, "the document is missing; dumps need include_docs=true")
	case !utf8.Valid(r.Doc):
		return doc, whisk.Errorf(whisk.Invalid, "it is not UTF-8")
	}
	return doc, nil
}

func (r row) isDesign() bool { return strings.HasPrefix(r.ID, "_design/") }

// rows yields the rows of an answer of _all_docs as they arrive, each up to a size. An
// error is the last.
func rows(answer io.Reader, limit whisk.Bytes) iter.Seq2[row, error] {
	return func(yield func(row, error) bool) {
		bounded := &boundedReader{from: answer, limit: limit}
		decoder := json.NewDecoder(bounded)
		bounded.grant()
		err := enterRows(decoder)
		for err == nil && decoder.More() {
			bounded.grant()
			var next row
			if err = decoder.Decode(&next); err == nil && !yield(next, nil) {
				return
			}
		}
		if err == nil {
			_, err = decoder.Token() // the bracket, without which it broke off
		}
		if err != nil {
			yield(row{}, err)
		}
	}
}

// enterRows reads up to the first row.
func enterRows(decoder *json.Decoder) error {
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return notRows(err)
	}
	for decoder.More() {
		name, err := decoder.Token()
		if err != nil {
			return err
		}
		if name == "rows" {
			if token, err := decoder.Token(); err != nil || token != json.Delim('[') {
				return notRows(err)
			}
			return nil
		}
		if err := decoder.Decode(new(json.RawMessage)); err != nil {
			return err
		}
	}
	return notRows(nil)
}

func notRows(err error) error {
	if err != nil {
		return fmt.Errorf("read the answer of _all_docs: %w", err)
	}
	return whisk.Errorf(whisk.Invalid, "this is no answer of _all_docs")
}

// boundedReader bounds what is read for one row.
type boundedReader struct {
	from        io.Reader
	limit, left whisk.Bytes
}

// grant allows for one more row.
func (b *boundedReader) grant() { b.left = b.limit }

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLarge
	}
	n, err := b.from.Read(p)
	b.left -= whisk.Bytes(n)
	return n, err
}

// brokeOff reports whether reading rows ended for a reason that may pass.
func brokeOff(err error) bool {
	_, malformed := errors.AsType[*json.SyntaxError](err)
	return malformed || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || whisk.KindOf(err) == whisk.Unavailable
}
