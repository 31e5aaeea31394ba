// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"encoding/json"
	"strings"
	"unicode/utf8"

	"github.com/whirl-faas/whirl/controller/apijson"
	"github.com/whirl-faas/whirl/whisk"
)

// Bodies of requests are read member by member and not into structs:
// encoding/json takes names in any case and joins members of one name, which
// OpenWhisk does not, and its errors speak of Go. Unknown members are
// ignored, of several of one name the last counts, and null stands for nothing.

// entityWrite is what the PUTs of all collections have in common. What one
// leaves out is kept, or gets its default when the entity is new.
type entityWrite struct {
	parameters  whisk.Parameters // nil if there are none, empty if there are to be none
	annotations whisk.Parameters // likewise
	version     *whisk.Version
	publish     *bool
}

// fieldsOf returns the members of a PUT's body that have one of the names, or
// one of those that parseEntityWrite reads.
func fieldsOf(body []byte, names ...string) (map[string]json.RawMessage, error) {
	if err := checkObject(body); err != nil {
		return nil, err
	}
	return membersOf(body, append(names, "parameters", "annotations", "version", "publish")...), nil
}

func parseEntityWrite(fields map[string]json.RawMessage) (write entityWrite, err error) {
	if write.parameters, err = parseParameters(fields, "parameters"); err != nil {
		return entityWrite{}, err
	}
	if write.annotations, err = parseParameters(fields, "annotations"); err != nil {
		return entityWrite{}, err
	}
	if text := fields["publish"]; text != nil && json.Unmarshal(text, &write.publish) != nil {
		return entityWrite{}, errMalformed("'publish' must be a boolean")
	}
	if write.version, err = parseVersion(fields["version"]); err != nil {
		return entityWrite{}, err
	}
	return write, nil
}

// packageWrite is the body of a package's PUT.
type packageWrite struct {
	entityWrite
	binding whisk.FullName // zero if it names none
}

func parsePackageWrite(body []byte, own string) (write packageWrite, err error) {
	fields, err := fieldsOf(body, "binding")
	if err != nil {
		return packageWrite{}, err
	}
	if write.entityWrite, err = parseEntityWrite(fields); err != nil {
		return packageWrite{}, err
	}
	write.binding, err = parseBinding(fields["binding"], own)
	return write, err
}

// parseBinding reads the package that another one is to stand for. An empty
// object names none, as nothing does.
func parseBinding(text json.RawMessage, own string) (whisk.FullName, error) {
	if text == nil || string(apijson.Compact(text)) == "{}" {
		return whisk.FullName{}, nil
	}
	if text[0] != '{' {
		return whisk.FullName{}, errMalformed("'binding' must be an object")
	}
	fields := membersOf(text, "namespace", "name")
	namespace, given := parseString(fields["namespace"])
	name, named := parseString(fields["name"])
	if !given || !named {
		return whisk.FullName{}, errMalformed("'binding' must have a 'namespace' and a 'name'")
	}
	if namespace == "_" {
		namespace = own
	}
	if whisk.CheckName(namespace) != nil || whisk.CheckName(name) != nil {
		return whisk.FullName{}, errMalformed("entity name malformed")
	}
	return whisk.FullName{Namespace: namespace, Name: name}, nil
}

// parseTriggerWrite reads the body of a trigger's PUT.
func parseTriggerWrite(body []byte) (entityWrite, error) {
	fields, err := fieldsOf(body)
	if err != nil {
		return entityWrite{}, err
	}
	return parseEntityWrite(fields)
}

// ruleWrite is the body of a rule's PUT.
type ruleWrite struct {
	entityWrite
	trigger, action whisk.FullName // zero if it names none
}

func parseRuleWrite(body []byte, own string) (write ruleWrite, err error) {
	fields, err := fieldsOf(body, "trigger", "action")
	if err != nil {
		return ruleWrite{}, err
	}
	if write.entityWrite, err = parseEntityWrite(fields); err != nil {
		return ruleWrite{}, err
	}
	if write.trigger, err = parseOptionalName(fields["trigger"], own); err != nil {
		return ruleWrite{}, err
	}
	write.action, err = parseOptionalName(fields["action"], own)
	return write, err
}

// parseStatus reads the state that a rule is to have.
func parseStatus(body []byte) (whisk.RuleStatus, error) {
	if err := checkObject(body); err != nil {
		return "", err
	}
	text := membersOf(body, "status")["status"]
	if text == nil {
		return "", errMalformed("key not found: status")
	}
	given, ok := parseString(text)
	if status := whisk.RuleStatus(given); ok && (status == whisk.Active || status == whisk.Inactive) {
		return status, nil
	}
	if !ok {
		given = string(text)
	}
	return "", errMalformed("requirement failed: %s is not a recognized rule state", given)
}

// parseOptionalName is parseName for what may be missing; it returns the zero name then.
func parseOptionalName(text json.RawMessage, own string) (whisk.FullName, error) {
	if text == nil {
		return whisk.FullName{}, nil
	}
	return parseName(text, own)
}

// parseName reads the name of an entity, which may be a string or an object of
// a path and a name. own is the namespace that "_" stands for.
func parseName(text json.RawMessage, own string) (whisk.FullName, error) {
	path, ok := parseString(text)
	if !ok && text[0] == '{' {
		var name string
		fields := membersOf(text, "path", "name")
		if path, ok = parseString(fields["path"]); ok {
			name, ok = parseString(fields["name"])
		}
		if ok = ok && whisk.CheckName(name) == nil && strings.Trim(path, "/") != ""; ok {
			path += "/" + name
		}
	}
	if !ok {
		return whisk.FullName{}, errMalformed("fully qualified name malformed")
	}
	name, err := whisk.ParseFullName(path, own)
	if err != nil {
		return whisk.FullName{}, errMalformed("%w", err)
	}
	return name, nil
}

// checkObject reports, for the user, why text is no JSON object that could be passed on.
func checkObject(text []byte) error {
	if apijson.IsObject(text) {
		return nil
	}
	if err := json.Unmarshal(text, new(json.RawMessage)); err != nil {
		return errMalformed("%w", err)
	}
	if !utf8.Valid(text) {
		return errMalformed("JSON must be UTF-8")
	}
	if apijson.TooDeep(text) {
		return errMalformed("JSON must not be nested more than %d levels deep", apijson.MaxDepth)
	}
	return errMalformed("Object expected")
}

// membersOf returns the members of an object that have one of the names and are not null.
func membersOf(object []byte, names ...string) map[string]json.RawMessage {
	fields := make(map[string]json.RawMessage, len(names))
	for _, name := range names {
		fields[name] = nil
	}
	for member := range apijson.Members(object) {
		if _, wanted := fields[string(member.Key)]; !wanted {
			continue
		}
		fields[string(member.Key)] = nil
		if string(member.Value) != "null" {
			fields[string(member.Key)] = member.Value
		}
	}
	return fields
}

// parseString returns a string's value, and whether text is one.
func parseString(text json.RawMessage) (value string, ok bool) {
	if text == nil || json.Unmarshal(text, &value) != nil {
		return "", false
	}
	return value, true
}

// parseParameters reads parameters or annotations, and takes white space out of
// their values. It returns nil if they are not there.
func parseParameters(fields map[string]json.RawMessage, name string) (whisk.Parameters, error) {
	if fields[name] == nil {
		return nil, nil
	}
	var parameters whisk.Parameters
	if json.Unmarshal(fields[name], &parameters) != nil {
		return nil, errMalformed("'%s' must be an array of objects, each with a string 'key' and a 'value'", name)
	}
	for i := range parameters {
		parameters[i].Value = apijson.Compact(parameters[i].Value)
	}
	return parameters, nil
}

func parseVersion(text json.RawMessage) (*whisk.Version, error) {
	if text == nil {
		return nil, nil
	}
	given, ok := parseString(text)
	if !ok {
		return nil, errMalformed("'version' must be a string")
	}
	version, err := whisk.ParseVersion(given)
	if err != nil {
		return nil, errMalformed("%w", err)
	}
	return &version, nil
}
