// SPDX-License-Identifier: Apache-2.0

package couchdb

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"

	"github.com/whirl-faas/whirl/whisk"
)

// Dump is a directory with a file for each database, subjects.json and so on, which
// holds CouchDB's answer to GET /DATABASE/_all_docs?include_docs=true&attachments=true.
type Dump struct{ Dir fs.FS }

// Documents implements [Source].
func (s Dump) Documents(ctx context.Context, database Database) iter.Seq2[Document, error] {
	return func(yield func(Document, error) bool) {
		name := string(database) + ".json"
		file, err := s.Dir.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			err = whisk.Errorf(whisk.NotFound, "there is no file %s", name)
		}
		if err != nil {
			yield(Document{}, err)
			return
		}
		defer file.Close()
		for next, err := range rows(file, maxDocument) {
			if err == nil {
				err = ctx.Err()
			}
			switch {
			case err != nil:
				yield(Document{}, fmt.Errorf("read %s: %w", name, err))
				return
			case next.isDesign():
			case !yield(next.document()):
				return
			}
		}
	}
}

// Attachment implements [Source].
func (s Dump) Attachment(_ context.Context, doc Document, name string) (io.ReadCloser, error) {
	content, err := doc.attached(name)
	if err == nil && content == nil {
		err = whisk.Errorf(whisk.NotFound, "the dump lacks the attachment %s; it needs attachments=true", name)
	}
	if err != nil {
		return nil, err
	}
	return io.NopCloser(bytes.NewReader(content)), nil
}
