// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/controller/keyring"
	"github.com/whirl-faas/whirl/whisk"
)

func ring(t *testing.T, current keyring.Scheme, keys map[keyring.Scheme][][]byte) *keyring.Keyring {
	t.Helper()
	ring, err := keyring.New(current, keys)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

var (
	young = []byte("0123456789abcdef")
	old   = []byte("0123456789abcdef0123456789abcdef")
)

// withKeys makes a platform whose store has been used by another one, or by none.
func withKeys(t *testing.T, keys *keyring.Keyring, former *platform, configure ...func(*controller.Config)) *platform {
	return newPlatformWith(t, func(deps *controller.Deps) {
		deps.Keys = keys
		if former != nil {
			deps.Entities, deps.Subjects, deps.Blobs, deps.Activations, deps.Queue = former.store, former.store, former.store.Blobs(), former.store, former.store
		}
	}, configure...)
}

// told notes what containers are told: what /run brings, and the environment of /init.
func (p *platform) told(t *testing.T) (arguments, environment *string) {
	arguments, environment = new(string), new(string)
	p.balancer.Run = func(ctx context.Context, inv *whisk.Invocation, run controllertest.RunBody) whisk.Outcome {
		init, err := inv.InitBody(ctx, time.Now())
		if err != nil {
			t.Error(err)
		}
		var body struct {
			Value struct {
				Env map[string]string `json:"env"`
			} `json:"value"`
		}
		if err := json.Unmarshal(init, &body); err != nil {
			t.Error(err)
		}
		*arguments, *environment = string(run.Value), body.Value.Env["SECRET"]
		return controllertest.Outcome(inv, whisk.Response{Result: run.Value, Size: len(run.Value)})
	}
	return arguments, environment
}

const lockable = `{"exec":{"kind":"nodejs:20","code":"x"},"annotations":[{"key":"web-export","value":true}],
	"parameters":[{"key":"a","value":{"deep":[1.0,"ü"]}},{"key":"SECRET","value":"sesame","init":true}]}`

// parameter returns a parameter as the API shows it, and nil if it does not.
func parameter(t *testing.T, got reply, key string) map[string]any {
	t.Helper()
	list, _ := got.decode(t)["parameters"].([]any)
	for _, entry := range list {
		if pair, _ := entry.(map[string]any); pair["key"] == key {
			return pair
		}
	}
	return nil
}

func TestLockedParameters(t *testing.T) {
	p := withKeys(t, ring(t, keyring.AES128, map[keyring.Scheme][][]byte{keyring.AES128: {young}, keyring.AES256: {old}}), nil)
	arguments, environment := p.told(t)

	// Who writes is answered with what he wrote, and reads what is stored.
	put := p.must(200, "PUT", guest+"/actions/a", lockable)
	if got := parameter(t, put, "SECRET"); got["value"] != "sesame" || got["encryption"] != nil {
		t.Errorf("PUT answers %v", got)
	}
	read := p.must(200, "GET", guest+"/actions/a", "")
	for key, init := range map[string]any{"a": nil, "SECRET": true} {
		if got := parameter(t, read, key); got["encryption"] != "aes-128" || got["init"] != init || strings.Contains(fmt.Sprint(got["value"]), "sesame") {
			t.Errorf("GET shows %v", got)
		}
	}
	doc, err := p.store.Get(t.Context(), whisk.FullName{Namespace: "guest", Name: "a"})
	if err != nil || strings.Contains(string(doc.Body), "sesame") || strings.Contains(string(doc.Body), "deep") {
		t.Errorf("stored is %s, %v", doc.Body, err)
	}

	invoke := func(path, payload string) {
		t.Helper()
		*arguments, *environment = "", ""
		p.must(200, "POST", guest+"/actions/"+path+"?blocking=true", payload)
	}
	invoke("a", `{"b":2}`)
	if *arguments != `{"a":{"deep":[1.0,"ü"]},"b":2}` || *environment != "sesame" {
		t.Errorf("told %s and %q", *arguments, *environment)
	}
	invoke("a", `{"a":"mine"}`)
	if *arguments != `{"a":"mine"}` {
		t.Errorf("a caller's own parameter: told %s", *arguments)
	}
	if got := p.must(200, "GET", root+"/web/guest/default/a.json", ""); !strings.Contains(got.body, `"deep": [1.0, "ü"]`) {
		t.Errorf("web action: %s", got.body)
	}
	p.must(200, "PUT", guest+"/actions/s", `{"exec":{"kind":"sequence","components":["/_/a"]}}`)
	invoke("s", `{}`)
	if *arguments != `{"a":{"deep":[1.0,"ü"]}}` || *environment != "sesame" {
		t.Errorf("component: told %s and %q", *arguments, *environment)
	}
	if got := parameter(t, p.must(200, "GET", guest+"/actions/s", ""), "_actions"); got["encryption"] != "aes-128" {
		t.Errorf("a sequence's components are %v", got)
	}

	// Packages and bindings.
	p.must(200, "PUT", guest+"/packages/p", `{"parameters":[{"key":"p","value":1},{"key":"SECRET","value":"package's","init":true}]}`)
	p.must(200, "PUT", guest+"/packages/b", `{"binding":{"namespace":"_","name":"p"},"parameters":[{"key":"b","value":2}]}`)
	p.must(200, "PUT", guest+"/actions/p/a", hello)
	invoke("b/a", `{}`)
	if *arguments != `{"p":1,"b":2}` || *environment != "package's" {
		t.Errorf("by a binding: told %s and %q", *arguments, *environment)
	}
	for _, path := range []string{"/packages/p", "/packages/b", "/actions/b/a"} {
		if got := parameter(t, p.must(200, "GET", guest+path, ""), "p"); got["encryption"] != "aes-128" {
			t.Errorf("GET %s shows %v", path, got)
		}
	}

	// What was read may be written back, and is not encrypted twice.
	p.must(200, "PUT", guest+"/actions/copy", read.body)
	invoke("copy", `{}`)
	if *arguments != `{"a":{"deep":[1.0,"ü"]}}` || *environment != "sesame" {
		t.Errorf("written back: told %s and %q", *arguments, *environment)
	}
	p.must(200, "PUT", guest+"/actions/copy?overwrite=true", `{"annotations":[]}`)
	invoke("copy", `{}`)
	if *environment != "sesame" {
		t.Errorf("after an update of something else: told %q", *environment)
	}

	// Triggers are not encrypted.
	p.must(200, "PUT", guest+"/triggers/t", `{"parameters":[{"key":"a","value":1}]}`)
	if got := parameter(t, p.must(200, "GET", guest+"/triggers/t", ""), "a"); got["encryption"] != nil {
		t.Errorf("a trigger shows %v", got)
	}
}

// Whoever could read what others encrypted could have it decrypted by an action
// of his own.
func TestLockedParametersOfOthers(t *testing.T) {
	p := withKeys(t, ring(t, keyring.AES128, map[keyring.Scheme][][]byte{keyring.AES128: {young}}), nil)
	arguments, _ := p.told(t)
	others := root + "/namespaces/guest"
	p.must(200, "PUT", guest+"/packages/p", `{"publish":true,"parameters":[{"key":"p","value":"sesame"}]}`)
	p.must(200, "PUT", guest+"/actions/p/a", lockable)
	p.must(200, "PUT", guest+"/packages/b", `{"binding":{"namespace":"guest","name":"p"},"parameters":[{"key":"b","value":2}]}`, asOther())
	for _, path := range []string{others + "/packages/p", others + "/actions/p/a", guest + "/packages/b", guest + "/actions/b/a", guest + "/actions/b/a?code=false"} {
		got := p.must(200, "GET", path, "", asOther())
		for _, key := range []string{"p", "a", "SECRET"} {
			if shown := parameter(t, got, key); shown != nil {
				t.Errorf("GET %s shows %v", path, shown)
			}
		}
	}
	if got := parameter(t, p.must(200, "GET", guest+"/packages/b", "", asOther()), "b"); got["encryption"] != "aes-128" {
		t.Errorf("of his own binding he sees %v", got)
	}
	p.must(200, "POST", guest+"/actions/b/a?blocking=true", "{}", asOther())
	if *arguments != `{"p":"sesame","b":2,"a":{"deep":[1.0,"ü"]}}` {
		t.Errorf("told %s", *arguments)
	}
}

func TestOlderKeys(t *testing.T) {
	before := withKeys(t, ring(t, keyring.AES256, map[keyring.Scheme][][]byte{keyring.AES256: {old}}), nil)
	before.must(200, "PUT", guest+"/actions/a", lockable)
	plain := withKeys(t, nil, before)
	plain.must(200, "PUT", guest+"/actions/plain", lockable)

	p := withKeys(t, ring(t, keyring.AES128, map[keyring.Scheme][][]byte{keyring.AES128: {young}, keyring.AES256: {old}}), before)
	_, environment := p.told(t)
	for _, name := range []string{"a", "plain"} {
		*environment = ""
		p.must(200, "POST", guest+"/actions/"+name+"?blocking=true", "{}")
		if *environment != "sesame" {
			t.Errorf("%s: told %q", name, *environment)
		}
	}
	p.must(200, "PUT", guest+"/actions/a?overwrite=true", `{"parameters":[{"key":"SECRET","value":"new","init":true}]}`)
	if got := parameter(t, p.must(200, "GET", guest+"/actions/a", ""), "SECRET"); got["encryption"] != "aes-128" {
		t.Errorf("written anew it is %v", got)
	}
}

func TestMissingKey(t *testing.T) {
	before := withKeys(t, ring(t, keyring.AES256, map[keyring.Scheme][][]byte{keyring.AES256: {old}}), nil)
	before.must(200, "PUT", guest+"/packages/p", `{"parameters":[{"key":"p","value":1}]}`)
	before.must(200, "PUT", guest+"/actions/a", lockable)
	before.must(200, "PUT", guest+"/actions/p/a", hello)
	before.must(200, "PUT", guest+"/actions/s", `{"exec":{"kind":"sequence","components":["/_/a"]}}`)

	p := withKeys(t, ring(t, keyring.AES128, map[keyring.Scheme][][]byte{keyring.AES128: {young}}), before)
	const text = "The parameters of 'guest/a' cannot be decrypted: parameter \"a\": it is encrypted with aes-256, of which the platform has no key."
	p.walk(t, []step{
		{what: "run", method: "POST", path: guest + "/actions/a?blocking=true", body: "{}", status: 503, text: text},
		{what: "run later", method: "POST", path: guest + "/actions/a", body: "{}", status: 503, text: text},
		{what: "on the web", method: "GET", path: root + "/web/guest/default/a.json", status: 503, text: text},
		{what: "its package's", method: "POST", path: guest + "/actions/p/a", body: "{}", status: 503,
			text: "The parameters of 'guest/p/a' cannot be decrypted: parameter \"p\": it is encrypted with aes-256, of which the platform has no key."},
		{what: "read", method: "GET", path: guest + "/actions/a", status: 200},
		{what: "update", method: "PUT", path: guest + "/actions/a?overwrite=true", body: `{"annotations":[{"key":"note","value":1}]}`, status: 200},
	})
	if got := p.do("POST", guest+"/actions/s?blocking=true", "{}"); got.status < 500 {
		t.Errorf("as a component: %d %s", got.status, got.body)
	}
	again := withKeys(t, ring(t, "", map[keyring.Scheme][][]byte{keyring.AES256: {old}}), before)
	_, environment := again.told(t)
	again.must(200, "POST", guest+"/actions/a?blocking=true", "{}")
	if *environment != "sesame" {
		t.Errorf("with the key again: told %q", *environment)
	}
}

// What a client marks as encrypted is stored as it came. Of a scheme that nobody
// knows it is the client's own matter.
func TestParametersThatClientsEncrypted(t *testing.T) {
	p := withKeys(t, ring(t, "", map[keyring.Scheme][][]byte{keyring.AES128: {young}}), nil)
	arguments, _ := p.told(t)
	for _, row := range []struct {
		parameter string
		status    int
		text      string // of the arguments, or of the error
	}{
		{`{"key":"a","value":"x","encryption":"rot13"}`, 200, `{"a":"x"}`},
		{`{"key":"a","value":7,"encryption":"aes-128"}`, 200, `{"a":7}`},
		{`{"key":"a","value":"x","encryption":null}`, 200, `{"a":"x"}`},
		{`{"key":"a","value":"x","encryption":"aes-128"}`, 400, `it is marked as encrypted with aes-128, but has not that form.`},
	} {
		p.must(200, "PUT", guest+"/actions/a?overwrite=true", `{"exec":{"kind":"nodejs:20","code":"x"},"parameters":[`+row.parameter+`]}`)
		shown := parameter(t, p.must(200, "GET", guest+"/actions/a", ""), "a")
		if scheme, _ := shown["encryption"].(string); !strings.Contains(row.parameter, `"encryption":"`+scheme) && scheme != "" || scheme == "" && !strings.Contains(row.parameter, "null") {
			t.Errorf("%s: GET shows %v", row.parameter, shown)
		}
		got := p.do("POST", guest+"/actions/a?blocking=true", "{}")
		if got.status != row.status || got.status == 200 && *arguments != row.text || got.status != 200 && !strings.Contains(got.body, row.text) {
			t.Errorf("%s: %d %s, told %s", row.parameter, got.status, got.body, *arguments)
		}
	}
	if got := p.do("PUT", guest+"/actions/b", `{"exec":{"kind":"nodejs:20","code":"x"},"parameters":[{"key":"a","value":"x","encryption":1}]}`); got.status != 400 {
		t.Errorf("a scheme that is no string: %d %s", got.status, got.body)
	}
}

// TestChangedEnvironments has containers told apart by what packages add to the
// environment of their initialisation.
func TestChangedEnvironments(t *testing.T) {
	p := newPlatform(t)
	var key whisk.ActionKey
	p.balancer.Run = func(_ context.Context, inv *whisk.Invocation, run controllertest.RunBody) whisk.Outcome {
		key = inv.Key
		return controllertest.Outcome(inv, whisk.Response{Result: run.Value, Size: len(run.Value)})
	}
	keyOf := func(action string) whisk.ActionKey {
		t.Helper()
		p.must(200, "POST", guest+"/actions/"+action+"?blocking=true", "{}")
		return key
	}
	setInit := func(pkg, value string, other int) {
		t.Helper()
		p.must(200, "PUT", guest+"/packages/"+pkg+"?overwrite=true", fmt.Sprintf(`{"parameters":[{"key":"E","value":%q,"init":true},{"key":"o","value":%d}]}`, value, other))
	}
	p.must(200, "PUT", guest+"/packages/p", `{"parameters":[{"key":"o","value":1}]}`)
	p.must(200, "PUT", guest+"/packages/b", `{"binding":{"namespace":"_","name":"p"}}`)
	p.must(200, "PUT", guest+"/packages/c", `{"binding":{"namespace":"_","name":"p"}}`)
	p.must(200, "PUT", guest+"/actions/p/a", hello)
	p.must(200, "PUT", guest+"/actions/p/own", lockable)
	bare := keyOf("p/a")
	if bare.Environment != 0 || keyOf("b/a") != bare || keyOf("p/own").Environment != 0 {
		t.Errorf("packages that add nothing make %+v, %+v", bare, key)
	}
	setInit("p", "one", 1)
	one := keyOf("p/a")
	if one.Environment == 0 || one.Revision != bare.Revision || keyOf("b/a") != one {
		t.Errorf("the package's makes %+v after %+v, and by a binding %+v", one, bare, key)
	}
	setInit("p", "one", 2)
	if got := keyOf("p/a"); got != one {
		t.Errorf("the same again, beside others, makes %+v, not %+v", got, one)
	}
	setInit("p", "two", 2)
	two := keyOf("p/a")
	setInit("b", "b's", 2)
	setInit("c", "c's", 2)
	if b, c := keyOf("b/a"), keyOf("c/a"); two == one || b == two || c == two || b == c {
		t.Errorf("different ones make %+v, %+v, %+v, %+v", one, two, b, c)
	}
	setInit("c", "b's", 2)
	if b, c := keyOf("b/a"), keyOf("c/a"); b != c {
		t.Errorf("the same by two ways makes %+v and %+v", b, c)
	}
}
