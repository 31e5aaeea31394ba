// SPDX-License-Identifier: Apache-2.0

package compat

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"strings"
)

// check returns what is wrong with an answer, and keeps what the pattern names.
func (p *play) check(x exchange, got reply, want *answer) []string {
	differences := checkEvery(x.target, got)
	if want == nil {
		if got.status/100 != 2 {
			differences = append(differences, fmt.Sprintf("status %d, want success", got.status))
		}
		return differences
	}
	if got.status != want.status {
		differences = append(differences, fmt.Sprintf("status %d, want %d", got.status, want.status))
	}
	for _, header := range want.header {
		differences = append(differences, p.checkHeader(x, got, header)...)
	}
	return append(differences, p.checkBody(x, got, want)...)
}

// checkEvery holds an answer to what is true of all answers: a transaction id,
// below /api/v1 the headers that let browsers in, and what the platform describes.
func checkEvery(target string, got reply) (differences []string) {
	if got.header.Get("X-Request-Id") == "" {
		differences = append(differences, "no X-Request-ID")
	}
	if got.wrong != nil {
		differences = append(differences, got.wrong.Error())
	}
	if strings.Contains(target, "/api/v1") && !strings.Contains(target, "/api/v1/web/") && got.status != http.StatusRequestURITooLong {
		for name, want := range map[string]string{
			"Access-Control-Allow-Origin":  "*",
			"Access-Control-Allow-Headers": "Authorization, Origin, X-Requested-With, Content-Type, Accept, User-Agent",
			"Access-Control-Allow-Methods": "GET, DELETE, POST, PUT, HEAD",
		} {
			if value := got.header.Get(name); value != want {
				differences = append(differences, fmt.Sprintf("header %s: got %q, want %q", name, value, want))
			}
		}
	}
	return differences
}

// checkHeader holds a header against a stand-in or its exact value; that of one
// that comes several times is all of them, joined by " | ".
func (p *play) checkHeader(x exchange, got reply, want headerLine) []string {
	p.t.Helper()
	values := got.header.Values(want.name)
	value := strings.Join(values, " | ")
	text := p.expand(x.line, want.value)
	if text == "<absent>" {
		if len(values) > 0 {
			return []string{fmt.Sprintf("header %s is there: %q", want.name, value)}
		}
		return nil
	}
	differences, named := pattern{want: text}.against(value)
	maps.Copy(p.vars, named)
	for i := range differences {
		differences[i] = "header " + want.name + ": " + strings.TrimPrefix(differences[i], "the body: ")
	}
	return differences
}

func (p *play) checkBody(x exchange, got reply, want *answer) []string {
	p.t.Helper()
	text := p.expand(x.line, want.body)
	switch want.kind {
	case bodyJSON, bodyExactly:
		return p.checkJSON(got, text, want.kind == bodyExactly)
	case bodyError:
		return checkError(got, text)
	case bodyText:
		if string(got.body) != text {
			return []string{fmt.Sprintf("the body is not %q", text)}
		}
	case bodyEmpty:
		if len(got.body) > 0 {
			return []string{"the body is not empty"}
		}
	case bodyMatch:
		form, err := regexp.Compile(text)
		if err != nil {
			return []string{err.Error()}
		}
		if !form.Match(got.body) {
			return []string{"nothing in the body matches " + text}
		}
	}
	return nil
}

func (p *play) checkJSON(got reply, text string, exactly bool) (differences []string) {
	wanted, err := parsePattern(text, exactly)
	if err != nil {
		p.t.Fatal(err)
	}
	if kind, _, _ := strings.Cut(got.header.Get("Content-Type"), ";"); kind != "application/json" {
		differences = append(differences, fmt.Sprintf("the content type is %q, want application/json", kind))
	}
	var body any
	if err := json.Unmarshal(got.body, &body); err != nil {
		return append(differences, "the body is no JSON")
	}
	more, named := wanted.against(body)
	maps.Copy(p.vars, named)
	return append(differences, more...)
}

// checkError holds an answer to the one form of errors: the text, and the
// transaction's id as a string.
func checkError(got reply, text string) []string {
	if kind := got.header.Get("Content-Type"); kind != "application/json" {
		return []string{fmt.Sprintf("the content type is %q, want application/json", kind)}
	}
	var body map[string]any
	if err := json.Unmarshal(got.body, &body); err != nil {
		return []string{"the body is no JSON object"}
	}
	want := map[string]any{"error": text, "code": got.header.Get("X-Request-Id")}
	differences, _ := pattern{want, true}.against(body)
	return differences
}
