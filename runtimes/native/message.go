// SPDX-License-Identifier: Apache-2.0

package native

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"strings"
)

// runMessage is the body of /run.
type runMessage struct {
	value  json.RawMessage   // the parameters on one line, an object or an array
	fields map[string]string // all other fields that are strings
	whole  []byte            // the whole message on one line
}

func newRunMessage(body []byte) (runMessage, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return runMessage{}, &refusal{http.StatusBadRequest, "Bad request."}
	}
	message := runMessage{whole: oneLine(body), fields: make(map[string]string, len(fields))}
	for name, raw := range fields {
		if name == "value" {
			message.value = oneLine(raw)
		} else if raw[0] == '"' {
			message.fields[name] = textOf(raw)
		}
	}
	switch {
	case len(message.value) == 0 || string(message.value) == "null":
		message.value = json.RawMessage("{}")
	case !isDictionaryOrArray(message.value):
		return runMessage{}, &refusal{http.StatusNotFound, "The action did not receive a dictionary or array as an argument."}
	}
	return message, nil
}

// oneLine returns valid JSON without line breaks. JSON has them only between
// its tokens.
func oneLine(text []byte) []byte {
	if bytes.IndexByte(text, '\n') < 0 {
		return text
	}
	var line bytes.Buffer
	json.Compact(&line, text) // cannot fail, the text is valid
	return line.Bytes()
}

// isDictionaryOrArray reports whether text is one JSON object or array.
func isDictionaryOrArray(text []byte) bool {
	text = bytes.TrimLeft(text, " \t\r\n")
	return len(text) > 0 && (text[0] == '{' || text[0] == '[') && json.Valid(text)
}

// textOf returns a string's content, nothing for null, and other JSON as it is.
func textOf(value json.RawMessage) string {
	var text *string
	if json.Unmarshal(value, &text) != nil {
		return string(value)
	}
	if text == nil {
		return ""
	}
	return *text
}

// environment holds environment variables by name.
type environment map[string]string

func newEnvironment(variables []string) environment {
	env := make(environment, len(variables)+16)
	for _, variable := range variables {
		if name, value, ok := strings.Cut(variable, "="); ok {
			env[name] = value
		}
	}
	return env
}

// with returns the environment of one activation: the fields of /run become
// variables with OpenWhisk's prefix.
func (e environment) with(fields map[string]string) environment {
	out := maps.Clone(e)
	for name, value := range fields {
		out["__OW_"+strings.ToUpper(name)] = value
	}
	return out
}

// list returns the variables as processes take them. One that no process can
// take, for a NUL or an empty name, is left out.
func (e environment) list() []string {
	list := make([]string, 0, len(e))
	for name, value := range e {
		if name != "" && !strings.ContainsAny(name, "=\x00") && !strings.Contains(value, "\x00") {
			list = append(list, name+"="+value)
		}
	}
	return list
}
