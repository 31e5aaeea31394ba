// SPDX-License-Identifier: Apache-2.0

package web

import (
	"bytes"
	"iter"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/whirl-faas/whirl/controller/apijson"
)

// Values are pieces of valid JSON, without white space around them. Nil stands
// for a value that is not there.

// kind is what a value is.
type kind int

const (
	absent kind = iota
	null
	boolean
	number
	text
	array
	object
)

func kindOf(value []byte) kind {
	if len(value) == 0 {
		return absent
	}
	switch value[0] {
	case '{':
		return object
	case '[':
		return array
	case '"':
		return text
	case 't', 'f':
		return boolean
	case 'n':
		return null
	}
	return number
}

// fieldsOf returns the members of an object that have these names; other values
// have none. Of several of one name it is the last.
func fieldsOf(value []byte, names ...string) [][]byte {
	fields := make([][]byte, len(names))
	if kindOf(value) != object {
		return fields
	}
	for member := range apijson.Members(value) {
		for i, name := range names {
			if string(member.Key) == name {
				fields[i] = member.Value
			}
		}
	}
	return fields
}

// elements yields the elements of an array.
func elements(value []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		start, depth := 1, 0
		for i := 1; i < len(value); i++ {
			switch value[i] {
			case '"':
				i = endOfString(value, i) - 1
			case '[', '{':
				depth++
				continue
			case '}', ']':
				depth--
			case ',':
			default:
				continue
			}
			if ends := depth < 0 || depth == 0 && value[i] == ','; !ends {
				continue
			}
			element := bytes.TrimSpace(value[start:i])
			if len(element) > 0 && !yield(element) {
				return
			}
			start = i + 1
		}
	}
}

func endOfString(value []byte, i int) int {
	for i++; value[i] != '"'; i++ {
		if value[i] == '\\' {
			i++
		}
	}
	return i + 1
}

// stringOf returns what a string says. Where nothing in it is escaped, that is
// a part of the value itself.
func stringOf(value []byte) []byte {
	quoted := value[1 : len(value)-1]
	if bytes.IndexByte(quoted, '\\') < 0 {
		return quoted
	}
	content := make([]byte, 0, len(quoted))
	for {
		i := bytes.IndexByte(quoted, '\\')
		if i < 0 {
			return append(content, quoted...)
		}
		content = append(content, quoted[:i]...)
		var size int
		content, size = appendEscape(content, quoted[i:])
		quoted = quoted[i+size:]
	}
}

// appendEscape appends what the escape sequence stands for that text begins
// with, and returns its length.
func appendEscape(dst, text []byte) ([]byte, int) {
	switch c := text[1]; c {
	case 'b':
		return append(dst, '\b'), 2
	case 'f':
		return append(dst, '\f'), 2
	case 'n':
		return append(dst, '\n'), 2
	case 'r':
		return append(dst, '\r'), 2
	case 't':
		return append(dst, '\t'), 2
	case 'u':
		r := escapedUnit(text)
		if !utf16.IsSurrogate(r) {
			return utf8.AppendRune(dst, r), 6
		}
		if len(text) >= 12 && text[6] == '\\' && text[7] == 'u' {
			if r = utf16.DecodeRune(r, escapedUnit(text[6:])); r != utf8.RuneError {
				return utf8.AppendRune(dst, r), 12
			}
		}
		return utf8.AppendRune(dst, utf8.RuneError), 6
	default:
		return append(dst, c), 2
	}
}

// escapedUnit reads \uXXXX.
func escapedUnit(text []byte) rune {
	n, _ := strconv.ParseUint(string(text[2:6]), 16, 16) // valid JSON has four digits here
	return rune(n)
}

// pretty returns an object or array as OpenWhisk prints it: members on lines
// of their own, indented by two spaces, elements in a row.
func pretty(value []byte) []byte {
	p := printer{dst: make([]byte, 0, len(value)+len(value)/4+16)}
	for i := 0; i < len(value); i++ {
		switch c := value[i]; c {
		case ' ', '\t', '\r', '\n':
		case '"':
			end := endOfString(value, i)
			p.pad()
			p.dst = append(p.dst, value[i:end]...)
			i = end - 1
		case '{', '[':
			p.open(c)
		case '}', ']':
			p.close(c)
		case ',':
			p.separate()
		case ':':
			p.dst = append(p.dst, ": "...)
		default:
			p.dst = append(p.dst, c)
		}
	}
	return p.dst
}

// printer is pretty on its way through a value.
type printer struct {
	dst    []byte
	within []byte // the opening brackets of what it is in
	indent int    // objects among them
	begun  bool   // the line is still empty
}

// deepest is how many levels are indented. A result may have ten thousand: each
// line of it would be longer than that.
const deepest = 32

func (p *printer) open(bracket byte) {
	p.within = append(p.within, bracket)
	p.dst = append(p.dst, bracket)
	if bracket == '{' {
		p.indent++
		p.line()
	}
}

func (p *printer) close(bracket byte) {
	p.within = p.within[:len(p.within)-1]
	if bracket == '}' {
		p.indent--
		p.line()
		p.pad()
	}
	p.dst = append(p.dst, bracket)
}

func (p *printer) separate() {
	p.dst = append(p.dst, ',')
	if p.within[len(p.within)-1] == '{' {
		p.line()
	} else {
		p.dst = append(p.dst, ' ')
	}
}

func (p *printer) line() {
	p.dst = append(p.dst, '\n')
	p.begun = true
}

// pad indents a line that was begun.
func (p *printer) pad() {
	if !p.begun {
		return
	}
	p.begun = false
	for range min(p.indent, deepest) {
		p.dst = append(p.dst, "  "...)
	}
}
