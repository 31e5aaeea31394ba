// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/whisk"
)

func TestPackages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		now := time.Now().UnixMilli()
		head := fmt.Sprintf(`{"namespace":"guest","name":"p","version":"0.0.1","publish":false,"updated":%d,"annotations":[{"key":"note","value":{"a":[1.0]}}]`, now)
		whole := head + `,"binding":{},"parameters":[{"key":"k","value":"v"}]`
		sameJSON(t, p.must(200, "PUT", guest+"/packages/p?overwrite=false", `{"namespace":"_","name":"else","version":null,"binding":{},
			"parameters":[{"key":"k","value":"v"}],"annotations":[{"key":"note","value":{ "a" : [1.0] }},{"key":"binding","value":"forged"}],"unknown":1}`).body, whole+"}")
		sameJSON(t, p.must(200, "GET", guest+"/packages/p", "").body, whole+`,"actions":[],"feeds":[]}`)
		sameJSON(t, p.must(200, "GET", guest+"/packages", "").body, "["+head+`,"binding":false}]`)

		time.Sleep(time.Second)
		p.must(200, "PUT", guest+"/actions/p/plain", hello)
		p.must(200, "PUT", guest+"/actions/plain", hello)
		time.Sleep(time.Second)
		p.must(200, "PUT", guest+"/actions/p/source", `{"exec":{"kind":"nodejs:20","code":"x"},"annotations":[{"key":"feed","value":false}],"version":"2.0.0"}`)
		sameJSON(t, p.must(200, "GET", guest+"/packages/p", "").body, whole+`,
			"actions":[{"name":"plain","version":"0.0.1","annotations":[{"key":"provide-api-key","value":false},{"key":"exec","value":"nodejs:20"}]}],
			"feeds":[{"name":"source","version":"2.0.0","annotations":[{"key":"feed","value":false},{"key":"provide-api-key","value":false},{"key":"exec","value":"nodejs:20"}]}]}`)

		// Parameters and annotations are replaced as a whole, what is not given is kept.
		got := p.must(200, "PUT", guest+"/packages/p?overwrite=true", `{"publish":true}`).decode(t)
		if got["version"] != "0.0.2" || got["publish"] != true || fmt.Sprint(got["parameters"]) != "[map[key:k value:v]]" || fmt.Sprint(got["annotations"]) != "[map[key:note value:map[a:[1]]]]" || got["actions"] != nil {
			t.Errorf("after the first update: %v", got)
		}
		got = p.must(200, "PUT", guest+"/packages/p?overwrite=true", `{"parameters":[],"annotations":[{"key":"new","value":1}],"version":"3.1"}`).decode(t)
		if got["version"] != "3.1.0" || got["publish"] != true || fmt.Sprint(got["parameters"]) != "[]" || fmt.Sprint(got["annotations"]) != "[map[key:new value:1]]" {
			t.Errorf("after the second update: %v", got)
		}
		sameJSON(t, p.must(200, "GET", guest+"/packages?count=true", "").body, `{"packages":1}`)
		sameJSON(t, p.must(200, "GET", guest+"/packages?count=true&skip=3", "").body, `{"packages":0}`)

		p.walk(t, []step{
			{what: "exists", method: "PUT", path: guest + "/packages/p", body: "{}", status: 409, text: "resource already exists"},
			{what: "not empty", method: "DELETE", path: guest + "/packages/p", status: 409, text: "Package not empty (contains 2 entities). Set force param or delete package contents."},
			{what: "one goes", method: "DELETE", path: guest + "/actions/p/source", status: 200},
			{what: "not empty yet", method: "DELETE", path: guest + "/packages/p?force=false", status: 409, text: "Package not empty (contains 1 entity). Set force param or delete package contents."},
			{what: "by force", method: "DELETE", path: guest + "/packages/p?force=true", status: 200},
			{what: "the action went too", method: "PUT", path: guest + "/packages/p", body: "{}", status: 200},
			{what: "the action went too", method: "GET", path: guest + "/actions/p/plain", status: 404, text: noSuchResource},
			{what: "the other is left", method: "GET", path: guest + "/actions/plain", status: 200},
			{what: "empty", method: "DELETE", path: guest + "/packages/p", status: 200},
		})
	})
}

// A package may hold more than one page of actions, and one may be written while
// they are looked through.
func TestLargePackages(t *testing.T) {
	p := newPlatform(t)
	p.must(200, "PUT", guest+"/packages/p", "{}")
	for i := range 250 {
		p.must(200, "PUT", fmt.Sprintf("%s/actions/p/a%03d", guest, i), hello)
	}
	count := func() int {
		actions, _ := p.must(200, "GET", guest+"/packages/p", "").decode(t)["actions"].([]any)
		return len(actions)
	}
	if n := count(); n != 250 {
		t.Errorf("the package shows %d actions", n)
	}
	pages := 0
	p.store.SetFault(func(op string, done bool) error {
		if op == "List" && done {
			if pages++; pages == 1 {
				time.Sleep(2 * time.Millisecond) // so that it is the newest
				p.must(200, "PUT", guest+"/actions/p/a000?overwrite=true", `{"publish":true}`)
			}
		}
		return nil
	})
	if n := count(); pages != 2 || n != 250 && n != 249 {
		t.Errorf("the package shows %d actions on %d pages", n, pages)
	}
	p.store.SetFault(nil)
	p.walk(t, []step{
		{what: "not empty", method: "DELETE", path: guest + "/packages/p", status: 409, text: "Package not empty (contains 250 entities). Set force param or delete package contents."},
		{what: "by force", method: "DELETE", path: guest + "/packages/p?force=true", status: 200},
	})
	sameJSON(t, p.must(200, "GET", guest+"/actions?count=true", "").body, `{"actions":0}`)
}

func TestPackageRefusals(t *testing.T) {
	p := newPlatform(t)
	const malformed = "The request content was malformed:\n"
	big := strings.Repeat("a", 1<<20)
	p.must(200, "PUT", guest+"/actions/a", hello)
	p.must(200, "PUT", guest+"/packages/p", "{}")
	p.must(200, "PUT", guest+"/packages/b", `{"binding":{"namespace":"_","name":"p"}}`)
	p.must(200, "PUT", root+"/namespaces/other/packages/private", "{}", asOther())
	for _, row := range []struct {
		path, body string
		status     int
		text       string
	}{
		{"x", `[]`, 400, malformed + "Object expected"},
		{"x", `{"binding":"p"}`, 400, malformed + "'binding' must be an object"},
		{"x", `{"binding":{"name":"p"}}`, 400, malformed + "'binding' must have a 'namespace' and a 'name'"},
		{"x", `{"binding":{"namespace":"_","name":"p/q"}}`, 400, malformed + "entity name malformed"},
		{"x", `{"parameters":{}}`, 400, malformed + "'parameters' must be an array of objects, each with a string 'key' and a 'value'"},
		{"x", `{"publish":1}`, 400, malformed + "'publish' must be a boolean"},
		{"x", `{"parameters":[{"key":"p","value":"` + big + `"}]}`, 413, "parameters larger than allowed: 1048579 > 1048576 bytes."},
		{"default", `{"annotations":[{"key":"p","value":"` + big + `"}]}`, 413, "annotations larger than allowed: 1048579 > 1048576 bytes."},
		{"default", `{}`, 400, "Package name 'default' is reserved."},
		{"x", `{"binding":{"namespace":"guest","name":"none"}}`, 400, "Binding references a package that does not exist."},
		{"x", `{"binding":{"namespace":"_","name":"x"}}`, 400, "Binding references a package that does not exist."},
		{"x", `{"binding":{"namespace":"_","name":"a"}}`, 409, "Cannot bind to a resource that is not a package."},
		{"x", `{"binding":{"namespace":"_","name":"b"}}`, 400, "Cannot bind to another package binding."},
		{"x", `{"binding":{"namespace":"other","name":"private"}}`, 403, "The supplied authentication is not authorized to access 'other/private'."},
		{"x", `{"binding":{"namespace":"other","name":"none"}}`, 403, "The supplied authentication is not authorized to access 'other/none'."},
		{"p?overwrite=true", `{"binding":{"namespace":"_","name":"p"}}`, 409, "Resource is a package and cannot be converted into a binding."},
		{"b?overwrite=true", `{"binding":{"namespace":"_","name":"b"}}`, 400, "Cannot bind to another package binding."},
		{"p", `{"binding":{"namespace":"_","name":"p"}}`, 409, "resource already exists"},
		{"p", `{"binding":{"namespace":"_","name":"none"}}`, 400, "Binding references a package that does not exist."},
	} {
		got := p.do("PUT", guest+"/packages/"+row.path, row.body)
		if text := got.decode(t)["error"]; got.status != row.status || text != row.text {
			t.Errorf("PUT %s %.80s = %d %q, want %d %q", row.path, row.body, got.status, text, row.status, row.text)
		}
	}
	if got := p.must(200, "GET", guest+"/packages?count=true", "").body; got != `{"packages":2}` {
		t.Errorf("refused packages are there: %s", got)
	}
}

func TestBindings(t *testing.T) {
	p := newPlatform(t)
	p.run()
	other := root + "/namespaces/other"
	p.must(200, "PUT", other+"/packages/tools", `{"publish":true,"parameters":[{"key":"a","value":"package"},{"key":"b","value":"package"},{"key":"c","value":"package"},{"key":"d","value":"package"}]}`, asOther())
	p.must(200, "PUT", other+"/actions/tools/echo", `{"exec":{"kind":"nodejs:20","code":"x"},"parameters":[{"key":"c","value":"action"},{"key":"d","value":"action"}]}`, asOther())
	bound := p.must(200, "PUT", guest+"/packages/t", `{"binding":{"namespace":"other","name":"tools"},"parameters":[{"key":"b","value":"binding"},{"key":"e","value":"binding"}]}`).body
	sameJSON(t, bound, `{"namespace":"guest","name":"t","version":"0.0.1","publish":false,"updated":"<any>","binding":{"namespace":"other","name":"tools"},
		"annotations":[{"key":"binding","value":{"namespace":"other","name":"tools"}}],"parameters":[{"key":"b","value":"binding"},{"key":"e","value":"binding"}]}`)
	const content = `"actions":[{"name":"echo","version":"0.0.1","annotations":[{"key":"provide-api-key","value":false},{"key":"exec","value":"nodejs:20"}]}],"feeds":[]`
	sameJSON(t, p.must(200, "GET", guest+"/packages/t", "").body, `{"namespace":"guest","name":"t","version":"0.0.1","publish":false,"updated":"<any>","binding":{"namespace":"other","name":"tools"},
		"annotations":[{"key":"binding","value":{"namespace":"other","name":"tools"}}],
		"parameters":[{"key":"a","value":"package"},{"key":"b","value":"binding"},{"key":"c","value":"package"},{"key":"d","value":"package"},{"key":"e","value":"binding"}],`+content+"}")
	sameJSON(t, p.must(200, "GET", guest+"/packages", "").body, `[{"namespace":"guest","name":"t","version":"0.0.1","publish":false,"updated":"<any>",
		"annotations":[{"key":"binding","value":{"namespace":"other","name":"tools"}}],"binding":{"namespace":"other","name":"tools"}}]`)

	// The actions keep the name of their own namespace, and show the parameters that they will have.
	const action = `{"namespace":"other/tools","name":"echo","version":"0.0.1","publish":false,"updated":"<any>","exec":{"kind":"nodejs:20",%s"binary":false},
		"annotations":[{"key":"provide-api-key","value":false},{"key":"exec","value":"nodejs:20"}],"limits":{"timeout":60000,"memory":256,"logs":10,"concurrency":1},
		"parameters":[{"key":"a","value":"package"},{"key":"b","value":"%s"},{"key":"c","value":"action"},{"key":"d","value":"action"}%s]`
	sameJSON(t, p.must(200, "GET", guest+"/actions/t/echo", "").body, fmt.Sprintf(action, `"code":"x",`, "binding", `,{"key":"e","value":"binding"}`)+"}")
	sameJSON(t, p.must(200, "GET", guest+"/actions/t/echo?code=false", "").body, fmt.Sprintf(action, "", "binding", `,{"key":"e","value":"binding"}`)+`,"binding":"guest/t"}`)
	sameJSON(t, p.must(200, "GET", other+"/actions/tools/echo?code=false", "").body, fmt.Sprintf(action, "", "package", "")+"}")
	list := p.must(200, "GET", guest+"/actions/t/", "").list(t)
	if len(list) != 1 || list[0]["namespace"] != "other/tools" || list[0]["name"] != "echo" {
		t.Errorf("the actions of the binding are %v", list)
	}
	sameJSON(t, p.must(200, "GET", guest+"/actions/t/?count=true", "").body, `{"actions":1}`)
	sameJSON(t, p.must(200, "GET", guest+"/actions", "").body, `[]`)

	var run controllertest.RunBody
	var key whisk.ActionKey
	p.balancer.Run = func(_ context.Context, inv *whisk.Invocation, body controllertest.RunBody) whisk.Outcome {
		run, key = body, inv.Key
		return controllertest.Outcome(inv, whisk.Response{Result: body.Value})
	}
	for _, query := range []string{"", "?blocking=true"} {
		answer := p.do("POST", guest+"/actions/t/echo"+query, `{"d":"payload"}`)
		id := answer.header.Get("x-openwhisk-activation-id")
		record := p.recordOf(t, id)
		sameJSON(t, string(run.Value), `{"a":"package","b":"binding","c":"action","d":"payload","e":"binding"}`)
		if run.Namespace != "guest" || run.ActionName != "/other/tools/echo" || key.Namespace != "guest" || key.Action.Namespace != "other" || key.Revision == 0 {
			t.Errorf("run %+v for %+v", run, key)
		}
		if record["namespace"] != "guest" || record["name"] != "echo" || annotationOf(record, "path") != "other/tools/echo" || annotationOf(record, "binding") != "guest/t" {
			t.Errorf("record %v", record)
		}
	}
	sameJSON(t, p.must(200, "GET", guest+"/activations?name=t/echo&count=true", "").body, `{"activations":2}`)
	sameJSON(t, p.must(200, "GET", guest+"/activations?name=tools/echo&count=true", "").body, `{"activations":0}`)
	sameJSON(t, p.must(200, "GET", other+"/activations?count=true", "", asOther()).body, `{"activations":0}`)

	// Without the binding, by the name of the public package.
	answer := p.must(200, "POST", other+"/actions/tools/echo?blocking=true", "")
	record := p.recordOf(t, answer.header.Get("x-openwhisk-activation-id"))
	sameJSON(t, string(run.Value), `{"a":"package","b":"package","c":"action","d":"action"}`)
	if record["namespace"] != "guest" || annotationOf(record, "path") != "other/tools/echo" || annotationOf(record, "binding") != nil {
		t.Errorf("record %v", record)
	}
}

// What a call gets follows changes of packages at once, from both sides.
func TestChangesOfPackagesReachCalls(t *testing.T) {
	p := newPlatform(t)
	p.run()
	var value json.RawMessage
	p.balancer.Run = func(_ context.Context, inv *whisk.Invocation, run controllertest.RunBody) whisk.Outcome {
		value = run.Value
		return controllertest.Outcome(inv, whisk.Response{Result: run.Value})
	}
	p.must(200, "PUT", guest+"/packages/p", "{}")
	p.must(200, "PUT", guest+"/actions/p/a", hello)
	p.must(200, "PUT", guest+"/packages/b", `{"binding":{"namespace":"_","name":"p"}}`)
	for _, change := range []struct{ path, body, plain, bound string }{
		{"packages/p", `{}`, `{}`, `{}`},
		{"packages/p", `{"parameters":[{"key":"x","value":1},{"key":"y","value":1}]}`, `{"x":1,"y":1}`, `{"x":1,"y":1}`},
		{"packages/b", `{"parameters":[{"key":"x","value":2}]}`, `{"x":1,"y":1}`, `{"x":2,"y":1}`},
		{"actions/p/a", `{"parameters":[{"key":"y","value":3}]}`, `{"x":1,"y":3}`, `{"x":2,"y":3}`},
		{"packages/p", `{"parameters":[{"key":"z","value":4}]}`, `{"z":4,"y":3}`, `{"z":4,"x":2,"y":3}`},
		{"packages/b", `{"parameters":[]}`, `{"z":4,"y":3}`, `{"z":4,"y":3}`},
	} {
		p.must(200, "PUT", guest+"/"+change.path+"?overwrite=true", change.body)
		for range 2 { // once from the store, once from the cache
			p.must(200, "POST", guest+"/actions/p/a?blocking=true", "")
			sameJSON(t, string(value), change.plain)
			p.must(200, "POST", guest+"/actions/b/a?blocking=true", "")
			sameJSON(t, string(value), change.bound)
		}
	}
	p.must(200, "DELETE", guest+"/packages/p?force=true", "")
	p.walk(t, []step{
		{what: "invoke in a package that is gone", method: "POST", path: guest + "/actions/p/a", status: 404, text: noSuchResource},
		{what: "invoke through a dangling binding", method: "POST", path: guest + "/actions/b/a", status: 404, text: noSuchResource},
		{what: "dangling binding", method: "GET", path: guest + "/packages/b", status: 404, text: "The requested resource 'guest/b' does not exist."},
		{what: "list of a dangling binding", method: "GET", path: guest + "/actions/b/", status: 404, text: noSuchResource},
		{what: "delete of a dangling binding", method: "DELETE", path: guest + "/packages/b", status: 200},
	})
}

func TestFinalParametersThroughPackages(t *testing.T) {
	p := newPlatform(t)
	p.run()
	p.must(200, "PUT", guest+"/packages/p", `{"parameters":[{"key":"fixed","value":1},{"key":"open","value":null}]}`)
	p.must(200, "PUT", guest+"/packages/b", `{"binding":{"namespace":"_","name":"p"},"parameters":[{"key":"bound","value":2}]}`)
	p.must(200, "PUT", guest+"/actions/p/a", `{"exec":{"kind":"nodejs:20","code":"x"},"parameters":[{"key":"secret","value":"s","init":true}],"annotations":[{"key":"final","value":true}]}`)
	const refused = "Request defines parameters that are not allowed (e.g., reserved properties)."
	p.walk(t, []step{
		{what: "a package's", method: "POST", path: guest + "/actions/p/a?blocking=true", body: `{"fixed":2}`, status: 400, text: refused},
		{what: "a package's that is null", method: "POST", path: guest + "/actions/p/a?blocking=true", body: `{"open":2}`, status: 200},
		{what: "the action's", method: "POST", path: guest + "/actions/p/a?blocking=true", body: `{"secret":2}`, status: 400, text: refused},
		{what: "another binding's", method: "POST", path: guest + "/actions/p/a?blocking=true", body: `{"bound":2}`, status: 200},
		{what: "the binding's", method: "POST", path: guest + "/actions/b/a?blocking=true", body: `{"bound":2}`, status: 400, text: refused},
	})
}

func TestAccessToPackages(t *testing.T) {
	p := newPlatform(t)
	p.run()
	other := root + "/namespaces/other"
	for name, body := range map[string]string{"public": `{"publish":true}`, "private": `{}`} {
		p.must(200, "PUT", other+"/packages/"+name, body, asOther())
		p.must(200, "PUT", other+"/actions/"+name+"/a", hello, asOther())
	}
	p.must(200, "PUT", other+"/packages/bound", `{"publish":true,"binding":{"namespace":"_","name":"public"}}`, asOther())
	p.must(200, "PUT", other+"/actions/alone", hello, asOther())
	p.must(200, "PUT", guest+"/packages/b", `{"binding":{"namespace":"other","name":"public"}}`)
	const denied = "The supplied authentication is not authorized to access '%s'."
	refused := func(what string) string { return fmt.Sprintf(denied, what) }
	steps := []step{
		{what: "get", method: "GET", path: other + "/packages/public", status: 200},
		{what: "get an action", method: "GET", path: other + "/actions/public/a", status: 200},
		{what: "invoke", method: "POST", path: other + "/actions/public/a", status: 202},
		{what: "list", method: "GET", path: other + "/actions/public/", status: 200},
		{what: "missing action", method: "GET", path: other + "/actions/public/none", status: 404, text: noSuchResource},
		{what: "delete", method: "DELETE", path: other + "/packages/public", status: 403, text: refused("other/public")},
		{what: "put an action", method: "PUT", path: other + "/actions/public/a", body: hello, status: 403, text: refused("other/public/a")},
		{what: "delete an action", method: "DELETE", path: other + "/actions/public/a", status: 403, text: refused("other/public/a")},
		{what: "invoke an action alone", method: "POST", path: other + "/actions/alone", status: 403, text: refused("other/alone")},
		{what: "put through a binding", method: "PUT", path: guest + "/actions/b/a", body: "{", status: 400, text: "Operation not permitted on package binding."},
		{what: "delete through a binding", method: "DELETE", path: guest + "/actions/b/a", status: 400, text: "Operation not permitted on package binding."},
		{what: "put into nothing", method: "PUT", path: guest + "/actions/none/a", body: "{", status: 404, text: noSuchResource},
	}
	for _, name := range []string{"private", "bound", "none"} {
		steps = append(steps,
			step{what: "get " + name, method: "GET", path: other + "/packages/" + name, status: 403, text: refused("other/" + name)},
			step{what: "get an action of " + name, method: "GET", path: other + "/actions/" + name + "/a?code=maybe", status: 403, text: refused("other/" + name)},
			step{what: "invoke in " + name, method: "POST", path: other + "/actions/" + name + "/a", body: strings.Repeat(" ", 2<<20), status: 403, text: refused("other/" + name)},
			step{what: "list " + name, method: "GET", path: other + "/actions/" + name + "/?limit=x", status: 403, text: refused("other/" + name)},
		)
	}
	p.walk(t, steps)

	list := p.must(200, "GET", other+"/packages", "").list(t)
	if len(list) != 1 || list[0]["name"] != "public" {
		t.Errorf("a stranger sees the packages %v, want the public one", list)
	}
	sameJSON(t, p.must(200, "GET", other+"/packages?count=true", "").body, `{"packages":1}`)
	sameJSON(t, p.must(200, "GET", other+"/packages?count=true", "", asOther()).body, `{"packages":3}`)

	// What is not public any more is out of reach, through bindings too.
	p.must(200, "PUT", other+"/packages/public?overwrite=true", `{"publish":false}`, asOther())
	p.walk(t, []step{
		{what: "not public any more", method: "POST", path: other + "/actions/public/a", status: 403, text: refused("other/public")},
		{what: "invoke through the binding", method: "POST", path: guest + "/actions/b/a", status: 403, text: refused("guest/b")},
		{what: "get the binding", method: "GET", path: guest + "/packages/b", status: 403, text: refused("guest/b")},
		{what: "list the binding", method: "GET", path: guest + "/actions/b/", status: 403, text: refused("guest/b")},
	})
	sameJSON(t, p.must(200, "GET", other+"/packages", "").body, `[]`)
}

// A package may be deleted and made again as a binding, so that a binding leads
// to another one. Wherever that ends, it ends.
func TestBindingsOfBindings(t *testing.T) {
	p := newPlatform(t)
	p.run()
	p.must(200, "PUT", guest+"/packages/p0", `{"parameters":[{"key":"x","value":0},{"key":"y","value":0}]}`)
	p.must(200, "PUT", guest+"/actions/p0/a", hello)
	p.must(200, "PUT", guest+"/packages/p1", `{}`)
	p.must(200, "PUT", guest+"/packages/p2", `{"binding":{"namespace":"_","name":"p1"},"parameters":[{"key":"y","value":2}]}`)
	p.must(200, "DELETE", guest+"/packages/p1", "")
	p.must(200, "PUT", guest+"/packages/p1", `{"binding":{"namespace":"_","name":"p0"},"parameters":[{"key":"x","value":1},{"key":"y","value":1}]}`)
	sameJSON(t, p.must(200, "POST", guest+"/actions/p2/a?blocking=true&result=true", "").body, `{"x":1,"y":2}`)
	if got := p.must(200, "GET", guest+"/actions/p2/a?code=false", "").decode(t); got["namespace"] != "guest/p0" || got["binding"] != "guest/p2" {
		t.Errorf("the action is %v", got)
	}
	circle := whisk.FullName{Namespace: "guest", Name: "circle"}
	body := `{"version":"0.0.1","publish":false,"binding":"guest/circle","parameters":[],"annotations":[]}`
	if _, err := p.store.Put(t.Context(), whisk.Document{Collection: whisk.Packages, Name: circle, Body: []byte(body)}); err != nil {
		t.Fatal(err)
	}
	const text = "Package binding 'guest/circle' contains a circular reference."
	p.walk(t, []step{
		{what: "get", method: "GET", path: guest + "/packages/circle", status: 400, text: text},
		{what: "invoke", method: "POST", path: guest + "/actions/circle/a", status: 400, text: text},
		{what: "delete", method: "DELETE", path: guest + "/packages/circle", status: 200},
	})
}

func TestConcurrentWritesOfAPackage(t *testing.T) {
	for _, method := range []string{"PUT", "DELETE"} {
		p := newPlatform(t)
		p.must(200, "PUT", guest+"/packages/p", "{}")
		raced := false
		p.store.SetFault(func(op string, done bool) error {
			if op == "Get" && done && !raced {
				raced = true
				p.must(200, "PUT", guest+"/packages/p?overwrite=true", `{"publish":true}`)
			}
			return nil
		})
		got := p.must(409, method, guest+"/packages/p?overwrite=true", "{}").decode(t)
		if got["error"] != "Concurrent modification to resource detected." {
			t.Errorf("%s: %v", method, got)
		}
	}
}

// An action is never left behind in a package that is gone.
func TestPutIntoAPackageThatGoes(t *testing.T) {
	p := newPlatform(t)
	p.must(200, "PUT", guest+"/packages/p", "{}")
	raced := false
	p.store.SetFault(func(op string, done bool) error {
		if op == "PutBlob" && done && !raced {
			raced = true
			p.must(200, "DELETE", guest+"/packages/p", "")
		}
		return nil
	})
	p.must(409, "PUT", guest+"/actions/p/a", hello)
	p.must(200, "PUT", guest+"/packages/p", "{}")
	sameJSON(t, p.must(200, "GET", guest+"/actions/p/", "").body, "[]")

	raced = false
	p.store.SetFault(func(op string, done bool) error {
		if op == "List" && done && !raced {
			raced = true
			p.must(200, "PUT", guest+"/actions/p/a", hello)
		}
		return nil
	})
	p.must(409, "DELETE", guest+"/packages/p", "")
	p.must(200, "GET", guest+"/actions/p/a", "")
}
