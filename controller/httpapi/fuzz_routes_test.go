// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/controller/httpapi"
	"github.com/whirl-faas/whirl/whisk"
)

// FuzzRoutes sends requests of all kinds to all routes, as the owner, as somebody
// else and as nobody. Whatever they say: the answer is as the API describes it,
// no fault of ours, and a request that was refused, or only asked, has changed
// nothing in any store. Each has a platform of its own, so a failure can be repeated.
func FuzzRoutes(f *testing.F) {
	operations := allOperations(f)
	for i := range operations {
		for who := range callers {
			f.Add(uint8(i), uint8(0), uint8(who), "_", "p", "a", "", "application/json", `{"a":1}`)
		}
	}
	addHostile(f, operations)
	addComposed(f, operations)
	store, api := filledStore(f), &replaceable{}
	f.Fuzz(func(t *testing.T, which, method, who uint8, namespace, pkg, name, query, contentType, body string) {
		operation := operations[int(which)%len(operations)]
		verbs := append([]string{operation.method}, "GET", "PUT", "POST", "DELETE", "HEAD", "PATCH", "OPTIONS")
		target := strings.NewReplacer("{namespace}", namespace, "{package}", pkg, "{name}", name, "{action}", name, "{id}", name, "{file}", name).Replace(operation.template)
		if query != "" {
			target += "?" + query
		}
		r, ok := hostileRequest(verbs[int(method)%len(verbs)], target, body)
		if !ok {
			return // no server would let it through to us
		}
		r.Header["Content-Type"], r.Header["Authorization"] = []string{contentType}, []string{callers[int(who)%len(callers)]}
		overStore(t, store.Copy(), api).checkHarmless(t, r)
	})
}

// callers are the values of Authorization: the owner's, a stranger's, a wrong
// key's, nobody's, and garbage.
var callers = []string{
	basic(guestUUID, guestKey), basic("other-uuid", guestKey), basic(guestUUID, strings.Repeat("x", whisk.KeyLength)), "", "Basic \xff:",
}

// operation is a method and the path, with parameters in braces, that has it.
type operation struct{ method, template string }

func allOperations(f *testing.F) []operation {
	described, err := description()
	if err != nil {
		f.Fatal(err)
	}
	var all []operation
	methods := described.Methods()
	for _, template := range slices.Sorted(maps.Keys(methods)) {
		for _, method := range methods[template] {
			all = append(all, operation{method, template})
		}
	}
	return all
}

// addHostile adds seeds of requests that have gone wrong somewhere, once.
func addHostile(f *testing.F, operations []operation) {
	const action, trigger, rule, pkg = "/namespaces/{namespace}/actions/{name}", "/namespaces/{namespace}/triggers/{name}", "/namespaces/{namespace}/rules/{name}", "/namespaces/{namespace}/packages/{name}"
	for _, seed := range []struct{ method, template, namespace, pkg, name, query, contentType, body string }{
		{"PUT", action, "_", "", "a%2Fb", "overwrite=maybe", "application/json", hello},
		{"PUT", action, "_", "", "new", "overwrite=%zz", "application/json", hello},
		{"PUT", action, "_", "", "new", "", "text/plain", hello},
		{"PUT", action, "_", "", "s", "overwrite=1", "application/json;charset=x", `{"exec":{"kind":"sequence","components":["/_/s","/_/bound/a",{"path":"_","name":"none"}]}}`},
		{"PUT", action, "_", "", "new", "", "application/json", `{"exec":{"kind":"nodejs:default","code":"x"},"version":"1.x","limits":{"memory":1}}`},
		{"PUT", action, "_", "", "a", "overwrite=true", "application/json", `{"exec":{"kind":"nodejs:18","code":"` + strings.Repeat("x", 100) + `"},"annotations":{}}`},
		{"POST", action, "_", "", "s", "blocking=true&result=yes&timeout=1", "application/json", `{"error":[{}],"error":1}`},
		{"POST", action, "other", "", "a", "blocking=true", "", "[1]"},
		{"PUT", "/namespaces/{namespace}/actions/{package}/{name}", "_", "bound", "a", "overwrite=true", "application/json", hello},
		{"PUT", "/namespaces/{namespace}/actions/{package}/{name}", "_", "none", "a", "", "application/json", hello},
		{"PUT", trigger, "_", "", "t", "overwrite=true", "application/json", `{"annotations":[{"key":"feed","value":"/"}],"rules":{}}`},
		{"POST", trigger, "_", "", "t", "", "application/json", "{\"a\":\"\xff\"}"},
		{"PUT", rule, "_", "", "r", "overwrite=true", "application/json", `{"trigger":"/_/none","action":{"path":"guest/bound","name":"a"}}`},
		{"PUT", rule, "_", "", "new", "", "application/json", `{"trigger":"t","action":null,"status":"on"}`},
		{"POST", rule, "_", "", "r", "", "application/json", `{"status":"ACTIVE"}`},
		{"PUT", pkg, "_", "", "p", "overwrite=true", "application/json", `{"binding":{"namespace":"_","name":"bound"}}`},
		{"PUT", pkg, "_", "", "default", "", "application/json", `{}`},
		{"DELETE", pkg, "_", "", "p", "force=no", "", ""},
		{"DELETE", pkg, "guest", "", "p", "force=true", "", ""},
		{"GET", "/namespaces/{namespace}/activations", "_", "", "", "since=-1&upto=9223372036854775808&name=a%2f&docs=1&count=0", "", ""},
		{"GET", "/namespaces/{namespace}/actions", "other%20one", "", "", "limit=&skip=+1&count", "", ""},
		{"GET", "/namespaces/{namespace}/activations/{id}/logs", "_", "", strings.Repeat("0", 32), "", "", ""},
		{"POST", "/web/{namespace}/{package}/{action}", "guest", "default", "w.http/x?__ow_path=1", "", "application/x-www-form-urlencoded", "a=%zz&body"},
	} {
		template := seed.template
		if !strings.HasPrefix(template, root) {
			template = root + template
		}
		which := slices.Index(operations, operation{seed.method, template})
		if which < 0 {
			f.Fatalf("there is no %s %s", seed.method, template)
		}
		f.Add(uint8(which), uint8(0), uint8(0), seed.namespace, seed.pkg, seed.name, seed.query, seed.contentType, seed.body)
	}
}

// filledStore has entities of the guest's, a public package of the other's, and a record.
func filledStore(f *testing.F) *controllertest.Store {
	p := newPlatform(f)
	p.furnish()
	p.export("w")
	p.must(200, "PUT", guest+"/packages/open", `{"publish":true}`, asOther())
	p.must(200, "PUT", guest+"/actions/open/a", hello, asOther())
	p.must(200, "PUT", guest+"/packages/foreign", `{"binding":{"namespace":"other","name":"open"}}`)
	record := whisk.Activation{ID: whisk.ActivationID(strings.Repeat("0", 32)), Namespace: "guest", Name: "a", Version: whisk.FirstVersion, Response: whisk.Response{Result: []byte(`{}`)}}
	if err := p.store.PutActivations(context.Background(), []whisk.Activation{record}); err != nil {
		f.Fatal(err)
	}
	return p.store
}

// replaceable is an API whose use cases are replaced from one request to the next:
// a handler takes longer to make than a request to serve.
type replaceable struct {
	httpapi.API
	handler http.Handler // of the replaceable itself; nil until it is made
}

// overStore is a platform whose stores are filled already.
func overStore(t *testing.T, store *controllertest.Store, api *replaceable) *platform {
	p := &platform{t: t, store: store, balancer: &controllertest.Balancer{}}
	p.control = newControl(t, store, p.balancer, func(*controller.Deps) {})
	api.API = p.control
	if api.handler == nil {
		api.handler = httpapi.New(httpapi.Config{}, api)
	}
	p.handler = held{p, api.handler}
	return p
}

// hostileRequest is a request as net/http would hand it over; false if it would not.
func hostileRequest(method, target, body string) (*http.Request, bool) {
	address, err := url.ParseRequestURI(target)
	if err != nil || address.Host != "" || !strings.HasPrefix(target, "/") || strings.ContainsAny(target, " \x00\r\n\t#") {
		return nil, false
	}
	r := httptest.NewRequest(method, "/", strings.NewReader(body))
	r.URL, r.RequestURI = address, target
	return r, true
}

// checkHarmless sends a request. That what runs is not ended by the platform's
// stop is of no interest here, so nothing that was accepted is waited for.
func (p *platform) checkHarmless(t *testing.T, r *http.Request) {
	t.Helper()
	stop := func() {}
	if r.Method == "POST" || strings.HasPrefix(r.URL.Path, root+"/web/") {
		stop = p.start() // something may run
	}
	before := p.store.State()
	w := httptest.NewRecorder()
	p.handler.ServeHTTP(w, r) // which also holds the answer to its description
	stop()
	ran := w.Header().Get("X-Openwhisk-Activation-Id") != ""
	fault := w.Code >= http.StatusInternalServerError && !ran && !strings.HasPrefix(r.URL.Path, "/invokers/")
	if asked := r.Method == "GET" || r.Method == "HEAD" || r.Method == "OPTIONS"; (asked || w.Code >= 400) && !ran {
		if after := p.store.State(); !reflect.DeepEqual(before, after) {
			t.Errorf("%s %s was answered %d %s, but changed\n%+v\nto\n%+v", r.Method, r.URL, w.Code, w.Body, before, after)
		}
	}
	if fault {
		t.Errorf("%s %s is our fault: %d %s", r.Method, r.URL, w.Code, w.Body)
	}
}
