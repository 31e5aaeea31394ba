// SPDX-License-Identifier: Apache-2.0

package compat

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// script is one file of cases.
type script struct {
	file    string // without folder and extension
	title   string
	serial  bool // its cases need the namespace for themselves
	wsk     bool // its requests are sent as the wsk command sends them
	lets    []let
	fixture conversation // what all cases find there
	cases   []compatCase
}

// let is a text that stands for another one in the rest of its file.
type let struct{ name, text string }

// compatCase is a conversation that proves rows of the checklist.
type compatCase struct {
	line  int
	rows  []int // of the checklist; none if it proves something beside it
	title string
	conversation
}

type conversation []exchange

// needsOther reports whether a second user takes part.
func (c conversation) needsOther() bool { return c.needs(asOther, "$OTHER") }

// needsBounded reports whether the user with small limits takes part.
func (c conversation) needsBounded() bool { return c.needs(asBounded, "$BOUNDED") }

func (c conversation) needs(who, namespace string) bool {
	return slices.ContainsFunc(c, func(x exchange) bool {
		return x.as == who || strings.Contains(x.target+x.body, namespace)
	})
}

// needsVanity reports whether it takes hosts that namespaces' names stand before.
func (c conversation) needsVanity() bool {
	return slices.ContainsFunc(c, func(x exchange) bool { return strings.Contains(x.header.Get("Host"), "$VANITY") })
}

// exchange is a request and what must be answered.
type exchange struct {
	line   int
	method string
	target string // from the server's root on if it begins with a slash, else below the user's namespace
	header http.Header
	as     string // who asks
	minute bool   // it is sent in a minute in which nothing was counted for the user with small limits
	times  int    // how often, each time with another $I; 0 for once
	body   string

	patient bool    // the answer may take some time to become what it must be
	answer  *answer // of OpenWhisk; nil for any success
	whirl   *answer // where Whirl decided otherwise, else nil
	reason  string  // the row of docs/compatibility.md that tells why
}

// Who asks.
const (
	asUser    = ""
	asOther   = "other"
	asBounded = "bounded"
	asNobody  = "nobody"
)

// answer is what is expected of one.
type answer struct {
	status int
	header []headerLine
	kind   string // of body: one of the words below, or "" if it may be anything
	body   string
}

// headerLine is a header and the pattern of its value.
type headerLine struct{ name, value string }

// What may be said of a body.
const (
	bodyError   = "error"   // an error body with this text
	bodyText    = "text"    // exactly this text
	bodyMatch   = "match"   // something that this regular expression is found in
	bodyEmpty   = "empty"   // nothing
	bodyJSON    = "json"    // JSON that has at least what the pattern has
	bodyExactly = "exactly" // JSON that has what the pattern has, and no more
)

var (
	requestLine = regexp.MustCompile(`^(GET|PUT|POST|DELETE|PATCH|HEAD|OPTIONS) (\S+)$`)
	caseLine    = regexp.MustCompile(`^case (?:\[([0-9 ]+)\] )?(\S.*)$`)
	letLine     = regexp.MustCompile(`^let ([A-Z][A-Z0-9]*) = (\S.*)$`)
	answerLine  = regexp.MustCompile(`^(eventually )?=> (whirl )?(\d{3})( exactly)?(?: \((.+)\))?$`)
	headerForm  = regexp.MustCompile(`^([A-Za-z][A-Za-z-]*):(?: (.*))?$`)
)

// parse reads a file of cases, line by line:
//
//	group TITLE               what the file is about
//	serial                    one case after the other
//	client wsk                send what wsk sends: its headers, and a newline after bodies
//	let NAME = TEXT           from here on, $NAME is TEXT
//	fixture                   begins the requests that are sent before the cases
//	case [ROWS] TITLE         begins a case
//	METHOD TARGET             begins a request; its headers and its body follow
//	as: other, as: nobody     who asks
//	as: bounded               the same: a user with small limits
//	minute: new               wait for a minute in which nothing was counted for the latter
//	times: N                  send it so often, with $I from 1 to N
//	=> STATUS                 begins its answer; its headers and its body follow
//	eventually => STATUS      the same, asked again until it is so
//	=> whirl STATUS (ROW)     what Whirl answers instead, and the row that says why
//	error: TEXT               an error body with this text; \n is a line's end
//	text: TEXT                exactly this body, the same way
//	match: REGEXP             a body in which this is found
//	empty:                    no body
//
// Any other lines are the JSON of a body: [pattern] says how that of an answer
// is read. Blank lines and those that begin with "# " count for nothing.
func parse(file, text string) (script, error) {
	p := parser{script: script{file: file}}
	for i, line := range strings.Split(text, "\n") {
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "# ") {
			continue
		}
		p.line = i + 1
		if err := p.read(line); err != nil {
			return script{}, fmt.Errorf("%s:%d: %w: %s", file, p.line, err, line)
		}
	}
	if p.script.title == "" {
		return script{}, fmt.Errorf("%s: the group has no title", file)
	}
	return p.script, nil
}

// parser is where the reading of a file stands.
type parser struct {
	script script
	line   int
	into   *conversation // that the next request belongs to; nil before the first
	heads  bool          // headers may follow
	reply  *answer       // the answer being read; nil while it is a request
}

func (p *parser) read(line string) error {
	if match := requestLine.FindStringSubmatch(line); match != nil {
		return p.readRequest(match[1], match[2])
	}
	if match := answerLine.FindStringSubmatch(line); match != nil {
		return p.readAnswer(match[1] != "", match[2] != "", match[3], match[4] != "", match[5])
	}
	if match := caseLine.FindStringSubmatch(line); match != nil {
		return p.readCase(match[1], match[2])
	}
	if match := letLine.FindStringSubmatch(line); match != nil {
		p.script.lets = append(p.script.lets, let{match[1], match[2]})
		return nil
	}
	if p.into != nil && len(*p.into) > 0 {
		return p.readPart(line)
	}
	title, isTitle := strings.CutPrefix(line, "group ")
	switch {
	case isTitle:
		p.script.title = title
	case line == "serial":
		p.script.serial = true
	case line == "client wsk":
		p.script.wsk = true
	case line == "fixture":
		p.into = &p.script.fixture
	default:
		return fmt.Errorf("no line of this form can stand here")
	}
	return nil
}

func (p *parser) readCase(rows, title string) error {
	one := compatCase{line: p.line, title: title}
	for word := range strings.FieldsSeq(rows) {
		row, err := strconv.Atoi(word)
		if err != nil {
			return err
		}
		one.rows = append(one.rows, row)
	}
	p.script.cases = append(p.script.cases, one)
	p.into = &p.script.cases[len(p.script.cases)-1].conversation
	return nil
}

func (p *parser) readRequest(method, target string) error {
	if p.into == nil {
		return fmt.Errorf("a request outside of a case")
	}
	*p.into = append(*p.into, exchange{line: p.line, method: method, target: target, header: http.Header{}})
	p.heads, p.reply = true, nil
	return nil
}

func (p *parser) readAnswer(patient, whirl bool, status string, exactly bool, reason string) error {
	if p.into == nil || len(*p.into) == 0 {
		return fmt.Errorf("an answer to no request")
	}
	x := &(*p.into)[len(*p.into)-1]
	p.reply, p.heads = &answer{}, true
	p.reply.status, _ = strconv.Atoi(status)
	if exactly {
		p.reply.kind = bodyExactly
	}
	switch {
	case whirl && (x.answer == nil || x.whirl != nil || reason == ""):
		return fmt.Errorf("Whirl's answer comes after OpenWhisk's, once, and says why")
	case whirl:
		x.whirl, x.reason = p.reply, reason
	case x.answer != nil || reason != "":
		return fmt.Errorf("a second answer to one request")
	default:
		x.answer, x.patient = p.reply, patient
	}
	return nil
}

// readPart reads a line of a request or of an answer that is not its first.
func (p *parser) readPart(line string) error {
	x := &(*p.into)[len(*p.into)-1]
	if match := headerForm.FindStringSubmatch(line); match != nil && p.heads {
		name, value := match[1], match[2]
		switch {
		case p.reply == nil && name == "as" && (value == asOther || value == asBounded || value == asNobody):
			x.as = value
		case p.reply == nil && name == "minute" && value == "new":
			x.minute = true
		case p.reply == nil && name == "times":
			x.times, _ = strconv.Atoi(value)
		case p.reply == nil:
			x.header[http.CanonicalHeaderKey(name)] = append(x.header[http.CanonicalHeaderKey(name)], value)
		case slices.Contains([]string{bodyError, bodyText, bodyMatch, bodyEmpty}, name):
			if name != bodyMatch {
				value = strings.ReplaceAll(value, `\n`, "\n")
			}
			p.reply.kind, p.reply.body, p.heads = name, value, false
		default:
			p.reply.header = append(p.reply.header, headerLine{name, value})
		}
		return nil
	}
	p.heads = false
	switch {
	case p.reply == nil:
		x.body = joined(x.body, line)
	case p.reply.kind == "" || p.reply.kind == bodyJSON || p.reply.kind == bodyExactly:
		if p.reply.kind == "" {
			p.reply.kind = bodyJSON
		}
		p.reply.body = joined(p.reply.body, line)
	default:
		return fmt.Errorf("the body is said already")
	}
	return nil
}

func joined(text, line string) string {
	if text == "" {
		return line
	}
	return text + "\n" + line
}
