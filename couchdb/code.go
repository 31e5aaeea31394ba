// SPDX-License-Identifier: Apache-2.0

package couchdb

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/whirl-faas/whirl/whisk"
)

// Code says where an action's code is. The zero Code is none.
type Code struct {
	there  bool
	binary bool // it is base64 to the API

	doc  Document
	text string // the code as the API has it, unless it is attached
	attachment
}

// attachment is what a document says of code that is not in it.
type attachment struct {
	Name   string `json:"attachmentName"` // "" for none
	Type   string `json:"attachmentType"`
	Length *int64 `json:"length"` // nil if it is not known
	Digest string `json:"digest"` // "sha256-" and hex, or another store's own
}

// code reads where the code is.
func (e execDocument) code(d Document) (Code, error) {
	text := e.Code
	if text == nil {
		text = e.Jar
	}
	code := Code{there: text != nil, doc: d}
	if text == nil {
		return code, nil
	}
	if json.Unmarshal(text, &code.text) == nil {
		code.there = e.Image == "" || strings.TrimSpace(code.text) != ""
		code.binary = whisk.IsBase64(code.text)
		return code, nil
	}
	if json.Unmarshal(text, &code.attachment) != nil || code.Name == "" {
		return Code{}, whisk.Errorf(whisk.Invalid, "its code is neither a string nor an attachment")
	}
	// Jars of old do not say that they are binary.
	code.binary = e.Binary == nil && !strings.HasPrefix(code.Type, "text/")
	if e.Binary != nil {
		code.binary = *e.Binary
	}
	return code, nil
}

// Exists reports whether there is any code.
func (c Code) Exists() bool { return c.there }

// Open opens the code as the API has it: text, or base64. An attachment is read
// from source as the caller reads, and one that turns out damaged is an error at
// its end. The caller closes it.
func (c Code) Open(ctx context.Context, source Source) (io.ReadCloser, error) {
	if c.Name == "" {
		return io.NopCloser(strings.NewReader(c.text)), nil
	}
	content, err := c.open(ctx, source)
	if err != nil {
		return nil, err
	}
	checked := &checkedReader{Reader: content, want: c.attachment, sum: sha256.New()}
	if c.binary {
		return readCloser{&base64Reader{from: checked}, content}, nil
	}
	return readCloser{checked, content}, nil
}

// open opens the content of the attachment. Its name is a URI; one without a scheme
// is a mere name, as there once were no others.
func (c Code) open(ctx context.Context, source Source) (io.ReadCloser, error) {
	scheme, name, isURI := strings.Cut(c.Name, ":")
	if !isURI {
		scheme, name = "couch", c.Name
	}
	switch scheme {
	case "mem":
		content, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(name, "="))
		if err != nil {
			return nil, whisk.Errorf(whisk.Invalid, "its code is damaged: %w", err)
		}
		return io.NopCloser(strings.NewReader(string(content))), nil
	case "couch":
		content, err := source.Attachment(ctx, c.doc, name)
		if err != nil {
			return nil, fmt.Errorf("its code, attachment %s: %w", name, err)
		}
		return content, nil
	}
	return nil, whisk.Errorf(whisk.Invalid, "its code is kept outside of CouchDB, in %s", c.Name)
}

type readCloser struct {
	io.Reader
	io.Closer
}

// checkedReader holds what it reads against what was said of it.
type checkedReader struct {
	io.Reader
	want attachment
	sum  hash.Hash
	size int64
}

func (r *checkedReader) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	r.sum.Write(p[:n])
	r.size += int64(n)
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	if r.want.Length != nil && *r.want.Length != r.size {
		return n, whisk.Errorf(whisk.Invalid, "its code is damaged: %d bytes, not %d", r.size, *r.want.Length)
	}
	want, known := strings.CutPrefix(r.want.Digest, "sha256-")
	if got := hex.EncodeToString(r.sum.Sum(nil)); known && want != got {
		return n, whisk.Errorf(whisk.Invalid, "its code is damaged: its SHA-256 is %s, not %s", got, want)
	}
	return n, err
}

// base64Reader yields in base64 what it reads.
type base64Reader struct {
	from  io.Reader
	ready []byte // encoded, and not read yet
	err   error  // what ended from
	raw   [3 * 4096]byte
	text  [4 * 4096]byte
}

func (r *base64Reader) Read(p []byte) (int, error) {
	if len(r.ready) == 0 && r.err == nil {
		var n int
		n, r.err = io.ReadFull(r.from, r.raw[:])
		if errors.Is(r.err, io.ErrUnexpectedEOF) {
			r.err = io.EOF
		}
		base64.StdEncoding.Encode(r.text[:], r.raw[:n])
		r.ready = r.text[:base64.StdEncoding.EncodedLen(n)]
	}
	if len(r.ready) == 0 {
		return 0, r.err
	}
	n := copy(p, r.ready)
	r.ready = r.ready[n:]
	return n, nil
}
