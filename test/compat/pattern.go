// SPDX-License-Identifier: Apache-2.0

package compat

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strings"
)

// pattern is JSON that other JSON is held against. An object asks for the
// members that it has, others may be there too, unless it has to match exactly.
// Strings may stand for what is not known before:
//
//	"<any>"             anything
//	"<absent>"          this member must not be there
//	"<id>"              an activation id
//	"<ms>"              a time in milliseconds
//	"<int>"             a whole number, not negative
//	"<text>" "<bool>" "<array>" "<object>"
//	"<~REGEXP>"         a string in which this is found
//	"<id as NAME>"      the same, and from here on $NAME is what was there
//
// An array asks for exactly its elements, unless the first one is
//
//	"<some>"            the other elements are there, in any order, among others
//	"<in order>"        the same, in this order
//	"<set>"             the other elements are there, in any order, and no more
//	"<none>"            none of the other elements is there
//	"<each>"            all that is there is like the other element
//	"<count N>"         there are N elements, whatever they are
type pattern struct {
	want    any
	exactly bool
}

func parsePattern(text string, exactly bool) (pattern, error) {
	var want any
	if err := json.Unmarshal([]byte(text), &want); err != nil {
		return pattern{}, fmt.Errorf("the pattern is no JSON: %w", err)
	}
	return pattern{want, exactly}, nil
}

// against returns what differs in got, by its place, and what the pattern has
// names for.
func (p pattern) against(got any) (differences []string, named map[string]string) {
	m := matcher{exactly: p.exactly, named: map[string]string{}}
	m.match("", p.want, got)
	return m.differences, m.named
}

type matcher struct {
	exactly     bool
	differences []string
	named       map[string]string
}

func (m *matcher) differ(place, format string, args ...any) {
	if place == "" {
		place = "the body"
	}
	m.differences = append(m.differences, strings.TrimPrefix(place, ".")+": "+fmt.Sprintf(format, args...))
}

func (m *matcher) match(place string, want, got any) {
	switch want := want.(type) {
	case map[string]any:
		if got, ok := got.(map[string]any); ok {
			m.matchObject(place, want, got)
			return
		}
	case []any:
		if got, ok := got.([]any); ok {
			m.matchArray(place, want, got)
			return
		}
	case string:
		if stand, name := standIn(want); stand != "" {
			m.matchStandIn(place, stand, name, got)
			return
		}
		if reflect.DeepEqual(want, got) {
			return
		}
	default:
		if reflect.DeepEqual(want, got) {
			return
		}
	}
	m.differ(place, "got %s, want %s", jsonOf(got), jsonOf(want))
}

func (m *matcher) matchObject(place string, want, got map[string]any) {
	for _, key := range slices.Sorted(maps.Keys(want)) {
		value, there := got[key]
		switch {
		case want[key] == "<absent>" && there:
			m.differ(place+"."+key, "is there: %s", jsonOf(value))
		case want[key] == "<absent>":
		case !there:
			m.differ(place+"."+key, "is not there, want %s", jsonOf(want[key]))
		default:
			m.match(place+"."+key, want[key], value)
		}
	}
	if !m.exactly {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(got)) {
		if _, wanted := want[key]; !wanted {
			m.differ(place+"."+key, "is there and should not: %s", jsonOf(got[key]))
		}
	}
}

func (m *matcher) matchArray(place string, want, got []any) {
	if len(want) > 0 {
		switch want[0] {
		case "<some>", "<set>":
			m.matchSome(place, want[1:], slices.Clone(got), want[0] == "<set>")
			return
		case "<in order>":
			m.matchInOrder(place, want[1:], got)
			return
		case "<none>":
			m.matchNone(place, want[1:], got)
			return
		case "<each>":
			for i, one := range got {
				m.match(fmt.Sprintf("%s[%d]", place, i), want[1], one)
			}
			return
		}
	}
	var count int
	if n, _ := fmt.Sscanf(fmt.Sprint(append(want, "")[0]), "<count %d>", &count); n == 1 {
		if len(got) != count {
			m.differ(place, "got %d elements, want %d", len(got), count)
		}
		return
	}
	if len(want) != len(got) {
		m.differ(place, "got %d elements, want %d: %s", len(got), len(want), jsonOf(got))
		return
	}
	for i := range want {
		m.match(fmt.Sprintf("%s[%d]", place, i), want[i], got[i])
	}
}

// like reports whether got is like want, and then keeps what is named.
func (m *matcher) like(want, got any) bool {
	trial := matcher{exactly: m.exactly, named: map[string]string{}}
	trial.match("", want, got)
	if len(trial.differences) > 0 {
		return false
	}
	maps.Copy(m.named, trial.named)
	return true
}

func (m *matcher) matchSome(place string, want, got []any, all bool) {
	for _, one := range want {
		at := slices.IndexFunc(got, func(other any) bool { return m.like(one, other) })
		if at < 0 {
			m.differ(place, "has no %s among what is left: %s", jsonOf(one), jsonOf(got))
			continue
		}
		got = slices.Delete(got, at, at+1)
	}
	if all && len(got) > 0 {
		m.differ(place, "has more than wanted: %s", jsonOf(got))
	}
}

func (m *matcher) matchInOrder(place string, want, got []any) {
	rest := got
	for _, one := range want {
		at := slices.IndexFunc(rest, func(other any) bool { return m.like(one, other) })
		if at < 0 {
			m.differ(place, "has no %s, or not in this order: %s", jsonOf(one), jsonOf(got))
			return
		}
		rest = rest[at+1:]
	}
}

func (m *matcher) matchNone(place string, want, got []any) {
	for _, one := range want {
		if slices.ContainsFunc(got, func(other any) bool { return m.like(one, other) }) {
			m.differ(place, "has %s and should not: %s", jsonOf(one), jsonOf(got))
		}
	}
}

var standInForm = regexp.MustCompile(`^<(any|id|ms|int|text|bool|array|object|~.*?)(?: as ([a-zA-Z]+))?>$`)

// standIn returns what a string of a pattern stands for and the name it gives
// to that; "" if it stands for itself.
func standIn(text string) (stand, name string) {
	match := standInForm.FindStringSubmatch(text)
	if match == nil {
		return "", ""
	}
	return match[1], match[2]
}

var activationID = regexp.MustCompile(`^[0-9a-f]{32}$`)

func (m *matcher) matchStandIn(place, stand, name string, got any) {
	text, isText := got.(string)
	number, isNumber := got.(float64)
	ok := true
	switch stand {
	case "any":
	case "id":
		ok = isText && activationID.MatchString(text)
	case "ms":
		ok = isNumber && number == math.Trunc(number) && number > 1.5e12 && number < 1e13
	case "int":
		ok = isNumber && number == math.Trunc(number) && number >= 0
	case "text":
		ok = isText
	case "bool":
		_, ok = got.(bool)
	case "array":
		_, ok = got.([]any)
	case "object":
		_, ok = got.(map[string]any)
	default: // a regular expression
		form, err := regexp.Compile(stand[1:])
		ok = err == nil && isText && form.MatchString(text)
	}
	switch {
	case !ok:
		m.differ(place, "got %s, want <%s>", jsonOf(got), stand)
	case name != "" && isText:
		m.named[name] = text
	case name != "":
		m.named[name] = jsonOf(got)
	}
}

// jsonOf shows a value, shortened if it is long.
func jsonOf(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return err.Error()
	}
	return shorten(string(text))
}

func shorten(text string) string {
	const longest = 1500
	if len(text) > longest {
		return text[:longest] + fmt.Sprintf("… (%d bytes)", len(text))
	}
	return text
}
