// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// linksOf returns the rules that a trigger shows, with their actions and states.
func (p *platform) linksOf(trigger string) string {
	p.t.Helper()
	rules, _ := p.must(200, "GET", guest+"/triggers/"+trigger, "").decode(p.t)["rules"].(map[string]any)
	links := map[string]string{}
	for name, link := range rules {
		link := link.(map[string]any)
		action := link["action"].(map[string]any)
		links[name] = fmt.Sprint(action["path"], "/", action["name"], " ", link["status"])
	}
	return fmt.Sprint(links)
}

func (p *platform) ruleStatus(rule string) any {
	p.t.Helper()
	return p.must(200, "GET", guest+"/rules/"+rule, "").decode(p.t)["status"]
}

func TestRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		p.must(200, "PUT", guest+"/triggers/t", "{}")
		p.must(200, "PUT", guest+"/packages/p", "{}")
		p.must(200, "PUT", guest+"/actions/p/a", hello)
		trigger := p.must(200, "GET", guest+"/triggers/t", "").decode(t)
		time.Sleep(time.Second)
		now := time.Now().UnixMilli()
		stored := fmt.Sprintf(`{"namespace":"guest","name":"r","version":"0.0.1","publish":false,"updated":%d,"annotations":[{"key":"k","value":1}],
			"trigger":{"path":"guest","name":"t"},"action":{"path":"guest/p","name":"a"}`, now)
		whole := stored + `,"status":"active"}`
		// As wsk sends it: names that lead nowhere, and an empty state.
		sameJSON(t, p.must(200, "PUT", guest+"/rules/r?overwrite=false", `{"name":"r","status":"","trigger":"/_/t","action":"_/p/a","annotations":[{"key":"k","value":1}]}`).body, whole)
		sameJSON(t, p.must(200, "GET", guest+"/rules/r", "").body, whole)
		sameJSON(t, p.must(200, "GET", guest+"/rules", "").body, "["+stored+"}]")
		sameJSON(t, p.must(200, "GET", guest+"/rules?count=true", "").body, `{"rules":1}`)
		if got := p.must(200, "GET", guest+"/triggers/t", "").decode(t); got["version"] != "0.0.1" || got["updated"] != trigger["updated"] {
			t.Errorf("a rule changed its trigger's version or time: %v", got)
		}
		sameJSON(t, p.must(200, "GET", guest+"/triggers/t", "").body, fmt.Sprintf(`{"namespace":"guest","name":"t","version":"0.0.1","publish":false,"updated":%v,"annotations":[],
			"parameters":[],"limits":{},"rules":{"guest/r":{"action":{"path":"guest/p","name":"a"},"status":"active"}}}`, int64(trigger["updated"].(float64))))

		// As objects of a path and a name, and with an explicit version.
		p.must(200, "PUT", guest+"/rules/s", `{"trigger":{"path":"_","name":"t"},"action":{"path":"guest/p","name":"a"},"version":"1.2","publish":true}`)
		if got := p.must(200, "GET", guest+"/rules/s", "").decode(t); got["version"] != "1.2.0" || got["publish"] != true || fmt.Sprint(got["action"]) != "map[name:a path:guest/p]" {
			t.Errorf("got %v", got)
		}
		deleted := p.must(200, "DELETE", guest+"/rules/r", "").body
		sameJSON(t, deleted, strings.Replace(whole, `"active"`, `"inactive"`, 1))
		if links := p.linksOf("t"); links != "map[guest/s:guest/p/a active]" {
			t.Errorf("the trigger's rules are %s", links)
		}
		p.must(200, "DELETE", guest+"/rules/s", "")
		if got := p.must(200, "GET", guest+"/triggers/t", "").body; !strings.Contains(got, `"rules":{}`) {
			t.Errorf("a trigger that had rules: %s", got)
		}
	})
}

func TestRuleRefusals(t *testing.T) {
	p := newPlatform(t)
	const malformed = "The request content was malformed:\n"
	const incomplete = "rule requires a valid trigger and a valid action"
	const tooShort = malformed + "requirement failed: The fully qualified name of the entity must contain at least the namespace and the name of the entity."
	p.must(200, "PUT", guest+"/triggers/t", "{}")
	p.must(200, "PUT", guest+"/actions/a", hello)
	p.must(200, "PUT", guest+"/packages/p", "{}")
	p.must(200, "PUT", root+"/namespaces/other/packages/private", "{}", asOther())
	for _, row := range []struct {
		body   string
		status int
		text   string
	}{
		{`{}`, 400, incomplete},
		{`{"trigger":"/_/t"}`, 400, incomplete},
		{`{"action":"/_/a","trigger":null}`, 400, incomplete},
		{`{"trigger":"t","action":"/_/a"}`, 400, tooShort},
		{`{"trigger":"/_/","action":"/_/a"}`, 400, tooShort},
		{`{"trigger":"/_/t","action":"/_/p/a/b"}`, 400, malformed + "requirement failed: The fully qualified name of the entity must not have more parts than its namespace, its package and its name."},
		{`{"trigger":"/_/t","action":"/_/a%"}`, 400, malformed + "requirement failed: path contains invalid parts List(_, a%)"},
		{`{"trigger":7,"action":"/_/a"}`, 400, malformed + "fully qualified name malformed"},
		{`{"trigger":{"path":"_"},"action":"/_/a"}`, 400, malformed + "fully qualified name malformed"},
		{`{"trigger":{"path":"_","name":"x/t"},"action":"/_/a"}`, 400, malformed + "fully qualified name malformed"},
		{`{"trigger":{"path":"/","name":"t"},"action":"/_/a"}`, 400, malformed + "fully qualified name malformed"},
		{`{"trigger":"/_/none","action":"/_/a"}`, 400, "trigger /guest/none does not exist"},
		{`{"trigger":"/_/a","action":"/_/a"}`, 400, "trigger /guest/a does not exist"},
		{`{"trigger":"/_/t","action":"/_/none"}`, 400, "action /guest/none does not exist"},
		{`{"trigger":"/_/t","action":"/_/t"}`, 400, "action /guest/t does not exist"},
		{`{"trigger":"/_/t","action":"/_/p/none"}`, 400, "action /guest/p/none does not exist"},
		{`{"trigger":"/_/t","action":"/_/nopkg/a"}`, 404, noSuchResource},
		{`{"trigger":"/other/t","action":"/_/a"}`, 403, "The supplied authentication is not authorized to access 'other/t'."},
		{`{"trigger":"/other/t","action":"/other/a"}`, 403, "The supplied authentication is not authorized to access 'other/a, other/t'."},
		{`{"trigger":"/other/t","action":"/other/private/a"}`, 403, "The supplied authentication is not authorized to access 'other/private'."},
		{`{"annotations":[{"key":"p","value":"` + strings.Repeat("a", 1<<20) + `"}]}`, 413, "annotations larger than allowed: 1048579 > 1048576 bytes."},
	} {
		got := p.do("PUT", guest+"/rules/r", row.body)
		if text := got.decode(t)["error"]; got.status != row.status || text != row.text {
			t.Errorf("PUT %.80s = %d %q, want %d %q", row.body, got.status, text, row.status, row.text)
		}
	}
	if got := p.must(200, "GET", guest+"/rules?count=true", "").body; got != `{"rules":0}` {
		t.Errorf("refused rules are there: %s", got)
	}
	if links := p.linksOf("t"); links != "map[]" {
		t.Errorf("refused rules left the links %s", links)
	}
}

func TestRuleStatus(t *testing.T) {
	p := newPlatform(t)
	p.run()
	p.rules("t", "a")
	set := func(status int, body string) reply { return p.must(status, "POST", guest+"/rules/rule-a", body) }
	for _, state := range []string{"active", "inactive", "inactive", "active"} {
		got := set(200, `{"status":"`+state+`","trigger":null,"action":null}`)
		if got.body != "OK" || !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") {
			t.Errorf("%s: %q %v", state, got.body, got.header)
		}
		if now := p.ruleStatus("rule-a"); now != state {
			t.Errorf("the rule is %v, want %s", now, state)
		}
		want := map[string]int{"active": 202, "inactive": 204}[state]
		p.must(want, "POST", guest+"/triggers/t", "")
	}
	// An update keeps the state, one that makes the rule anew does not.
	set(200, `{"status":"inactive"}`)
	got := p.must(200, "PUT", guest+"/rules/rule-a?overwrite=true", `{"publish":true}`).decode(t)
	if got["status"] != "inactive" || got["version"] != "0.0.2" || got["publish"] != true {
		t.Errorf("updated to %v", got)
	}
	p.must(200, "DELETE", guest+"/rules/rule-a", "")
	if got := p.must(200, "PUT", guest+"/rules/rule-a?overwrite=true", `{"trigger":"/_/t","action":"/_/a"}`).decode(t); got["status"] != "active" || got["version"] != "0.0.1" {
		t.Errorf("made again as %v", got)
	}
}

func TestRuleMovesToAnotherTrigger(t *testing.T) {
	p := newPlatform(t)
	p.rules("t", "a", "b")
	p.must(200, "PUT", guest+"/triggers/u", "{}")
	p.must(200, "POST", guest+"/rules/rule-a", `{"status":"inactive"}`)
	for _, rule := range []string{"rule-a", "rule-b"} {
		p.must(200, "PUT", guest+"/rules/"+rule+"?overwrite=true", `{"trigger":"/_/u","action":"/_/b"}`)
	}
	if links := p.linksOf("t"); links != "map[]" {
		t.Errorf("the former trigger has %s", links)
	}
	if links := p.linksOf("u"); links != "map[guest/rule-a:guest/b inactive guest/rule-b:guest/b active]" {
		t.Errorf("the new trigger has %s", links)
	}
	// The action alone changes the link, too.
	p.must(200, "PUT", guest+"/rules/rule-a?overwrite=true", `{"action":"/_/a"}`)
	if links := p.linksOf("u"); links != "map[guest/rule-a:guest/a inactive guest/rule-b:guest/b active]" {
		t.Errorf("after the action changed the trigger has %s", links)
	}
	p.must(200, "PUT", guest+"/triggers/u?overwrite=true", `{"parameters":[{"key":"x","value":1}]}`)
	if links := p.linksOf("u"); links != "map[guest/rule-a:guest/a inactive guest/rule-b:guest/b active]" {
		t.Errorf("after its update the trigger has %s", links)
	}
}

// What a rule refers to may go; the rule stays, and works again when it is back.
func TestRulesOutliveWhatTheyReferTo(t *testing.T) {
	p := newPlatform(t)
	p.run()
	p.rules("t", "a")
	p.must(200, "DELETE", guest+"/actions/a", "")
	if now := p.ruleStatus("rule-a"); now != "active" {
		t.Errorf("without its action the rule is %v", now)
	}
	p.must(202, "POST", guest+"/triggers/t", "")
	p.walk(t, []step{
		{what: "disable without the action", method: "POST", path: guest + "/rules/rule-a", body: `{"status":"inactive"}`, status: 200},
		{what: "enable without the action", method: "POST", path: guest + "/rules/rule-a", body: `{"status":"active"}`, status: 200},
		{what: "update without the action", method: "PUT", path: guest + "/rules/rule-a?overwrite=true", body: `{}`, status: 400, text: "action /guest/a does not exist"},
		{what: "the action is back", method: "PUT", path: guest + "/actions/a", body: hello, status: 200},
		{what: "the trigger goes", method: "DELETE", path: guest + "/triggers/t", status: 200},
		{what: "disable without the trigger", method: "POST", path: guest + "/rules/rule-a", body: `{"status":"inactive"}`, status: 200},
		{what: "enable without the trigger", method: "POST", path: guest + "/rules/rule-a", body: `{"status":"active"}`, status: 404, text: "Only rules with existing triggers can be activated"},
		{what: "update without the trigger", method: "PUT", path: guest + "/rules/rule-a?overwrite=true", body: `{}`, status: 400, text: "trigger /guest/t does not exist"},
		{what: "the trigger is back", method: "PUT", path: guest + "/triggers/t", body: "{}", status: 200},
		{what: "but nothing is active", method: "POST", path: guest + "/triggers/t", status: 204},
	})
	if now := p.ruleStatus("rule-a"); now != "inactive" {
		t.Errorf("with a new trigger the rule is %v", now)
	}
	p.must(200, "POST", guest+"/rules/rule-a", `{"status":"active"}`)
	p.must(202, "POST", guest+"/triggers/t", "")
	p.must(200, "DELETE", guest+"/triggers/t", "")
	p.must(200, "DELETE", guest+"/rules/rule-a", "")
}

// Many rules of one trigger may be written at once, and none loses its link.
func TestManyRulesOfOneTrigger(t *testing.T) {
	p := newPlatform(t)
	p.rules("t", "a")
	at := func(act func(rule string)) {
		var writers sync.WaitGroup
		for i := range 20 {
			writers.Go(func() { act(fmt.Sprint("r", i)) })
		}
		writers.Wait()
	}
	check := func(what string, count, active int) {
		t.Helper()
		links := p.linksOf("t")
		if got := strings.Count(links, "guest/r"); got != count || strings.Count(links, " active") != active {
			t.Errorf("%s: %d links, want %d with %d active: %s", what, got, count, active, links)
		}
	}
	at(func(rule string) {
		p.do("PUT", guest+"/rules/"+rule, `{"trigger":"/_/t","action":"/_/a"}`)
	})
	check("made", 21, 21)
	at(func(rule string) { p.do("POST", guest+"/rules/"+rule, `{"status":"inactive"}`) })
	check("disabled", 21, 1)
	at(func(rule string) { p.do("DELETE", guest+"/rules/"+rule, "") })
	check("deleted", 1, 1)
}

// Who writes the same rule at the same time as another is told so.
func TestConcurrentWritesOfARule(t *testing.T) {
	for _, test := range []struct {
		what, method, body string
		meanwhile          step
		status             int
		text               string
	}{
		{"update and update", "PUT", `{}`, step{method: "PUT", path: "rules/rule-a?overwrite=true", body: `{"publish":true}`}, 409, "Concurrent modification to resource detected."},
		{"delete and update", "DELETE", ``, step{method: "PUT", path: "rules/rule-a?overwrite=true", body: `{"publish":true}`}, 409, "Concurrent modification to resource detected."},
		{"update and delete", "PUT", `{}`, step{method: "DELETE", path: "rules/rule-a"}, 409, "Concurrent modification to resource detected."},
		{"status and delete", "POST", `{"status":"inactive"}`, step{method: "DELETE", path: "rules/rule-a"}, 409, "Concurrent modification to resource detected."},
		{"update and another rule", "PUT", `{}`, step{method: "POST", path: "rules/rule-b", body: `{"status":"inactive"}`}, 200, ""},
		{"delete and another rule", "DELETE", ``, step{method: "POST", path: "rules/rule-b", body: `{"status":"inactive"}`}, 200, ""},
		{"update and the trigger's end", "PUT", `{}`, step{method: "DELETE", path: "triggers/t"}, 400, "trigger /guest/t does not exist"},
	} {
		t.Run(test.what, func(t *testing.T) {
			p := newPlatform(t)
			p.rules("t", "a", "b")
			raced := false
			p.store.SetFault(func(op string, done bool) error {
				if op == "Commit" && !done && !raced {
					raced = true
					p.must(200, test.meanwhile.method, guest+"/"+test.meanwhile.path, test.meanwhile.body)
				}
				return nil
			})
			p.walk(t, []step{{what: test.what, method: test.method, path: guest + "/rules/rule-a?overwrite=true", body: test.body, status: test.status, text: test.text}})
		})
	}
}
