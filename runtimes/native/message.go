// SPDX-License-Identifier: Apache-2.0

package native

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"strings"

	"github.com/tidwall/gjson"
)

// runMessage is the body of /run.
type runMessage struct {
	value json.RawMessage // the parameters on one line, an object or an array
	whole json.RawMessage // the whole message on one line, an object
}

func newRunMessage(body []byte) (runMessage, error) {
	whole := gjson.ParseBytes(body)
	if !gjson.ValidBytes(body) || !whole.IsObject() && whole.Type != gjson.Null {
		return runMessage{}, &refusal{http.StatusBadRequest, "Bad request."}
	}
	message := runMessage{whole: oneLine(body)}
	whole.ForEach(func(name, value gjson.Result) bool {
		if name.Str == "value" { // the last one counts
			message.value = oneLine([]byte(value.Raw))
		}
		return true
	})
	switch {
	case len(message.value) == 0 || string(message.value) == "null":
		message.value = json.RawMessage("{}")
	case message.value[0] != '{' && message.value[0] != '[':
		return runMessage{}, &refusal{http.StatusNotFound, "The action did not receive a dictionary or array as an argument."}
	}
	return message, nil
}

// fields returns all fields of the message that are strings, but for its value.
func (m runMessage) fields() map[string]string {
	fields := make(map[string]string)
	gjson.ParseBytes(m.whole).ForEach(func(name, value gjson.Result) bool {
		if value.Type == gjson.String && name.Str != "value" {
			fields[name.Str] = value.Str
		} else {
			delete(fields, name.Str) // the last one of a name counts
		}
		return true
	})
	return fields
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
