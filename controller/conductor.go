// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/whirl-faas/whirl/controller/apijson"
	"github.com/whirl-faas/whirl/whisk"
)

// Results of compositions that cannot go on.
const (
	longCompositionText   = "Too many actions in the composition."
	failedCompositionText = "Activation failure during composition."
)

// composition is the program that asks its conductor after each step for the
// next one. The conductor's result may have the members action, the component
// that is to run; params, what it gets; and state, which is laid over what the
// component answers to make the conductor's next input. A result that names no
// action ends the composition. docs/state-machines.md draws it.
//
// What goes wrong with a component is told to the conductor, as its input. There
// may be as many components as in a sequence, and of the conductor's runs twice
// as many and one: so there is one before and one after each, and a second one
// for each that it could not run.
type composition struct {
	namespace string // of names that have none
	limit     int    // of components, those of nested compositions among them

	phase phase
	state json.RawMessage // an object; nil for none
}

// phase is where a composition is.
type phase int

const (
	called    phase = iota // nothing ran yet
	deciding               // the conductor runs
	following              // a component runs
	over
)

func (p phase) String() string { return [...]string{"called", "deciding", "following", "over"}[p] }

func (m *composition) next(last stepEnd, used counts) step {
	switch {
	case last.refusal == failed:
		return m.end(whisk.ErrorResponse(whisk.WhiskError, failedCompositionText))
	case last.refusal == spent:
		return m.end(whisk.ErrorResponse(whisk.ApplicationError, longCompositionText))
	case last.refusal != ran:
		return m.complain(last.complaint(), used)
	case m.phase == deciding:
		return m.follow(last.response, used)
	}
	return m.decide(last.response.Result, used)
}

// decide has the conductor run, unless it did too often.
func (m *composition) decide(input json.RawMessage, used counts) step {
	if used.conductors > 2*m.limit {
		return m.end(whisk.ErrorResponse(whisk.ApplicationError, longCompositionText))
	}
	m.phase = deciding
	input = boxed("value", inputOf(input)) // the state could not be laid over an array
	if m.state != nil {
		input = appendOver(nil, parametersOf(input), m.state, nil)
	}
	return step{runs: conductor, payload: input}
}

// complain is decide with an error for input.
func (m *composition) complain(text string, used counts) step {
	return m.decide(whisk.ErrorResponse(whisk.ApplicationError, text).Result, used)
}

// follow does what the conductor's response says.
func (m *composition) follow(response whisk.Response, used counts) step {
	said := ordersOf(response.Result)
	m.state = boxed("state", said.state)
	params := boxed("value", said.params)
	if said.action == nil {
		if params != nil {
			response.Result, response.Size = params, utf8.RuneCount(params)
		}
		return m.end(response)
	}
	name, valid := componentName(said.action, m.namespace)
	switch {
	case !valid:
		return m.complain(fmt.Sprintf("Failed to parse action name from json value %s during composition.", apijson.Compact(said.action)), used)
	case used.components >= m.limit:
		return m.complain(longCompositionText, used)
	}
	m.phase = following
	return step{runs: component, name: name, payload: inputOf(params)}
}

func (m *composition) end(response whisk.Response) step {
	m.phase = over
	return step{response: response}
}

// complaint is what a conductor is told of a component that was not run.
func (e stepEnd) complaint() string {
	switch e.refusal {
	case denied:
		return fmt.Sprintf("Failed entitlement check for action with name '%s' during composition.", e.name.Path())
	case unusable:
		return e.text
	}
	return fmt.Sprintf("Failed to resolve action with name '%s' during composition.", e.name.Path())
}

// orders is what a conductor's result says, nil for what it does not.
type orders struct{ action, params, state json.RawMessage }

func ordersOf(result json.RawMessage) (o orders) {
	if len(result) == 0 || apijson.IsArray(result) {
		return orders{}
	}
	for member := range apijson.Members(result) {
		switch string(member.Key) {
		case "action":
			o.action = member.Value
		case "params":
			o.params = member.Value
		case "state":
			o.state = member.Value
		}
	}
	return o
}

// boxed makes an object with one member of a value that is none.
func boxed(key string, value json.RawMessage) json.RawMessage {
	if text := bytes.TrimLeft(value, " \t\r\n"); len(text) == 0 || text[0] == '{' {
		return value
	}
	box := append([]byte(`{"`+key+`":`), value...)
	return append(box, '}')
}

// parametersOf returns the members of an object as parameters.
func parametersOf(object []byte) whisk.Parameters {
	var parameters whisk.Parameters
	for member := range apijson.Members(object) {
		parameters = append(parameters, whisk.Parameter{Key: string(member.Key), Value: member.Value})
	}
	return parameters
}

// componentName reads the name of a component as conductors give it: "name" and
// "package/name" are in their own namespace, "/namespace/name" and
// "namespace/package/name", with or without a slash before it, are complete.
func componentName(text json.RawMessage, own string) (whisk.FullName, bool) {
	name, isString := parseString(text)
	if !isString {
		return whisk.FullName{}, false
	}
	parts := len(strings.FieldsFunc(name, func(r rune) bool { return r == '/' }))
	if !strings.HasPrefix(name, "/") && (parts == 1 || parts == 2) {
		name = own + "/" + name
	}
	full, err := whisk.ParseFullName(name, own)
	return full, err == nil
}
