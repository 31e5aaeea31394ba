// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/whisk"
)

func TestWhoMayCallAWebAction(t *testing.T) {
	p := newPlatform(t)
	p.run()
	const forbidden = "Authentication is possible but has failed or not yet been provided."
	wrong, other := "Authorization: "+basic(guestUUID, "wrong"), "Authorization: "+basic("other-uuid", guestKey)
	shown := "X-Require-Whisk-Auth: "
	for _, test := range []struct {
		annotation string
		headers    []string
		admitted   bool
		user       any
	}{
		{"x:1", []string{noAuth}, true, nil},
		{"x:1", []string{wrong}, true, nil},
		{"x:1", []string{"Authorization: Bearer token"}, true, nil},
		{"x:1", nil, true, "guest"},
		{"x:1", []string{other}, true, "other"},
		{"require-whisk-auth:true", nil, true, "guest"},
		{"require-whisk-auth:true", []string{other}, true, "other"},
		{"require-whisk-auth:true", []string{noAuth}, false, nil},
		{"require-whisk-auth:true", []string{wrong}, false, nil},
		{"require-whisk-auth:false", []string{noAuth}, true, nil},
		{`require-whisk-auth:"key"`, []string{noAuth, shown + "key"}, true, nil},
		{`require-whisk-auth:"key"`, []string{shown + "key"}, true, "guest"},
		{`require-whisk-auth:"key"`, []string{shown + "bad"}, false, nil},
		{`require-whisk-auth:"key"`, nil, false, nil},
		{"require-whisk-auth:5147", []string{noAuth, shown + "5147"}, true, nil},
		{"require-whisk-auth:5147", []string{shown + "5148"}, false, nil},
		{"require-whisk-auth:null", nil, false, nil},
		{"require-whisk-auth:{}", nil, false, nil},
	} {
		p.export("a", test.annotation)
		if !test.admitted {
			got := p.mustFail(401, forbidden, "GET", webRoot+"/a.json", "", test.headers...)
			if got.header.Get("WWW-Authenticate") != "" || got.header.Get("Access-Control-Allow-Origin") != "*" {
				t.Errorf("%s: headers %v", test.annotation, got.header)
			}
			p.must(200, "OPTIONS", webRoot+"/a.json", "", test.headers...)
			continue
		}
		if got := p.must(200, "GET", webRoot+"/a.json", "", test.headers...).decode(t); got["__ow_user"] != test.user {
			t.Errorf("%s, %q: user %v, want %v", test.annotation, test.headers, got["__ow_user"], test.user)
		}
	}
}

func TestWebActionRunsForItsOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		defer runInBubble(t, p)()
		p.export("a", "provide-api-key:true")
		var run controllertest.RunBody
		var namespace string
		p.balancer.Run = func(_ context.Context, inv *whisk.Invocation, body controllertest.RunBody) whisk.Outcome {
			run, namespace = body, inv.Key.Namespace
			return controllertest.Outcome(inv, whisk.Response{Result: body.Value})
		}
		for _, test := range []struct {
			auth string
			key  bool // there is one to give to the action
		}{
			{noAuth, false},
			{"Authorization: " + basic("other-uuid", guestKey), false},
			{"X-None: 1", true},
		} {
			id := p.must(200, "GET", webRoot+"/a.json", "", test.auth).header.Get("x-openwhisk-activation-id")
			record := p.must(200, "GET", guest+"/activations/"+id, "").decode(t)
			if record["namespace"] != "guest" || record["subject"] != "guest-user" || record["name"] != "a" || namespace != "guest" || run.Namespace != "guest" || run.Activation != id || run.Transaction != "tid" {
				t.Errorf("record %v of a run in %s: %+v", record, namespace, run)
			}
			if (run.APIKey != nil) != test.key || test.key && *run.APIKey != guestUUID+":"+guestKey {
				t.Errorf("%s: key %v", test.auth, run.APIKey)
			}
		}
	})
}

// Who calls has no key of the owner's, so the platform makes one that opens his
// namespace for as long as his own does.
func TestWebActionGetsAKeyOfItsOwner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatformWith(t, func(deps *controller.Deps) { deps.Secret = []byte("secret") })
		defer runInBubble(t, p)()
		p.export("wants", "provide-api-key:true")
		p.export("plain")
		given := func(action string) string {
			key := ""
			p.balancer.Run = func(_ context.Context, inv *whisk.Invocation, body controllertest.RunBody) whisk.Outcome {
				if body.APIKey != nil {
					key = *body.APIKey
				}
				return controllertest.Outcome(inv, whisk.Response{Result: body.Value})
			}
			p.must(200, "GET", webRoot+"/"+action+".json", "", noAuth)
			return key
		}
		if key := given("plain"); key != "" {
			t.Errorf("an action that wants no key got %s", key)
		}
		uuid, key, _ := strings.Cut(given("wants"), ":")
		if uuid != guestUUID || len(key) != whisk.KeyLength || key == guestKey {
			t.Fatalf("the action got the key %s:%s", uuid, key)
		}
		if got := p.must(200, "GET", root+"/namespaces", "", "Authorization: "+basic(uuid, key)); got.body != `["guest"]` {
			t.Errorf("the key opens %s", got.body)
		}
		p.must(401, "GET", root+"/namespaces", "", "Authorization: "+basic("other-uuid", key))

		changed := whisk.Subject{Name: "guest-user", Namespaces: []whisk.SubjectNamespace{{Name: "guest", UUID: guestUUID, Key: whisk.HashKey("new")}}}
		if err := p.store.PutSubject(t.Context(), changed); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		p.must(401, "GET", root+"/namespaces", "", "Authorization: "+basic(uuid, key))
		if _, again, _ := strings.Cut(given("wants"), ":"); again == key || len(again) != whisk.KeyLength {
			t.Errorf("after the owner's key was changed the action got %s", again)
		}
	})
}

func TestWebActionsInPackages(t *testing.T) {
	p := newPlatform(t)
	p.run()
	asOther := "Authorization: " + basic("other-uuid", guestKey)
	theirs := root + "/namespaces/other"
	action := `{"exec":{"kind":"nodejs:20","code":"x"},"annotations":[{"key":"web-export","value":true},{"key":"final","value":true}],"parameters":[{"key":"c","value":"action"}]}`
	p.must(200, "PUT", theirs+"/packages/provider", `{"publish":true,"parameters":[{"key":"a","value":"provider"},{"key":"b","value":"provider"},{"key":"c","value":"provider"}]}`, asOther)
	p.must(200, "PUT", theirs+"/actions/provider/act", action, asOther)
	p.must(200, "PUT", guest+"/packages/bound", `{"binding":{"namespace":"other","name":"provider"},"parameters":[{"key":"b","value":"binding"}],"annotations":[{"key":"web-export","value":false}]}`)

	got := p.must(200, "GET", root+"/web/other/provider/act.json?d=query", "", noAuth)
	sameJSON(t, got.body, `{"a":"provider","b":"provider","c":"action","d":"query","__ow_method":"get","__ow_path":"","__ow_headers":"<any>"}`)
	got = p.must(200, "GET", root+"/web/guest/bound/act.json?d=query", "", noAuth)
	sameJSON(t, got.body, `{"a":"provider","b":"binding","c":"action","d":"query","__ow_method":"get","__ow_path":"","__ow_headers":"<any>"}`)
	record := p.must(200, "GET", guest+"/activations/"+got.header.Get("x-openwhisk-activation-id"), "")
	for _, part := range []string{`"namespace":"guest"`, `"subject":"guest-user"`, `{"key":"binding","value":"guest/bound"}`, `{"key":"path","value":"other/provider/act"}`} {
		if !strings.Contains(record.body, part) {
			t.Errorf("no %s in %s", part, record.body)
		}
	}
	for _, parameter := range []string{"a", "b", "c"} {
		p.mustFail(400, "Request defines parameters that are not allowed (e.g., reserved properties).", "GET", root+"/web/guest/bound/act.json?"+parameter+"=x", "", noAuth)
	}
	p.mustFail(404, "The requested resource does not exist.", "GET", root+"/web/guest/bound/none.json", "", noAuth)
	p.mustFail(404, "The requested resource does not exist.", "GET", root+"/web/guest/none/act.json", "", noAuth)

	p.must(200, "PUT", theirs+"/packages/provider?overwrite=true", `{"publish":false}`, asOther)
	p.mustFail(403, "The supplied authentication is not authorized to access 'guest/bound'.", "GET", root+"/web/guest/bound/act.json", "", asOther)
	p.must(200, "GET", root+"/web/other/provider/act.json", "", noAuth)
	p.must(200, "DELETE", theirs+"/packages/provider?force=true", "", asOther)
	p.mustFail(404, "The requested resource does not exist.", "GET", root+"/web/guest/bound/act.json", "", noAuth)
}

func TestWebActionOfARuntimeThatIsGone(t *testing.T) {
	p := newPlatform(t)
	p.export("a")
	q := newPlatformWith(t, func(deps *controller.Deps) {
		deps.Entities, deps.Subjects, deps.Blobs, deps.Manifest = p.store, p.store, p.store.Blobs(), whisk.Manifest{}
	})
	got := q.must(400, "GET", webRoot+"/a.json", "", noAuth)
	if !strings.Contains(got.body, "The specified runtime 'nodejs:20' is not supported by this platform.") {
		t.Errorf("body %s", got.body)
	}
}

func TestWebActionOwnersAreCached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		defer runInBubble(t, p)()
		p.export("a")
		for range 3 {
			p.must(200, "GET", webRoot+"/a.json", "", noAuth)
		}
		if asked := p.store.Calls("Owner"); asked != 1 {
			t.Errorf("asked for the owner %d times, want once", asked)
		}
		if _, err := (controller.Subjects{Store: p.store}).Block(t.Context(), "guest-user", true); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		p.mustFail(404, "The requested resource does not exist.", "GET", webRoot+"/a.json", "", noAuth)
		if _, err := (controller.Subjects{Store: p.store}).Block(t.Context(), "guest-user", false); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		p.must(200, "GET", webRoot+"/a.json", "", noAuth)
	})
}

func TestWebActionFromABrokenStore(t *testing.T) {
	for _, broken := range []string{"Owner", "Get", "Lookup"} {
		p := newPlatform(t)
		p.export("a")
		p.store.SetFault(func(op string, _ bool) error {
			if op == broken {
				return errors.New("disk on fire")
			}
			return nil
		})
		p.mustFail(500, "There was an internal server error.", "GET", webRoot+"/a.json", "", "Authorization: "+basic("other-uuid", guestKey))
	}
}
