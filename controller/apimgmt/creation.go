// SPDX-License-Identifier: Apache-2.0

package apimgmt

import (
	"encoding/json"
	"strings"

	"github.com/whirl-faas/whirl/controller/gateway"
	"github.com/whirl-faas/whirl/whisk"
)

// creation is what createApi is asked for: a whole document, or one operation.
type creation struct {
	document *gateway.Document // nil for an operation

	base     string // path or name of the API
	title    string // that it gets if it is made; "" for its base path
	endpoint gateway.Endpoint
}

// readCreation reads the arguments of createApi. The checks come in OpenWhisk's order.
func readCreation(arguments fields, user string) (creation, error) {
	doc, err := readDoc(arguments["apidoc"])
	switch {
	case err != nil:
		return creation{}, err
	case !doc.has("namespace"):
		return creation{}, missing("apidoc is missing the namespace field")
	case doc.has("swagger"):
		return readSwagger(doc)
	}
	for _, name := range []string{"gatewayBasePath", "gatewayPath", "gatewayMethod"} {
		if !doc.has(name) {
			return creation{}, missing("apidoc is missing the " + name + " field")
		}
	}
	if !doc.has("action") {
		return creation{}, missing("apidoc is missing the action field.")
	}
	action := doc.object("action")
	for _, name := range []string{"backendMethod", "backendUrl", "namespace", "name", "authkey"} {
		if !action.has(name) {
			return creation{}, missing("action is missing the " + name + " field.")
		}
	}
	return creation{
		base: doc.text("gatewayBasePath"), title: doc.text("apiName"),
		endpoint: gateway.Endpoint{
			Path: doc.text("gatewayPath"), Verb: doc.text("gatewayMethod"),
			Action:     actionName(action, user),
			BackendURL: action.text("backendUrl"),
			Type:       arguments.text("responsetype"),
			Parameters: doc["pathParameters"],
			SecureKey:  action["secureKey"],
		},
	}, nil
}

// readDoc reads the apidoc, an object or one in a string.
func readDoc(text json.RawMessage) (fields, error) {
	if !(fields{"apidoc": text}).has("apidoc") {
		return nil, missing("apidoc is required.")
	}
	switch text[0] {
	case '{', '[':
	case '"':
		var inner string
		if json.Unmarshal(text, &inner) != nil || !json.Valid([]byte(inner)) {
			return nil, missing("apidoc field cannot be parsed. Ensure it is valid JSON.")
		}
		text = json.RawMessage(inner)
	default:
		return nil, whisk.Errorf(whisk.Invalid, "apidoc field is of type %s and should be a JSON object or a JSON string.", typeOf(text))
	}
	return (fields{"apidoc": text}).object("apidoc"), nil
}

// readSwagger reads a whole API, an object or one in a string.
func readSwagger(doc fields) (creation, error) {
	if doc.has("gatewayBasePath") {
		return creation{}, missing("swagger and gatewayBasePath are mutually exclusive and cannot be specified together.")
	}
	text := doc["swagger"]
	switch text[0] {
	case '{':
	case '"':
		text = json.RawMessage(doc.text("swagger"))
	default:
		return creation{}, whisk.Errorf(whisk.Invalid, "swagger field is %s and should be an object or a JSON string.", typeOf(text))
	}
	document, err := gateway.Parse(text)
	return creation{document: document}, err
}

// actionName is the name of the action, whose field has its package, too.
func actionName(action fields, user string) whisk.FullName {
	name := whisk.FullName{Namespace: action.text("namespace")}
	if name.Namespace == "_" {
		name.Namespace = user
	}
	path := strings.TrimPrefix(action.text("name"), "/")
	if namespaced := strings.SplitN(path, "/", 3); len(namespaced) == 3 {
		path = namespaced[1] + "/" + namespaced[2]
	}
	pkg, simple, packaged := strings.Cut(path, "/")
	if !packaged {
		pkg, simple = "", path
	}
	name.Package, name.Name = pkg, simple
	return name
}

func missing(text string) error { return whisk.Errorf(whisk.Invalid, "%s", text) }

// typeOf is what JavaScript calls the type of a JSON value.
func typeOf(text json.RawMessage) string {
	switch text[0] {
	case '"':
		return "string"
	case 't', 'f':
		return "boolean"
	case '{', '[', 'n':
		return "object"
	}
	return "number"
}

// fields are an object's. What has another type than is asked for is as if it were not there.
type fields map[string]json.RawMessage

// has reports whether a field says anything: more than null, false, 0 or "".
func (f fields) has(name string) bool {
	switch string(f[name]) {
	case "", "null", "false", `""`, "0":
		return false
	}
	return true
}

func (f fields) text(name string) string {
	var text string
	if json.Unmarshal(f[name], &text) != nil {
		var number json.Number
		if json.Unmarshal(f[name], &number) != nil {
			return ""
		}
		return number.String()
	}
	return text
}

func (f fields) object(name string) fields {
	var inner fields
	if json.Unmarshal(f[name], &inner) != nil {
		return nil
	}
	return inner
}
