// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/whirl-faas/whirl/controller"
)

// sequence is the body of a PUT for a sequence of these components.
func sequence(components ...string) string {
	list, err := json.Marshal(append([]string{}, components...))
	if err != nil {
		panic(err)
	}
	return `{"exec":{"kind":"sequence","components":` + string(list) + `}}`
}

// put makes actions with code, or sequences of the names after a "=".
func (p *platform) put(actions ...string) {
	p.t.Helper()
	for _, action := range actions {
		name, components, isSequence := strings.Cut(action, "=")
		body := hello
		if isSequence {
			body = sequence(strings.Fields(components)...)
		}
		p.must(200, "PUT", guest+"/actions/"+name+"?overwrite=true", body)
	}
}

func TestSequences(t *testing.T) {
	p := newPlatform(t)
	p.must(200, "PUT", guest+"/packages/p", "{}")
	p.put("a", "p/b")
	const whole = `{"namespace":"guest","name":"s","version":"0.0.1","publish":false,"updated":"<any>","exec":{"kind":"sequence","components":["/guest/a","/guest/p/b","/guest/a"]},
		"annotations":[{"key":"provide-api-key","value":false},{"key":"exec","value":"sequence"}],"limits":{"timeout":60000,"memory":256,"logs":10,"concurrency":1},
		"parameters":[{"key":"_actions","value":["/guest/a","/guest/p/b","/guest/a"]}]}`
	sameJSON(t, p.must(200, "PUT", guest+"/actions/s", `{"exec":{"kind":"Sequence","components":["/_/a","guest/p/b",{"path":"_","name":"a"}]},"parameters":[{"key":"dropped","value":1}]}`).body, whole)
	sameJSON(t, p.must(200, "GET", guest+"/actions/s", "").body, whole)
	sameJSON(t, p.must(200, "GET", guest+"/actions/s?code=false", "").body, whole)
	for _, listed := range p.must(200, "GET", guest+"/actions", "").list(t) {
		if listed["name"] == "s" && (fmt.Sprint(listed["exec"]) != "map[binary:false]" || annotationOf(listed, "exec") != "sequence") {
			t.Errorf("listed as %v", listed)
		}
	}

	update := func(body string) map[string]any {
		return p.must(200, "PUT", guest+"/actions/s?overwrite=true", body).decode(t)
	}
	got := update(`{"parameters":[{"key":"dropped","value":1}],"annotations":[{"key":"x","value":1}],"limits":{"timeout":1000}}`)
	if fmt.Sprint(got["parameters"]) != "[map[key:_actions value:[/guest/a /guest/p/b /guest/a]]]" || annotationOf(got, "x") != 1.0 || got["version"] != "0.0.2" {
		t.Errorf("an update without components: %v", got)
	}
	got = update(`{"exec":{"kind":"sequence","components":["/_/a"]},"delAnnotations":["x"]}`)
	if fmt.Sprint(got["parameters"]) != "[map[key:_actions value:[/guest/a]]]" || annotationOf(got, "x") != 1.0 {
		t.Errorf("an update with components: %v", got)
	}
	got = update(`{"exec":{"kind":"nodejs:20","code":"x"}}`)
	if fmt.Sprint(got["parameters"]) != "[]" || fmt.Sprint(got["exec"]) != "map[binary:false code:x kind:nodejs:20]" || annotationOf(got, "exec") != "nodejs:20" {
		t.Errorf("an update with code: %v", got)
	}
	update(`{"parameters":[{"key":"k","value":1}]}`)
	update(sequence("/_/a"))
	if got = update(`{"exec":{"kind":"nodejs:20","code":"x"},"parameters":[{"key":"l","value":1}]}`); fmt.Sprint(got["parameters"]) != "[map[key:l value:1]]" {
		t.Errorf("an update with code and parameters: %v", got)
	}
	update(sequence("/_/a"))
	if got := p.must(200, "DELETE", guest+"/actions/s", "").decode(t); fmt.Sprint(got["exec"]) != "map[components:[/guest/a] kind:sequence]" {
		t.Errorf("deleted %v", got)
	}
}

func TestSequenceRefusals(t *testing.T) {
	p := newPlatform(t, func(c *controller.Config) { c.Limits.SequenceLength = 4; c.Limits.Code = 100 })
	const malformed = "The request content was malformed:\n"
	const tooShort = malformed + "requirement failed: The fully qualified name of the entity must contain at least the namespace and the name of the entity."
	const tooLong, cyclic, missing = "Too many actions in the sequence.", "Sequence may not refer to itself.", "Sequence component does not exist."
	p.must(200, "PUT", guest+"/packages/p", "{}")
	p.must(200, "PUT", guest+"/packages/bound", `{"binding":{"namespace":"_","name":"p"}}`)
	p.must(200, "PUT", root+"/namespaces/other/packages/private", "{}", asOther())
	p.must(200, "PUT", guest+"/triggers/t", "{}")
	p.put("a", "p/a", "two=/_/a /_/a", "four=/_/two /_/two", "s=/_/a", "p/s=/_/s", "outer=/_/bound/s")
	for _, row := range []struct {
		path, body string
		status     int
		text       string
	}{
		{"x", `{"exec":{"kind":"sequence"}}`, 400, malformed + "'components' must be defined for sequence kind"},
		{"x", `{"exec":{"kind":"sequence","components":"/_/a"}}`, 400, malformed + "'components' must be an array"},
		{"x", `{"exec":{"kind":"sequence","components":{}}}`, 400, malformed + "'components' must be an array"},
		{"x", sequence("/_/"), 400, tooShort}, // an empty list, as wsk sends it
		{"x", sequence("a"), 400, tooShort},
		{"x", `{"exec":{"kind":"sequence","components":[null]}}`, 400, tooShort},
		{"x", `{"exec":{"kind":"sequence","components":[7]}}`, 400, malformed + "fully qualified name malformed"},
		{"x", sequence(), 400, "No component specified for the sequence."},
		{"x", sequence("/_/none"), 400, missing},
		{"x", sequence("/_/p/none"), 400, missing},
		{"x", sequence("/_/bound/none"), 400, missing},
		{"x", sequence("/_/x"), 400, cyclic}, // it would be there when it is run
		{"x", sequence("/_/t"), 409, "Resource by this name exists but is not in this collection."},
		{"x", sequence("/_/nopkg/a"), 404, noSuchResource},
		{"x", sequence("/other/b", "/other/a", "/other/b"), 403, "The supplied authentication is not authorized to access 'other/a, other/b'."},
		{"x", sequence("/_/a", "/other/private/a"), 403, "The supplied authentication is not authorized to access 'other/private'."},
		{"x", sequence("/_/a", "/_/a", "/_/a", "/_/a", "/_/a"), 400, tooLong},
		{"x", sequence("/_/four", "/_/a"), 400, tooLong},
		{"x", sequence("/_/a", "/_/two", "/_/two"), 400, tooLong},
		{"x", sequence("/_/" + strings.Repeat("n", 95)), 413, "exec larger than allowed: 101 > 100 bytes."},
		{"s?overwrite=true", sequence("/_/s"), 400, cyclic},
		{"s?overwrite=true", sequence("/_/p/s"), 400, cyclic},
		{"s?overwrite=true", sequence("/_/outer"), 400, cyclic}, // around by a binding
		{"p/s?overwrite=true", sequence("/_/outer"), 400, cyclic},
		{"a?overwrite=true", sequence("/_/outer"), 400, cyclic}, // an action that becomes a sequence
		{"s", sequence("/_/s"), 409, "resource already exists"},
		{"s", sequence("/other/a"), 403, "The supplied authentication is not authorized to access 'other/a'."},
	} {
		got := p.do("PUT", guest+"/actions/"+row.path, row.body)
		if text := got.decode(t)["error"]; got.status != row.status || text != row.text {
			t.Errorf("PUT %s %.80s = %d %q, want %d %q", row.path, row.body, got.status, text, row.status, row.text)
		}
	}
	p.put("x=/_/four", "deep1=/_/a", "deep2=/_/deep1", "deep3=/_/deep2")
	p.must(200, "PUT", guest+"/actions/s?overwrite=true", sequence("/_/a", "/_/a"))
}
