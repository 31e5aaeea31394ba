// SPDX-License-Identifier: Apache-2.0

// Package apidocstest holds an API to its description: whether a request that was
// accepted, and any answer, is as the documents of package apidocs say. It is
// stricter than they are to clients: what is answered must be described field
// by field.
//
// Tests of the handler check all they send by it, and so does the compatibility
// suite, with the documents that the platform serves.
package apidocstest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/getkin/kin-openapi/openapi2"
	"github.com/getkin/kin-openapi/openapi2conv"
	"github.com/getkin/kin-openapi/openapi3"
)

// Description is what documents say of a server. It does not change, so calls
// may overlap.
type Description struct {
	paths []described
}

// described is a path and what can be done there.
type described struct {
	template string // from the server's root
	segments []string
	open     bool // what follows, and what is answered, is for others than the platform to say
	document *openapi3.T
	item     *openapi3.PathItem
}

// Parse reads documents in the form of Swagger 2.0. The error says what is wrong
// with one.
func Parse(documents ...[]byte) (*Description, error) {
	d := &Description{}
	for _, text := range documents {
		if err := d.add(text); err != nil {
			return nil, err
		}
	}
	// Words come before parameters that stand for any.
	slices.SortFunc(d.paths, func(a, b described) int {
		return cmp.Or(strings.Count(a.template, "{")-strings.Count(b.template, "{"), strings.Compare(a.template, b.template))
	})
	return d, nil
}

func (d *Description) add(text []byte) error {
	var swagger openapi2.T
	if err := json.Unmarshal(text, &swagger); err != nil {
		return fmt.Errorf("the document is no Swagger: %w", err)
	}
	if swagger.Swagger != "2.0" {
		return fmt.Errorf("the document is in the form of Swagger %q", swagger.Swagger)
	}
	converted, err := openapi2conv.ToV3(&swagger)
	if err != nil {
		return fmt.Errorf("make OpenAPI 3 of %s: %w", swagger.Info.Title, err)
	}
	document, err := tighten(converted)
	if err != nil {
		return fmt.Errorf("read %s: %w", swagger.Info.Title, err)
	}
	for path, item := range document.Paths.Map() {
		template := strings.TrimSuffix(swagger.BasePath, "/") + path
		if path == "/" {
			template = swagger.BasePath
		}
		d.paths = append(d.paths, described{template, strings.Split(template, "/"), isOpen(item), document, item})
	}
	return nil
}

// isOpen reports whether no answer of a path is described by its status.
func isOpen(item *openapi3.PathItem) bool {
	for _, operation := range item.Operations() {
		if operation.Responses.Len() > 1 || operation.Responses.Default() == nil {
			return false
		}
	}
	return true
}

// Methods returns the methods of each path, which begins at the server's root and
// has its parameters in braces.
func (d *Description) Methods() map[string][]string {
	methods := map[string][]string{}
	for _, path := range d.paths {
		methods[path.template] = slices.Sorted(maps.Keys(path.item.Operations()))
	}
	return methods
}

// Describes reports whether a request's path is one of those described.
func (d *Description) Describes(path string) bool {
	_, _, found := d.find(path)
	return found
}

// Successes returns for each operation, by its id, the statuses that say that it
// was done. One that is for the action to say, or never can be done, has none.
func (d *Description) Successes() map[string][]int {
	successes := map[string][]int{}
	for _, path := range d.paths {
		for _, operation := range path.item.Operations() {
			for text := range operation.Responses.Map() {
				if status, err := strconv.Atoi(text); err == nil && status < http.StatusBadRequest {
					successes[operation.OperationID] = append(successes[operation.OperationID], status)
				}
			}
		}
	}
	return successes
}

// Operation returns the id of the operation that a request asks for, "" for none.
func (d *Description) Operation(r *http.Request) string {
	if path, _, found := d.find(r.URL.EscapedPath()); found {
		if operation := path.operation(r.Method); operation != nil {
			return operation.OperationID
		}
	}
	return ""
}

// find returns what is described of a path that is still escaped, and the values
// of its parameters. Its segments . and .. are those of any URL.
func (d *Description) find(path string) (described, map[string]string, bool) {
	if address, err := url.ParseRequestURI(path); err == nil && strings.Contains(path, "/.") {
		path = new(url.URL).ResolveReference(address).EscapedPath()
	}
	forms := []string{path}
	if shorter, slash := strings.CutSuffix(path, "/"); slash && len(shorter) > 1 {
		forms = append(forms, shorter) // those of collections may end so
	}
	for _, form := range forms {
		segments := strings.Split(form, "/")
		for _, candidate := range d.paths {
			if values, ok := candidate.match(segments); ok {
				return candidate, values, true
			}
		}
	}
	return described{}, nil, false
}

func (c described) match(segments []string) (map[string]string, bool) {
	if c.open && len(segments) > len(c.segments) {
		segments = segments[:len(c.segments)]
	}
	if len(segments) != len(c.segments) {
		return nil, false
	}
	var values map[string]string
	for i, segment := range segments {
		name, isParameter := strings.CutPrefix(c.segments[i], "{")
		if !isParameter {
			if segment != c.segments[i] {
				return nil, false
			}
			continue
		}
		value, err := url.PathUnescape(segment)
		if err != nil || value == "" {
			return nil, false
		}
		if values == nil {
			values = map[string]string{}
		}
		values[strings.TrimSuffix(name, "}")] = value
	}
	return values, true
}

// tighten returns the document with our own extension resolved, and with nothing
// in answers that is not described. What clients send may have more.
func tighten(document *openapi3.T) (*openapi3.T, error) {
	text, err := document.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var tree map[string]any
	if err := json.Unmarshal(text, &tree); err != nil {
		return nil, err
	}
	closeObjects(tree)
	if text, err = json.Marshal(tree); err != nil {
		return nil, err
	}
	loader := openapi3.NewLoader()
	if document, err = loader.LoadFromData(text); err != nil {
		return nil, err
	}
	return document, document.Validate(context.Background())
}

func closeObjects(node any) {
	switch node := node.(type) {
	case map[string]any:
		if names, given := node["x-anyOf"].([]any); given {
			var choices []any
			for _, name := range names {
				choices = append(choices, map[string]any{"$ref": fmt.Sprint("#/components/schemas/", name)})
			}
			node["anyOf"] = choices
		}
		if _, object := node["properties"].(map[string]any); object && node["additionalProperties"] == nil {
			node["additionalProperties"] = false
		}
		for name, child := range node {
			if !isOfClients(name) {
				closeObjects(child)
			}
		}
	case []any:
		for _, child := range node {
			closeObjects(child)
		}
	}
}

// isOfClients reports whether a part of a document describes what clients send.
func isOfClients(name string) bool {
	return name == "requestBodies" || name == "requestBody" || strings.HasSuffix(name, "Put") || strings.HasSuffix(name, "Post")
}

// operation returns what is described of a method, nil for nothing.
func (c described) operation(method string) *openapi3.Operation {
	return c.item.Operations()[strings.ToUpper(method)]
}

// answersError reports whether a status and what came with it is the platform's
// own complaint, and not an action's words.
func answersError(status int, header http.Header) bool {
	return status >= http.StatusBadRequest && header.Get("X-Openwhisk-Activation-Id") == ""
}
