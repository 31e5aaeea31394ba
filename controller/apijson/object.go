// SPDX-License-Identifier: Apache-2.0

package apijson

import (
	"bytes"
	"encoding/json"
	"iter"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// MaxDepth is how deep what users send may be nested: as deep as in OpenWhisk,
// and not so deep that a runtime's own reader gives up.
const MaxDepth = 1000

// IsObject reports whether text is exactly one valid JSON object in UTF-8 of at
// most [MaxDepth] levels, perhaps with white space around it.
func IsObject(text []byte) bool {
	i := skipSpace(text, 0)
	return i < len(text) && text[i] == '{' && json.Valid(text) && utf8.Valid(text) && !TooDeep(text)
}

// TooDeep reports whether text, which must be valid JSON, is nested more than
// [MaxDepth] levels deep.
func TooDeep(text []byte) bool {
	if bytes.Count(text, []byte("["))+bytes.Count(text, []byte("{")) <= MaxDepth {
		return false
	}
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '"':
			i = skipString(text, i) - 1
		case '[', '{':
			if depth++; depth > MaxDepth {
				return true
			}
		case ']', '}':
			depth--
		}
	}
	return false
}

// Compact returns text, which must be valid JSON, without white space between
// its parts, and with a memory of its own.
func Compact(text []byte) []byte {
	var compact bytes.Buffer
	if err := json.Compact(&compact, text); err != nil {
		panic(err) // the caller vouched for valid JSON
	}
	return compact.Bytes()
}

// IsArray reports whether text, which must be valid JSON, is an array.
func IsArray(text []byte) bool {
	i := skipSpace(text, 0)
	return i < len(text) && text[i] == '['
}

// Member is one member of a JSON object.
type Member struct {
	Key   []byte // decoded
	Text  []byte // of the key and the value, as they stand
	Value []byte // as it stands, without white space around it
}

// Members yields the members of an object at its top level, in order and with
// duplicates. The object must satisfy [IsObject]. The slices share its memory
// where they can.
func Members(object []byte) iter.Seq[Member] {
	return func(yield func(Member) bool) {
		i := skipSpace(object, 0) + 1
		for {
			start := skipSpace(object, i)
			if object[start] == '}' {
				return
			}
			keyEnd := skipString(object, start)
			value := skipSpace(object, skipSpace(object, keyEnd)+1) // past the colon
			end := skipValue(object, value)
			member := Member{
				Key:   decodeKey(object[start:keyEnd]),
				Text:  object[start:end],
				Value: object[value:end],
			}
			if !yield(member) {
				return
			}
			i = skipSpace(object, end)
			if object[i] == ',' {
				i++
			}
		}
	}
}

func decodeKey(quoted []byte) []byte {
	if slices.Contains(quoted, '\\') {
		var key string
		if err := json.Unmarshal(quoted, &key); err != nil {
			panic(err) // the caller vouched for valid JSON
		}
		return []byte(key)
	}
	return quoted[1 : len(quoted)-1]
}

// The skip functions return the index behind what begins at i. They trust that
// the text is valid JSON.

func skipSpace(text []byte, i int) int {
	for i < len(text) && (text[i] == ' ' || text[i] == '\n' || text[i] == '\r' || text[i] == '\t') {
		i++
	}
	return i
}

func skipString(text []byte, i int) int {
	for i++; text[i] != '"'; i++ {
		if text[i] == '\\' {
			i++
		}
	}
	return i + 1
}

func skipValue(text []byte, i int) int {
	depth := 0
	for {
		switch text[i] {
		case '"':
			i = skipString(text, i)
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		default:
			i = skipPlain(text, i)
		}
		if depth == 0 {
			return i
		}
	}
}

// skipPlain skips a number, a word, or what separates values.
func skipPlain(text []byte, i int) int {
	for i++; i < len(text); i++ {
		switch text[i] {
		case '"', '{', '[', '}', ']', ',', ':', ' ', '\n', '\r', '\t':
			return i
		}
	}
	return i
}

// AppendInt appends n.
func AppendInt(dst []byte, n int64) []byte { return strconv.AppendInt(dst, n, 10) }

// AppendMilliseconds appends a duration as a number of milliseconds, to the microsecond.
func AppendMilliseconds(dst []byte, d time.Duration) []byte {
	return strconv.AppendFloat(dst, float64(d.Microseconds())/1000, 'f', -1, 64)
}
