// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/whirl-faas/whirl/whisk"
)

// requestPath at the end of a URL stands for the path of the request.
const requestPath = "$(request.path)"

// Endpoint is an operation that is to lead to a web action.
type Endpoint struct {
	Path       string
	Verb       string
	Action     whisk.FullName
	BackendURL string          // of the action, for the protocol and the host in it
	Type       string          // the extension by which the action is called, "" for json
	Parameters json.RawMessage // of the path, in Swagger's terms; nil for none
	SecureKey  json.RawMessage // what the action wants to be shown; nil for nothing
}

// Put adds an operation to the API, or replaces it.
func (d *Document) Put(e Endpoint) error {
	verb := strings.ToLower(e.Verb)
	if e.Type == "" {
		e.Type = "json"
	}
	url, err := e.url()
	if err != nil {
		return err
	}
	path := ensure(ensure(d.fields, "paths"), e.Path)
	id := textOf(objectOf(path[verb])["operationId"])
	if id == "" {
		id = d.freeID(operationID(verb, e.Path))
	}
	operation := object{
		"operationId": id,
		"x-openwhisk": object{"url": url, "namespace": e.Action.Namespace, "package": e.Action.Package, "action": e.Action.Name},
		"responses":   object{"default": object{"description": "Default response"}},
	}
	if parameters, err := decodeAny(e.Parameters); err != nil {
		return err
	} else if parameters != nil {
		operation["parameters"] = parameters
	}
	path[verb] = operation
	return d.putCase(id, url, e)
}

// putCase tells the gateway where the operation leads.
func (d *Document) putCase(id, url string, e Endpoint) error {
	if e.Type == "http" {
		url += requestPath
	}
	steps := []any{object{"invoke": object{"target-url": url, "verb": "keep"}}}
	key, err := decodeAny(e.SecureKey)
	if err != nil {
		return err
	}
	if truthy(key) {
		steps = append(steps, object{"set-variable": object{"actions": []any{
			object{"set": "message.headers.X-Require-Whisk-Auth", "value": key},
		}}})
	}
	d.setCase(id, steps)
	return nil
}

var responseTypes = []string{"html", "http", "json", "svg", "text"}

var webAction = regexp.MustCompile(`^(\w+)://([^/?#]+(?:/[^?#]*)?)/api/v\d/web/`)

// url is that of the web action, on the host that the client knows it by.
func (e *Endpoint) url() (string, error) {
	parts := webAction.FindStringSubmatch(e.BackendURL)
	if parts == nil {
		return "", whisk.Errorf(whisk.Invalid, "API swagger generation error: the backendUrl '%s' is not that of a web action.", e.BackendURL)
	}
	if !slices.Contains(responseTypes, e.Type) {
		return "", whisk.Errorf(whisk.Invalid, "API swagger generation error: the response type '%s' is none of %s.", e.Type, strings.Join(responseTypes, ", "))
	}
	pkg := e.Action.Package
	if pkg == "" {
		pkg = "default"
	}
	return parts[1] + "://" + parts[2] + "/api/v1/web/" + e.Action.Namespace + "/" + pkg + "/" + e.Action.Name + "." + e.Type, nil
}

func decodeAny(text json.RawMessage) (any, error) {
	if text == nil {
		return nil, nil
	}
	fields, err := decode([]byte(`{"value":` + string(text) + `}`))
	return fields["value"], err
}

// operationID is the name of an operation in a document: the verb and the words of
// the path, without what stands between them.
func operationID(verb, path string) string {
	var id strings.Builder
	id.WriteString(strings.ToLower(verb))
	inWord := false
	for _, c := range []byte(path) {
		switch lower := c | 0x20; {
		case 'a' <= lower && lower <= 'z' && inWord:
			id.WriteByte(lower)
		case 'a' <= lower && lower <= 'z':
			id.WriteByte(lower - 0x20)
			inWord = true
		case '0' <= c && c <= '9' || c == '_':
			id.WriteByte(c)
			inWord = true
		case c == '-':
			id.WriteByte(c)
		default:
			inWord = false
		}
	}
	return id.String()
}

// freeID returns id, or with a number behind it one that no operation has: the
// names of paths may differ only in what is left out of them.
func (d *Document) freeID(id string) string {
	taken := map[string]bool{}
	for _, path := range d.paths() {
		for _, operation := range operations(objectOf(path)) {
			taken[textOf(operation["operationId"])] = true
		}
	}
	free := id
	for n := 2; taken[free]; n++ {
		free = id + strconv.Itoa(n)
	}
	return free
}

// Remove takes an operation out of the API, or with the verb "" a path with all
// of its operations. The error is NotFound if there is none.
func (d *Document) Remove(path, verb string) error {
	verb = strings.ToLower(verb)
	fields := objectOf(d.paths()[path])
	switch {
	case verb == "" && fields == nil:
		return whisk.Errorf(whisk.NotFound, "path '%s' does not exist in the API", path)
	case verb != "" && objectOf(fields[verb]) == nil:
		return whisk.Errorf(whisk.NotFound, "path '%s' with operation '%s' does not exist in the API", path, verb)
	}
	for found, operation := range operations(fields) {
		if verb == "" || found == verb {
			d.dropCase(textOf(operation["operationId"]))
			delete(fields, found)
		}
	}
	for range operations(fields) {
		return nil
	}
	delete(d.paths(), path)
	return nil
}
