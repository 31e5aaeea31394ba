// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bytes"
	"encoding/json"
	"iter"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/whirl-faas/whirl/controller/apijson"
	"github.com/whirl-faas/whirl/whisk"
)

// MaxDocument is how long a document may be. An action may respond with twice
// that, so that any one API can be read.
const MaxDocument = 512 * whisk.KB

// Routes are in memory: what a document may take of it is bounded.
const (
	maxOperations = 500
	maxSegments   = 32 // of a path, with its base path
	maxSettings   = 32 // of an operation
)

// Document is an API: Swagger 2.0, with the extensions by which OpenWhisk tells
// what its operations do. What nobody here knows about is kept as it came.
type Document struct{ fields object }

type object = map[string]any

// New returns an API without operations. The name may be ""; browsers of other
// origins may call it, as is OpenWhisk's default.
func New(basePath, name string) *Document {
	if name == "" {
		name = basePath
	}
	return &Document{object{
		"swagger":  "2.0",
		"info":     object{"title": name, "version": "1.0.0"},
		"basePath": basePath,
		"paths":    object{},
		configurationKey: object{
			"assembly": object{},
			"cors":     object{"enabled": true},
		},
	}}
}

// Parse reads a document. The error is Invalid if it is no JSON object that any
// reader can take, with a base path, paths and an info.
func Parse(text []byte) (*Document, error) {
	if !apijson.IsObject(text) {
		return nil, whisk.Errorf(whisk.Invalid, "swagger field cannot be parsed. Ensure it is valid JSON.")
	}
	fields, err := decode(text)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"basePath", "paths", "info"} {
		if !truthy(fields[name]) {
			return nil, whisk.Errorf(whisk.Invalid, "swagger is missing the %s field.", name)
		}
	}
	return &Document{fields}, nil
}

// Stored reads a document that [Document.JSON] wrote.
func Stored(text []byte) (*Document, error) {
	fields, err := decode(text)
	return &Document{fields}, err
}

// decode keeps numbers as they are written.
func decode(text []byte) (object, error) {
	var fields object
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&fields); err != nil || fields == nil {
		return nil, whisk.Errorf(whisk.Invalid, "swagger field cannot be parsed. Ensure it is valid JSON.")
	}
	return fields, nil
}

// JSON returns the document's text. The error is TooLarge beyond [MaxDocument].
func (d *Document) JSON() (json.RawMessage, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(d.fields); err != nil {
		return nil, whisk.Errorf(whisk.Invalid, "API swagger generation error: %w", err)
	}
	encoded := bytes.TrimSuffix(text.Bytes(), []byte("\n"))
	if size := whisk.Bytes(len(encoded)); size > MaxDocument {
		return nil, whisk.Errorf(whisk.TooLarge, "The API is larger than allowed: %d > %d bytes.", int64(size), int64(MaxDocument))
	}
	return encoded, nil
}

// BasePath returns the path below which the API's paths are: "/" or with a slash
// at its beginning and none at its end.
func (d *Document) BasePath() string { return BasePath(textOf(d.fields["basePath"])) }

// BasePath returns a base path as [Document.BasePath] writes it.
func BasePath(given string) string {
	return "/" + strings.TrimSuffix(strings.TrimPrefix(given, "/"), "/")
}

// Path returns where an API is served, escaped.
func Path(tenant, basePath string) string {
	path := (&url.URL{Path: "/api/" + tenant + BasePath(basePath)}).EscapedPath()
	return strings.TrimSuffix(path, "/")
}

// Title returns the API's name.
func (d *Document) Title() string { return textOf(objectOf(d.fields["info"])["title"]) }

// TitleOf returns the name of the API of a document that [Document.JSON] wrote,
// without reading all of it.
func TitleOf(text []byte) string {
	var info struct{ Title any }
	for member := range apijson.Members(text) {
		if string(member.Key) == "info" && json.Unmarshal(member.Value, &info) != nil {
			return ""
		}
	}
	return textOf(info.Title)
}

// Empty reports whether the API has no paths.
func (d *Document) Empty() bool { return len(d.paths()) == 0 }

func (d *Document) paths() object { return objectOf(d.fields["paths"]) }

// verbs are those that an operation may have.
var verbs = []string{"delete", "get", "head", "options", "patch", "post", "put"}

// operations yields what a path has of them, in the order of the verbs.
func operations(path object) iter.Seq2[string, object] {
	return func(yield func(string, object) bool) {
		for _, verb := range slices.Sorted(maps.Keys(path)) {
			operation := objectOf(path[verb])
			if operation == nil || isNote(verb) {
				continue
			}
			if !yield(verb, operation) {
				return
			}
		}
	}
}

// isNote reports whether a field of a path is none of its operations.
func isNote(field string) bool {
	return field == "parameters" || field == "description" || field == "summary" || strings.HasPrefix(field, "x-")
}

// The functions that follow look into JSON whose shape nobody has checked. What is
// not of the kind that is asked for is empty.

func objectOf(value any) object {
	fields, _ := value.(object)
	return fields
}

func listOf(value any) []any {
	list, _ := value.([]any)
	return list
}

func textOf(value any) string {
	text, _ := value.(string)
	return text
}

// truthy is what JavaScript, in which OpenWhisk asks, takes for true.
func truthy(value any) bool {
	switch v := value.(type) {
	case nil:
		return false
	case bool:
		return v
	case string:
		return v != ""
	case json.Number:
		n, err := v.Float64()
		return err != nil || n != 0
	}
	return true
}
