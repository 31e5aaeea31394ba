// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"maps"
	"net/url"
	"slices"
	"strings"
)

// Routes are the APIs of a namespace as requests find them: a tree of the segments
// of their paths. The zero Routes lead nowhere.
type Routes struct{ root node }

// node is what a path comes to.
type node struct {
	literals  []branch
	parameter *node
	resource  *Resource // nil if the path of none ends here
}

// branch leads on by a segment.
type branch struct {
	segment string
	to      *node
}

// literal returns where a segment leads that is no parameter, nil for nowhere.
func (n *node) literal(segment string) *node {
	for _, branch := range n.literals {
		if branch.segment == segment {
			return branch.to
		}
	}
	return nil
}

// Resource is what one path offers.
type Resource struct {
	CORS  CORS
	Limit *Spacing // of the API; nil for none

	operations map[string]*Operation // by the method in upper case
}

// Operation returns what a method does, nil if the resource has no such method.
func (r *Resource) Operation(method string) *Operation { return r.operations[method] }

// Add puts an API in. Where two have the same path, what was put in first stays.
// The error is Invalid; what came before it in the document is then there.
func (r *Routes) Add(namespace string, d *Document) error {
	limit, err := d.spacing()
	if err != nil {
		return err
	}
	assembly, err := d.assembly()
	if err != nil {
		return err
	}
	base, cors := d.BasePath(), d.cors()
	paths := d.paths()
	for _, name := range slices.Sorted(maps.Keys(paths)) {
		place, err := r.place(base + name)
		if err != nil {
			return err
		}
		if place.resource == nil {
			place.resource = &Resource{CORS: cors, Limit: limit, operations: map[string]*Operation{}}
		}
		for verb, fields := range operations(objectOf(paths[name])) {
			operation, err := assembly.compile(namespace, fields)
			if err != nil {
				return err
			}
			method := strings.ToUpper(verb)
			if operation != nil && place.resource.operations[method] == nil {
				place.resource.operations[method] = operation
			}
		}
	}
	return nil
}

// place returns the node of a path, and makes it.
func (r *Routes) place(path string) (*node, error) {
	n := &r.root
	for _, segment := range segmentsOf(path) {
		if segment == "" {
			continue
		}
		next, err := n.next(segment)
		if err != nil {
			return nil, err
		}
		n = next
	}
	return n, nil
}

// next returns the node behind a segment of a path in a document, and makes it.
func (n *node) next(segment string) (*node, error) {
	if strings.HasPrefix(segment, "{") && strings.HasSuffix(segment, "}") && strings.Count(segment, "{") == 1 && len(segment) > 2 {
		if n.parameter == nil {
			n.parameter = &node{}
		}
		return n.parameter, nil
	}
	if strings.ContainsAny(segment, "{}") {
		return nil, refused("The path parameter in '%s' is not the whole of what stands between two slashes.", segment)
	}
	text := unescape(segment)
	found := n.literal(text)
	if found == nil {
		found = &node{}
		n.literals = append(n.literals, branch{text, found})
	}
	return found, nil
}

// Find returns the resource that a path means, which is still escaped, and what
// follows that resource in the path. The longest path of a resource counts that
// the path begins with, and of equally long ones that with the literal before that with
// the parameter. It is nil if there is none.
func (r *Routes) Find(path string) (found *Resource, rest string) {
	path = merged("/" + path)
	segments := segmentsOf(path)
	if last := len(segments) - 1; last >= 0 && segments[last] == "" {
		segments = segments[:last]
	}
	found, depth := r.root.find(segments, 0)
	for range depth {
		end := strings.IndexByte(path[1:], '/')
		if end < 0 {
			return found, ""
		}
		path = path[1+end:]
	}
	return found, path
}

// find visits each node below n at most once.
func (n *node) find(segments []string, depth int) (best *Resource, at int) {
	best, at = n.resource, depth
	if len(segments) == 0 {
		return best, at
	}
	next := make([]*node, 0, 2)
	if child := n.literal(unescape(segments[0])); child != nil {
		next = append(next, child)
	}
	if n.parameter != nil {
		next = append(next, n.parameter)
	}
	for _, child := range next {
		if resource, deep := child.find(segments[1:], depth+1); resource != nil && (best == nil || deep > at) {
			best, at = resource, deep
		}
	}
	return best, at
}

// segmentsOf splits a path at its slashes, without the one at its beginning.
func segmentsOf(path string) []string {
	path = strings.TrimPrefix(path, "/")
	if path == "" {
		return nil
	}
	return strings.Split(path, "/")
}

// merged is a path with one slash where there are several in a row.
func merged(path string) string {
	if !strings.Contains(path, "//") {
		return path
	}
	var text strings.Builder
	for i := range len(path) {
		if path[i] != '/' || i == 0 || path[i-1] != '/' {
			text.WriteByte(path[i])
		}
	}
	return text.String()
}

// unescape decodes a segment. What is no escape stands for itself.
func unescape(segment string) string {
	text, err := url.PathUnescape(segment)
	if err != nil {
		return segment
	}
	return text
}

// errNoAction is for an operation whose URL leads elsewhere.
func errNoAction(target string) error {
	return refused("The target-url '%s' is not that of a web action: this gateway leads to nothing else.", target)
}
