// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/whirl-faas/whirl/controller/apijson"
	"github.com/whirl-faas/whirl/whisk"
)

func answered(text string) stepEnd {
	return stepEnd{response: whisk.Response{Result: json.RawMessage(text), Size: len(text)}}
}

// show makes a line of a step.
func show(s step) string {
	switch s.runs {
	case conductor:
		return "conductor " + string(s.payload)
	case component:
		return s.name.String() + " " + string(s.payload)
	}
	return fmt.Sprintf("%s %s", s.response.Status, s.response.Result)
}

func TestConductorsSay(t *testing.T) {
	const state = `"state":{"s":1}`
	for _, test := range []struct{ what, says, step string }{
		{"a name", `{"action":"a"}`, `/guest/a {}`},
		{"and what it gets", `{"action":"a","params":{"n":1.50}}`, `/guest/a {"n":1.50}`},
		{"no object", `{"action":"a","params":[1]}`, `/guest/a {"value":[1]}`},
		{"null", `{"action":"a","params":null}`, `/guest/a {"value":null}`},
		{"what is no order is lost", `{"action":"a","other":1}`, `/guest/a {}`},
		{"the last of two counts", `{"action":"a","action":"b"}`, `/guest/b {}`},
		{"no name", `{"n":1}`, `success {"n":1}`},
		{"no name, and what comes of it", `{"params":{"n":1},"other":2}`, `success {"n":1}`},
		{"no name, and no object comes of it", `{"params":"x",` + state + `}`, `success {"value":"x"}`},
		{"no name but a state", `{` + state + `}`, `success {"state":{"s":1}}`},
		{"an array", `[{"action":"a"}]`, `success [{"action":"a"}]`},
		{"nothing", ``, `success `},
		{"null is no name", `{"action":null}`, `conductor {"error":"Failed to parse action name from json value null during composition."}`},
		{"nor is an object", `{"action": {"a": [1, 2]}}`, `conductor {"error":"Failed to parse action name from json value {\"a\":[1,2]} during composition."}`},
		{"nor what has other letters", `{"action":"invalid#Action"}`, `conductor {"error":"Failed to parse action name from json value \"invalid#Action\" during composition."}`},
		{"the state stays", `{"action":"","state":{"s":1,"error":2}}`, `conductor {"s":1,"error":2}`},
		{"no state object", `{"action":"","state":[1]}`, `conductor {"error":"Failed to parse action name from json value \"\" during composition.","state":[1]}`},
	} {
		m := &composition{namespace: "guest", limit: 2, phase: deciding, state: json.RawMessage(`{"old":1}`)}
		if got := show(m.next(answered(test.says), counts{conductors: 1})); got != test.step {
			t.Errorf("%s: %s is followed by %s, want %s", test.what, test.says, got, test.step)
		}
	}
}

func TestConductorsAreTold(t *testing.T) {
	name := whisk.FullName{Namespace: "guest", Package: "p", Name: "a"}
	for _, test := range []struct {
		what, state string
		last        stepEnd
		conductors  int
		step        string
	}{
		{"a result", "", answered(`{"n":1}`), 6, `conductor {"n":1}`},
		{"a result under the state", `{"n":2,"s":3}`, answered(`{"n":1,"m":0}`), 6, `conductor {"m":0,"n":2,"s":3}`},
		{"an error", `{"s":3}`, answered(`{"error":"no"}`), 6, `conductor {"error":"no","s":3}`},
		{"an array", `{"s":3}`, answered(`[1]`), 6, `conductor {"value":[1],"s":3}`},
		{"nothing", `{"s":3}`, answered(``), 6, `conductor {"s":3}`},
		{"that it is not there", "", stepEnd{refusal: missing, name: name}, 6, `conductor {"error":"Failed to resolve action with name 'guest/p/a' during composition."}`},
		{"that it is another's", `{"s":3}`, stepEnd{refusal: denied, name: name}, 6, `conductor {"error":"Failed entitlement check for action with name 'guest/p/a' during composition.","s":3}`},
		{"that it is not for use", "", stepEnd{refusal: unusable, name: name, text: "no php here"}, 6, `conductor {"error":"no php here"}`},
		{"too often", "", answered(`{"n":1}`), 7, `application error {"error":"Too many actions in the composition."}`},
		{"too often of what fails", "", stepEnd{refusal: missing, name: name}, 7, `application error {"error":"Too many actions in the composition."}`},
		{"nothing, for it is too much", "", stepEnd{refusal: spent}, 0, `application error {"error":"Too many actions in the composition."}`},
		{"nothing, for the platform failed", "", stepEnd{refusal: failed}, 0, `whisk internal error {"error":"Activation failure during composition."}`},
	} {
		m := &composition{namespace: "guest", limit: 3, phase: following}
		if test.state != "" {
			m.state = json.RawMessage(test.state)
		}
		if got := show(m.next(test.last, counts{conductors: test.conductors})); got != test.step {
			t.Errorf("%s: %s, want %s", test.what, got, test.step)
		}
	}
}

func TestComponentNames(t *testing.T) {
	for text, want := range map[string]string{
		`"a"`: "/guest/a", `"p/a"`: "/guest/p/a", `"/_/a"`: "/guest/a", `"/_/p/a"`: "/guest/p/a", `"_/p/a"`: "/guest/p/a",
		`"/ns/a"`: "/ns/a", `"/ns/p/a"`: "/ns/p/a", `"ns/p/a"`: "/ns/p/a", `"a/"`: "/guest/a", `"p//a"`: "/guest/p/a", `"\u0061"`: "/guest/a",
		`"/a"`: "", `"/a/"`: "", `""`: "", `"/"`: "", `"a/b/c/d"`: "", `"/a/b/c/d"`: "", `"a/#"`: "", `" a"`: "", `1`: "", `null`: "", `["a"]`: "", `{}`: "", `true`: "",
	} {
		name, valid := componentName(json.RawMessage(text), "guest")
		if got := name.String(); valid != (want != "") || valid && got != want {
			t.Errorf("%s is %s (%v), want %s", text, got, valid, want)
		}
	}
}

// happenings is what may come to a composition, by the names of the diagram.
var happenings = map[string]struct {
	last stepEnd
	used counts
	in   []phase
}{
	"begun":     {answered(`{}`), counts{}, []phase{called}},
	"named":     {answered(`{"action":"a"}`), counts{}, []phase{deciding}},
	"misnamed":  {answered(`{"action":"/a"}`), counts{}, []phase{deciding}},
	"crowded":   {answered(`{"action":"a"}`), counts{components: 2}, []phase{deciding}},
	"finished":  {answered(`{"n":1}`), counts{}, []phase{deciding}},
	"answered":  {answered(`{"n":1}`), counts{}, []phase{following}},
	"missing":   {stepEnd{refusal: missing}, counts{}, []phase{following}},
	"denied":    {stepEnd{refusal: denied}, counts{}, []phase{following}},
	"unusable":  {stepEnd{refusal: unusable}, counts{}, []phase{following}},
	"exhausted": {answered(`{"action":1}`), counts{conductors: 5}, []phase{deciding, following}},
	"spent":     {stepEnd{refusal: spent}, counts{}, []phase{deciding, following}},
	"failed":    {stepEnd{refusal: failed}, counts{}, []phase{deciding, following}},
}

// TestCompositionDiagram holds the picture in docs/state-machines.md against the code.
func TestCompositionDiagram(t *testing.T) {
	text, err := os.ReadFile("../docs/state-machines.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n## Composition, as the controller runs it\n")
	if !found {
		t.Fatal("the section is missing")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var drawn, coded []string
	for _, arrow := range regexp.MustCompile(`(?m)^\s*(\w+) --> (\w+): (.+)$`).FindAllStringSubmatch(section, -1) {
		for by := range strings.SplitSeq(arrow[3], ", ") {
			drawn = append(drawn, fmt.Sprintf("%s --> %s: %s", arrow[1], arrow[2], by))
		}
	}
	for by, what := range happenings {
		for _, from := range what.in {
			m := &composition{namespace: "guest", limit: 2, phase: from}
			m.next(what.last, what.used)
			coded = append(coded, fmt.Sprintf("%s --> %s: %s", from, m.phase, by))
		}
	}
	slices.Sort(drawn)
	slices.Sort(coded)
	if !slices.Equal(drawn, coded) {
		t.Errorf("drawn:\n%s\ncoded:\n%s", strings.Join(drawn, "\n"), strings.Join(coded, "\n"))
	}
}

// Whatever conductors and components answer, what they get is an object, and there
// is an end within the limits.
func FuzzComposition(f *testing.F) {
	f.Add([]byte(`{"action":"a","params":{"n":1},"state":{"n":2}}`), []byte(`{"error":"x"}`), uint8(0))
	f.Add([]byte(`{"action":null,"state":"s"}`), []byte(`[1,2]`), uint8(1))
	f.Add([]byte(` { "action" : "/a" , "params" : null } `), []byte(``), uint8(2))
	f.Add([]byte(`{"action":"a","action":1,"state":{"a":1,"a":2}}`), []byte(` {} `), uint8(3))
	f.Add([]byte(`[]`), []byte(`{}`), uint8(4))
	f.Fuzz(func(t *testing.T, says, result []byte, trouble uint8) {
		for _, text := range [][]byte{says, result} {
			if len(text) > 0 && !apijson.IsObject(text) && !(json.Valid(text) && apijson.IsArray(text)) {
				return
			}
		}
		const limit = 3
		m, used, last := &composition{namespace: "guest", limit: limit}, counts{}, answered(string(result))
		for range 3*limit + 2 {
			step := m.next(last, used)
			switch step.runs {
			case nobody:
				if m.phase != over || len(step.response.Result) > 0 && !json.Valid(step.response.Result) {
					t.Errorf("ended while %s with %s", m.phase, step.response.Result)
				}
				return
			case conductor:
				used.conductors++
				last = answered(string(says))
			case component:
				used.components++
				if last = answered(string(result)); refusal(trouble%uint8(spent)) != ran {
					last = stepEnd{refusal: refusal(trouble % uint8(spent)), name: step.name, text: "\xff\""}
				}
				if step.name.Namespace == "" || step.name.Name == "" {
					t.Errorf("the component %v", step.name)
				}
			}
			if text := strings.TrimLeft(string(step.payload), " \t\r\n"); !json.Valid(step.payload) || text[0] != '{' {
				t.Errorf("%s gets %s", show(step), step.payload)
			}
			if used.components > limit || used.conductors > 2*limit+1 {
				t.Errorf("%+v were run", used)
			}
		}
		t.Errorf("there was no end: %+v", used)
	})
}
