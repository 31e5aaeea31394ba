// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"encoding/json"
	"regexp"
	"slices"
)

// A document says in its configuration what the gateway does: an assembly is a
// list of steps, of which one invokes a URL or switches to the steps of the
// operation. Others set headers and parameters of the request before.
//
//	"assembly": {"execute": [
//	  {"set-variable": {"actions": [{"set": "message.headers.NAME", "value": …}]}},
//	  {"operation-switch": {"case": [
//	    {"operations": ["getBooks"], "execute": [{"invoke": {"target-url": …, "verb": "keep"}}]}]}}]}

// The names that the configuration may have. Where a document has both, the
// second counts.
const (
	configurationKey      = "x-ibm-configuration"
	otherConfigurationKey = "x-gateway-configuration"
)

// configuration returns the gateway's part of the document, nil if there is none.
func (d *Document) configuration() object {
	if other := objectOf(d.fields[otherConfigurationKey]); other != nil {
		return other
	}
	return objectOf(d.fields[configurationKey])
}

func (d *Document) steps() []any {
	return listOf(objectOf(d.configuration()["assembly"])["execute"])
}

// operationSwitch returns the step that tells operations apart, nil if there is none.
func (d *Document) operationSwitch() object {
	for _, step := range d.steps() {
		if found := objectOf(objectOf(step)["operation-switch"]); found != nil {
			return found
		}
	}
	return nil
}

// caseOf returns the place in the cases that an operation's has, -1 if it has none.
func caseOf(cases []any, operationID string) int {
	for i, one := range cases {
		for _, id := range listOf(objectOf(one)["operations"]) {
			if id == operationID {
				return i
			}
		}
	}
	return -1
}

// setCase makes steps those of an operation.
func (d *Document) setCase(operationID string, steps []any) {
	chosen := d.operationSwitch()
	if chosen == nil {
		chosen = object{}
		configuration := ensure(d.fields, configurationKey)
		if other := objectOf(d.fields[otherConfigurationKey]); other != nil {
			configuration = other
		}
		assembly := ensure(configuration, "assembly")
		assembly["execute"] = append(listOf(assembly["execute"]), object{"operation-switch": chosen})
	}
	cases := listOf(chosen["case"])
	one := object{"operations": []any{operationID}, "execute": steps}
	if i := caseOf(cases, operationID); i >= 0 {
		cases[i] = one
	} else {
		cases = append(cases, one)
	}
	chosen["case"] = cases
}

// dropCase takes the steps of an operation away.
func (d *Document) dropCase(operationID string) {
	chosen := d.operationSwitch()
	cases := listOf(chosen["case"])
	if i := caseOf(cases, operationID); i >= 0 {
		chosen["case"] = append(cases[:i:i], cases[i+1:]...)
	}
}

// ensure returns the object that a field has, and makes it one.
func ensure(fields object, name string) object {
	inner := objectOf(fields[name])
	if inner == nil {
		inner = object{}
		fields[name] = inner
	}
	return inner
}

// invocation is what the steps of an operation come to.
type invocation struct {
	target string // URL; "" if nothing is invoked
	verb   string // by which it is called; "" or "keep" for that of the request
	sets   []setting
}

// setting is a header or a parameter that the gateway gives to the request.
type setting struct {
	location string // "headers" or "query"
	name     string
	value    string
}

// assembly is what the configuration says, in a form in which operations find what is theirs.
type assembly struct {
	shared invocation       // what holds for all
	cases  map[string][]any // the steps of an operation, by its id
}

func (d *Document) assembly() (assembly, error) {
	a := assembly{cases: map[string][]any{}}
	if err := a.shared.read(d.steps()); err != nil {
		return assembly{}, err
	}
	for _, one := range listOf(d.operationSwitch()["case"]) {
		for _, id := range listOf(objectOf(one)["operations"]) {
			if name := textOf(id); a.cases[name] == nil {
				a.cases[name] = listOf(objectOf(one)["execute"])
			}
		}
	}
	return a, nil
}

// invocationOf reads the steps of an operation: those of all, and its own.
func (a assembly) invocationOf(operation object) (invocation, error) {
	inv := a.shared
	inv.sets = slices.Clip(inv.sets) // so that no operation writes into another's
	err := inv.read(a.cases[textOf(operation["operationId"])])
	return inv, err
}

func (inv *invocation) read(steps []any) error {
	for _, step := range steps {
		if invoke := objectOf(objectOf(step)["invoke"]); invoke != nil {
			inv.target, inv.verb = textOf(invoke["target-url"]), textOf(invoke["verb"])
		}
		for _, action := range listOf(objectOf(objectOf(step)["set-variable"])["actions"]) {
			if err := inv.set(objectOf(action)); err != nil {
				return err
			}
		}
	}
	return nil
}

var variable = regexp.MustCompile(`^message\.(headers|query)\.([^.]+)$`)

// set reads what one action of set-variable sets. One without a value, which
// clients make of a key that they do not have, sets nothing.
func (inv *invocation) set(action object) error {
	value, given := settable(action["value"])
	if !given {
		return nil
	}
	name := textOf(action["set"])
	parts := variable.FindStringSubmatch(name)
	if parts == nil || !isFieldText(parts[2]) || !isFieldText(value) {
		return refused("set-variable cannot set '%s': it sets message.headers.NAME and message.query.NAME to a text of one line.", name)
	}
	if len(inv.sets) == maxSettings {
		return refused("An operation can set %d headers and parameters, no more.", maxSettings)
	}
	inv.sets = append(inv.sets, setting{parts[1], parts[2], value})
	return nil
}

// settable returns a value as the text that it is in a header.
func settable(value any) (string, bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		text, err := json.Marshal(v)
		return string(text), err == nil
	}
	return "", false
}

// isFieldText reports whether a header may have the text.
func isFieldText(text string) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] == 0x7f {
			return false
		}
	}
	return true
}
