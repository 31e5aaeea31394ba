// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/whisk"
)

const (
	noSuchPath     = "The requested resource could not be found."
	noSuchResource = "The requested resource does not exist."
)

func TestRefusals(t *testing.T) {
	p := newPlatform(t)
	p.run()
	p.must(200, "PUT", guest+"/actions/hello", hello)
	invoke := guest + "/actions/hello"
	noAuth := "Authorization:"
	long := strings.Repeat("a", 257)
	tests := []struct {
		name, method, path, body string
		headers                  []string
		status                   int
		text                     string
	}{
		{name: "no credentials", method: "GET", path: root + "/namespaces", headers: []string{noAuth}, status: 401, text: "The resource requires authentication, which was not supplied with the request"},
		{name: "wrong key", method: "GET", path: root + "/namespaces", headers: []string{"Authorization: " + basic(guestUUID, strings.Repeat("x", 64))}, status: 401, text: "The supplied authentication is invalid"},
		{name: "short key", method: "GET", path: root + "/namespaces", headers: []string{"Authorization: " + basic(guestUUID, "short")}, status: 401, text: "The supplied authentication is invalid"},
		{name: "unknown uuid", method: "GET", path: root + "/namespaces", headers: []string{"Authorization: " + basic("nobody", guestKey)}, status: 401, text: "The supplied authentication is invalid"},
		{name: "no base64", method: "GET", path: root + "/namespaces", headers: []string{"Authorization: Basic ???"}, status: 401, text: "The supplied authentication is invalid"},
		{name: "bearer", method: "GET", path: root + "/namespaces", headers: []string{"Authorization: Bearer abc"}, status: 401, text: "The supplied authentication is invalid"},
		{name: "missing credentials before method", method: "POST", path: root + "/namespaces", headers: []string{noAuth}, status: 401, text: "The resource requires authentication, which was not supplied with the request"},

		{name: "unknown server path", method: "GET", path: "/nowhere", status: 404, text: noSuchPath},
		{name: "path that only begins like the API", method: "GET", path: "/api/v1x", status: 404, text: noSuchPath},
		{name: "unknown API path", method: "GET", path: root + "/nowhere", status: 404, text: noSuchPath},
		{name: "web action", method: "GET", path: root + "/web/guest/default/hello.json", headers: []string{noAuth}, status: 404, text: noSuchResource},
		{name: "web path", method: "GET", path: root + "/web/guest/hello.json", status: 404, text: noSuchPath},
		{name: "slash after a trigger", method: "GET", path: guest + "/triggers/t/", status: 404, text: noSuchPath},
		{name: "below a rule", method: "GET", path: guest + "/rules/r/x", status: 404, text: noSuchPath},
		{name: "slash after a package", method: "DELETE", path: guest + "/packages/p/", status: 404, text: noSuchPath},
		{name: "namespace alone", method: "GET", path: guest, status: 404, text: noSuchPath},
		{name: "slash after an action's package path", method: "GET", path: guest + "/actions/a/b/", status: 404, text: noSuchPath},
		{name: "too deep", method: "GET", path: guest + "/actions/a/b/c", status: 404, text: noSuchPath},
		{name: "activation part", method: "GET", path: guest + "/activations/" + strings.Repeat("0", 32) + "/nothing", status: 404, text: noSuchPath},
		{name: "activation slash", method: "GET", path: guest + "/activations/" + strings.Repeat("0", 32) + "/", status: 404, text: noSuchResource},
		{name: "slash after an activation's part", method: "GET", path: guest + "/activations/" + strings.Repeat("0", 32) + "/logs/", status: 404, text: noSuchPath},
		{name: "long URI", method: "GET", path: guest + "/actions?x=" + strings.Repeat("a", 8192), status: 414, text: "URI length exceeds the configured limit of 8192 characters"},

		{name: "collection method", method: "POST", path: guest + "/actions", body: "{}", status: 405, text: "HTTP method not allowed, supported methods: GET"},
		{name: "collection slash method", method: "DELETE", path: guest + "/actions/", status: 405, text: "HTTP method not allowed, supported methods: GET"},
		{name: "activation method", method: "DELETE", path: guest + "/activations/" + strings.Repeat("0", 32), status: 405, text: "HTTP method not allowed, supported methods: GET"},
		{name: "head", method: "HEAD", path: guest + "/actions/hello", status: 405, text: "HTTP method not allowed, supported methods: PUT, GET, DELETE, POST"},
		{name: "ping method", method: "POST", path: "/ping", status: 405, text: "HTTP method not allowed, supported methods: GET"},
		{name: "triggers' method", method: "PUT", path: guest + "/triggers", body: "{}", status: 405, text: "HTTP method not allowed, supported methods: GET"},
		{name: "rules' method", method: "DELETE", path: guest + "/rules/", status: 405, text: "HTTP method not allowed, supported methods: GET"},
		{name: "packages' method", method: "POST", path: guest + "/packages", body: "{}", status: 405, text: "HTTP method not allowed, supported methods: GET"},
		{name: "package method", method: "POST", path: guest + "/packages/refresh", status: 405, text: "HTTP method not allowed, supported methods: PUT, GET, DELETE"},
		{name: "trigger method", method: "PATCH", path: guest + "/triggers/t", status: 405, text: "HTTP method not allowed, supported methods: PUT, GET, DELETE, POST"},
		{name: "method before a rule's name", method: "HEAD", path: guest + "/rules/bad%20", status: 405, text: "HTTP method not allowed, supported methods: PUT, GET, DELETE, POST"},
		{name: "limits entity", method: "GET", path: guest + "/limits/x", status: 400, text: "Inner entity level routes for limits are not yet implemented."},
		{name: "limits method", method: "POST", path: guest + "/limits", status: 405, text: "HTTP method not allowed, supported methods: GET"},

		{name: "foreign list", method: "GET", path: root + "/namespaces/other/actions", status: 403, text: "The supplied authentication is not authorized to access 'other'."},
		{name: "foreign action", method: "GET", path: root + "/namespaces/other/actions/a", status: 403, text: "The supplied authentication is not authorized to access 'other/a'."},
		{name: "foreign packaged action", method: "POST", path: root + "/namespaces/other/actions/p/a", status: 403, text: "The supplied authentication is not authorized to access 'other/p'."},
		{name: "foreign activations", method: "GET", path: root + "/namespaces/other/activations", status: 403, text: "The supplied authentication is not authorized to access 'other'."},
		{name: "foreign limits", method: "GET", path: root + "/namespaces/other/limits", status: 403, text: "The supplied authentication is not authorized to access 'other'."},
		{name: "foreign before size", method: "POST", path: root + "/namespaces/other/actions/a", body: strings.Repeat(" ", 2<<20), status: 403, text: "The supplied authentication is not authorized to access 'other/a'."},

		{name: "foreign trigger", method: "GET", path: root + "/namespaces/other/triggers/t", status: 403, text: "The supplied authentication is not authorized to access 'other/t'."},
		{name: "foreign trigger before type", method: "PUT", path: root + "/namespaces/other/triggers/t", body: "x", headers: []string{"Content-Type: text/plain"}, status: 403, text: "The supplied authentication is not authorized to access 'other/t'."},
		{name: "foreign rule", method: "POST", path: root + "/namespaces/other/rules/r", body: "x", status: 403, text: "The supplied authentication is not authorized to access 'other/r'."},
		{name: "foreign package", method: "GET", path: root + "/namespaces/other/packages/p", status: 403, text: "The supplied authentication is not authorized to access 'other/p'."},
		{name: "put of a foreign package", method: "PUT", path: root + "/namespaces/other/packages/p", body: "x", status: 403, text: "The supplied authentication is not authorized to access 'other/p'."},
		{name: "delete of a foreign package", method: "DELETE", path: root + "/namespaces/other/packages/p?force=maybe", status: 403, text: "The supplied authentication is not authorized to access 'other/p'."},
		{name: "put of a foreign packaged action", method: "PUT", path: root + "/namespaces/other/actions/p/a", body: hello, status: 403, text: "The supplied authentication is not authorized to access 'other/p/a'."},
		{name: "foreign triggers", method: "GET", path: root + "/namespaces/other/triggers?limit=x", status: 403, text: "The supplied authentication is not authorized to access 'other'."},
		{name: "foreign rules", method: "GET", path: root + "/namespaces/other/rules", status: 403, text: "The supplied authentication is not authorized to access 'other'."},
		{name: "foreign activation", method: "GET", path: root + "/namespaces/other/activations/" + strings.Repeat("0", 32) + "/logs", status: 403, text: "The supplied authentication is not authorized to access 'other/" + strings.Repeat("0", 32) + "'."},

		{name: "method before name", method: "PATCH", path: guest + "/actions/bad%20", status: 405, text: "HTTP method not allowed, supported methods: PUT, GET, DELETE, POST"},
		{name: "method before activation id", method: "PUT", path: guest + "/activations/bad", status: 405, text: "HTTP method not allowed, supported methods: GET"},
		{name: "name before owner", method: "GET", path: root + "/namespaces/other/actions/bad%20", status: 400, text: "The name of the entity contains illegal characters."},
		{name: "method before owner", method: "PATCH", path: root + "/namespaces/other/actions/a", status: 405, text: "HTTP method not allowed, supported methods: PUT, GET, DELETE, POST"},
		{name: "owner before parameters", method: "GET", path: root + "/namespaces/other/actions/a?code=maybe", status: 403, text: "The supplied authentication is not authorized to access 'other/a'."},
		{name: "owner before list parameters", method: "GET", path: root + "/namespaces/other/activations?limit=x", status: 403, text: "The supplied authentication is not authorized to access 'other'."},
		{name: "owner before package's list", method: "GET", path: root + "/namespaces/other/actions/p/?limit=x", status: 403, text: "The supplied authentication is not authorized to access 'other/p'."},
		{name: "owner before activation's part", method: "GET", path: root + "/namespaces/other/activations/" + strings.Repeat("0", 32) + "/nothing", status: 403, text: "The supplied authentication is not authorized to access 'other/" + strings.Repeat("0", 32) + "'."},
		{name: "owner before type", method: "PUT", path: root + "/namespaces/other/actions/a", body: "x", headers: []string{"Content-Type: text/plain"}, status: 403, text: "The supplied authentication is not authorized to access 'other/a'."},
		{name: "size before parameters", method: "POST", path: invoke + "?timeout=0", body: strings.Repeat(" ", 2<<20), status: 413, text: "Request larger than allowed: 2097152 > 1048576 bytes."},
		{name: "parameters before type", method: "POST", path: invoke + "?timeout=0", body: "x", headers: []string{"Content-Type: text/plain"}, status: 400, text: "The query parameter 'timeout' was malformed:\nTimeout must be number of milliseconds up to 60000."},
		{name: "type before action", method: "POST", path: guest + "/actions/none", body: "x", headers: []string{"Content-Type: text/plain"}, status: 415, text: "The request's Content-Type [text/plain] is not supported. Expected:\napplication/json"},

		{name: "missing action", method: "GET", path: guest + "/actions/none", status: 404, text: noSuchResource},
		{name: "invoke missing", method: "POST", path: guest + "/actions/none", status: 404, text: noSuchResource},
		{name: "delete missing", method: "DELETE", path: guest + "/actions/none", status: 404, text: noSuchResource},
		{name: "missing trigger", method: "GET", path: guest + "/triggers/none", status: 404, text: noSuchResource},
		{name: "fire of a missing trigger", method: "POST", path: guest + "/triggers/none", status: 404, text: noSuchResource},
		{name: "delete of a missing trigger", method: "DELETE", path: guest + "/triggers/none", status: 404, text: noSuchResource},
		{name: "missing rule", method: "GET", path: guest + "/rules/none", status: 404, text: noSuchResource},
		{name: "status of a missing rule", method: "POST", path: guest + "/rules/none", body: `{"status":"active"}`, status: 404, text: noSuchResource},
		{name: "delete of a missing rule", method: "DELETE", path: guest + "/rules/none", status: 404, text: noSuchResource},
		{name: "missing package itself", method: "GET", path: guest + "/packages/none", status: 404, text: "The requested resource 'guest/none' does not exist."},
		{name: "delete of a missing package", method: "DELETE", path: guest + "/packages/none", status: 404, text: noSuchResource},
		{name: "action as a trigger", method: "GET", path: guest + "/triggers/hello", status: 409, text: "Resource by this name exists but is not in this collection."},
		{name: "fire of an action", method: "POST", path: guest + "/triggers/hello", status: 409, text: "Resource by this name exists but is not in this collection."},
		{name: "put of a trigger over an action", method: "PUT", path: guest + "/triggers/hello?overwrite=true", body: "{}", status: 409, text: "Resource by this name exists but is not in this collection."},
		{name: "put of a package over an action", method: "PUT", path: guest + "/packages/hello", body: "{}", status: 409, text: "Resource by this name exists but is not in this collection."},
		{name: "action as a package", method: "GET", path: guest + "/packages/hello", status: 409, text: "Resource by this name exists but is not in this collection."},
		{name: "delete of an action as a rule", method: "DELETE", path: guest + "/rules/hello", status: 409, text: "Resource by this name exists but is not in this collection."},
		{name: "missing package", method: "GET", path: guest + "/actions/p/a", status: 404, text: noSuchResource},
		{name: "put into missing package", method: "PUT", path: guest + "/actions/p/a", body: hello, status: 404, text: noSuchResource},
		{name: "list of missing package", method: "GET", path: guest + "/actions/p/", status: 404, text: noSuchResource},
		{name: "package is an action", method: "GET", path: guest + "/actions/hello/a", status: 409, text: "Resource by this name exists but is not in this collection."},
		{name: "missing activation", method: "GET", path: guest + "/activations/" + strings.Repeat("0", 32), status: 404, text: noSuchResource},

		{name: "bad name", method: "GET", path: guest + "/actions/bad%20", status: 400, text: "The name of the entity contains illegal characters."},
		{name: "slash in a name", method: "GET", path: guest + "/actions/a%2Fb", status: 400, text: "The name of the entity contains illegal characters."},
		{name: "long name", method: "GET", path: guest + "/actions/" + long, status: 400, text: "Name segement longer than allowed: 257 > 256."},
		{name: "bad namespace", method: "GET", path: root + "/namespaces/%21/actions", status: 400, text: "The namespace contains illegal characters."},
		{name: "long namespace", method: "GET", path: root + "/namespaces/" + long + "/actions", status: 400, text: "Namespace longer than allowed: 257 > 256."},
		{name: "short activation id", method: "GET", path: guest + "/activations/abc", status: 400, text: "Activation id length is 3 but must be 32."},
		{name: "bad activation id", method: "GET", path: guest + "/activations/" + strings.Repeat("X", 32), status: 400, text: "The activation id is not valid."},

		{name: "limit too high", method: "GET", path: guest + "/actions?limit=201", status: 400, text: "The query parameter 'limit' was malformed:\nThe value '201' is not in the range of 0 to 200 for actions."},
		{name: "limit of triggers too high", method: "GET", path: guest + "/triggers?limit=201", status: 400, text: "The query parameter 'limit' was malformed:\nThe value '201' is not in the range of 0 to 200 for triggers."},
		{name: "skip of rules", method: "GET", path: guest + "/rules?skip=x", status: 400, text: "The query parameter 'skip' was malformed:\nThe value 'x' is not an integer for rules."},
		{name: "limit of packages", method: "GET", path: root + "/namespaces/other/packages?limit=-1", status: 400, text: "The query parameter 'limit' was malformed:\nThe value '-1' is not in the range of 0 to 200 for packages."},
		{name: "force", method: "DELETE", path: guest + "/packages/p?force=maybe", status: 400, text: "The query parameter 'force' was malformed:\n'maybe' is not a valid Boolean value"},
		{name: "overwrite of a trigger", method: "PUT", path: guest + "/triggers/t?overwrite=2", body: "{}", status: 400, text: "The query parameter 'overwrite' was malformed:\n'2' is not a valid Boolean value"},
		{name: "limit no number", method: "GET", path: guest + "/activations?limit=x", status: 400, text: "The query parameter 'limit' was malformed:\nThe value 'x' is not an integer for activations."},
		{name: "negative skip", method: "GET", path: guest + "/actions?skip=-1", status: 400, text: "The query parameter 'skip' was malformed:\nThe value '-1' is not greater than or equal to 0 for actions."},
		{name: "broken escape", method: "GET", path: guest + "/actions?limit=%zz", status: 400, text: `Illegal request-target: invalid URL escape "%zz"`},
		{name: "skip beyond 32 bits", method: "GET", path: guest + "/actions?skip=2147483648", status: 400, text: "The query parameter 'skip' was malformed:\nThe value '2147483648' is not an integer for actions."},
		{name: "since beyond 64 bits", method: "GET", path: guest + "/activations?since=9223372036854775808", status: 400, text: "The query parameter 'since' was malformed:\nParameter is not a valid value for epoch seconds: 9223372036854775808"},
		{name: "bad boolean", method: "GET", path: guest + "/actions?count=maybe", status: 400, text: "The query parameter 'count' was malformed:\n'maybe' is not a valid Boolean value"},
		{name: "docs with count", method: "GET", path: guest + "/activations?docs=true&count=true", status: 400, text: "The parameter 'docs' is not permitted with 'count'."},
		{name: "bad since", method: "GET", path: guest + "/activations?since=then", status: 400, text: "The query parameter 'since' was malformed:\nParameter is not a valid value for epoch seconds: then"},
		{name: "bad activation name", method: "GET", path: guest + "/activations?name=a/b/c", status: 400, text: "The query parameter 'name' was malformed:\nParameter may be a 'simple' name or 'package-name/simple' name: a/b/c"},
		{name: "bad timeout", method: "POST", path: invoke + "?timeout=60001", status: 400, text: "The query parameter 'timeout' was malformed:\nTimeout must be number of milliseconds up to 60000."},
		{name: "zero timeout", method: "POST", path: invoke + "?blocking=true&timeout=0", status: 400, text: "The query parameter 'timeout' was malformed:\nTimeout must be number of milliseconds up to 60000."},

		{name: "large payload", method: "POST", path: invoke, body: `{"a":"` + strings.Repeat("a", 1<<20) + `"}`, status: 413, text: "Request larger than allowed: 1048584 > 1048576 bytes."},
		{name: "large firing", method: "POST", path: guest + "/triggers/none", body: `{"a":"` + strings.Repeat("a", 1<<20) + `"}`, status: 413, text: "Request larger than allowed: 1048584 > 1048576 bytes."},
		{name: "firing with text", method: "POST", path: guest + "/triggers/none", body: `a`, headers: []string{"Content-Type: text/plain"}, status: 415, text: "The request's Content-Type [text/plain] is not supported. Expected:\napplication/json"},
		{name: "firing with no object", method: "POST", path: guest + "/triggers/none", body: `[1]`, status: 400, text: "The request content was malformed:\nObject expected"},
		{name: "rule state as text", method: "POST", path: guest + "/rules/none", body: `active`, headers: []string{"Content-Type: text/plain"}, status: 415, text: "The request's Content-Type [text/plain] is not supported. Expected:\napplication/json"},
		{name: "no rule state", method: "POST", path: guest + "/rules/none", body: `{}`, status: 400, text: "The request content was malformed:\nkey not found: status"},
		{name: "unknown rule state", method: "POST", path: guest + "/rules/none", body: `{"status":"on"}`, status: 400, text: "The request content was malformed:\nrequirement failed: on is not a recognized rule state"},
		{name: "nothing for a rule state", method: "POST", path: guest + "/rules/none", headers: []string{"Content-Type: application/json"}, status: 400, text: "Request entity expected but not supplied"},
		{name: "payload no object", method: "POST", path: invoke, body: `[1]`, status: 400, text: "The request content was malformed:\nObject expected"},
		{name: "payload no UTF-8", method: "POST", path: invoke, body: "{\"a\":\"\xff\"}", status: 400, text: "The request content was malformed:\nJSON must be UTF-8"},
		{name: "deep payload", method: "POST", path: invoke, body: `{"a":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`, status: 400, text: "The request content was malformed:\nJSON must not be nested more than 1000 levels deep"},
		{name: "form payload", method: "POST", path: invoke, body: `a=1`, headers: []string{"Content-Type: application/x-www-form-urlencoded"}, status: 415, text: "The request's Content-Type [application/x-www-form-urlencoded] is not supported. Expected:\napplication/json"},
		{name: "put of text", method: "PUT", path: guest + "/actions/x", body: hello, headers: []string{"Content-Type: text/plain"}, status: 415, text: "The request's Content-Type [text/plain] is not supported. Expected:\napplication/json"},
		{name: "put of nothing", method: "PUT", path: guest + "/actions/x", status: 415, text: "The request's Content-Type is not supported. Expected:\napplication/json"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p.t = t
			got := p.do(test.method, test.path, test.body, test.headers...)
			if got.status != test.status {
				t.Fatalf("status %d %s, want %d", got.status, got.body, test.status)
			}
			document := got.decode(t)
			if len(document) != 2 || document["error"] != test.text || document["code"] != "tid" {
				t.Errorf("body %q, want the error %q with the code tid", got.body, test.text)
			}
			if got.header.Get("Content-Type") != "application/json" || got.header.Get("X-Request-ID") != "tid" {
				t.Errorf("headers %v", got.header)
			}
			if (test.status == 401) != (got.header.Get("WWW-Authenticate") == `Basic realm="OpenWhisk secure realm",charset=UTF-8`) {
				t.Errorf("challenge %q", got.header.Get("WWW-Authenticate"))
			}
			if methods, ok := strings.CutPrefix(test.text, "HTTP method not allowed, supported methods: "); ok && got.header.Get("Allow") != methods {
				t.Errorf("Allow: %q, want %q", got.header.Get("Allow"), methods)
			}
		})
	}
}

func TestDotSegments(t *testing.T) {
	p := newPlatform(t)
	p.must(200, "PUT", guest+"/actions/hello", hello)
	for _, path := range []string{guest + "/actions/../../_/actions/hello", root + "/./namespaces/_/actions/./hello", "/.." + guest + "/actions/hello"} {
		if got := p.must(200, "GET", path, "").decode(t)["name"]; got != "hello" {
			t.Errorf("GET %s: the name is %v", path, got)
		}
	}
	// What was escaped is a name, not a path.
	for _, path := range []string{guest + "/actions/x%2F..%2Fhello", guest + "/actions/%2E./actions/hello"} {
		if got := p.do("GET", path, ""); got.status == 200 {
			t.Errorf("GET %s: %s", path, got.body)
		}
	}
}

func TestMalformedBodies(t *testing.T) {
	p := newPlatform(t)
	p.must(200, "PUT", guest+"/actions/hello", hello)
	for _, body := range []string{`{`, `{"a":}`, `{} x`, "{\"a\":\"\xff\"}", `nope`} {
		got := p.must(400, "POST", guest+"/actions/hello", body).decode(t)
		if text, _ := got["error"].(string); !strings.HasPrefix(text, "The request content was malformed:\n") {
			t.Errorf("invoke with %q: %q", body, text)
		}
	}
	for _, body := range []string{`{`, `[]`, `null`, `"x"`, `{"parameters":{"a":1}}`, `{"parameters":[{"key":"a"}]}`, `{"limits":{"memory":"256"}}`, `{"version":"0.0.0"}`, `{"exec":"x"}`} {
		got := p.must(400, "PUT", guest+"/actions/x", body).decode(t)
		if text, _ := got["error"].(string); !strings.HasPrefix(text, "The request content was malformed:\n") {
			t.Errorf("put of %q: %q", body, text)
		}
	}
}

func TestInformation(t *testing.T) {
	p := newPlatform(t, func(c *controller.Config) { c.Limits = whisk.DefaultLimits() })
	nobody := "Authorization:"
	if got := p.must(200, "GET", "/ping", "", nobody); got.body != "pong" || !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") {
		t.Errorf("ping: %q %v", got.body, got.header)
	}
	sameJSON(t, p.must(200, "GET", root, "", nobody).body, `{"description":"OpenWhisk API","api_version":"1.0.0","api_version_path":"v1",
		"build":"today","buildno":"7","swagger_paths":{"ui":"/docs","api-docs":"/api-docs"}}`)
	sameJSON(t, p.must(200, "GET", root+"/", "", nobody).body, p.must(200, "GET", root, "", nobody).body)
	sameJSON(t, p.must(200, "GET", "/", "", nobody).body, `{"description":"OpenWhisk","support":{"github":"<any>","slack":"<any>"},"api_paths":["/api/v1"],
		"limits":{"actions_per_minute":60,"triggers_per_minute":60,"concurrent_actions":30,"sequence_length":50,
		"default_min_action_duration":100,"default_max_action_duration":300000,
		"default_min_action_memory":134217728,"default_max_action_memory":536870912,"default_min_action_logs":0,"default_max_action_logs":10485760,
		"min_action_duration":100,"max_action_duration":300000,"min_action_memory":134217728,"max_action_memory":536870912,"min_action_logs":0,"max_action_logs":10485760},
		"runtimes":{"nodejs":[
			{"kind":"nodejs:18","image":"whirl/nodejs:18","deprecated":true,"default":false,"attached":true,"requireMain":false},
			{"kind":"nodejs:20","image":"whirl/nodejs:20","deprecated":false,"default":true,"attached":true,"requireMain":false}],
			"java":[{"kind":"java:8","image":"whirl/java:8","deprecated":false,"default":true,"attached":false,"requireMain":true}]}}`)
	sameJSON(t, p.must(200, "GET", root+"/namespaces", "").body, `["guest"]`)
	sameJSON(t, p.must(200, "GET", root+"/namespaces/", "").body, `["guest"]`)
	sameJSON(t, p.must(200, "GET", guest+"/limits", "").body, `{"invocationsPerMinute":60,"concurrentInvocations":30,"firesPerMinute":60,
		"minActionMemory":128,"maxActionMemory":512,"minActionLogs":0,"maxActionLogs":10,"minActionTimeout":100,"maxActionTimeout":300000,
		"minActionConcurrency":1,"maxActionConcurrency":1,"maxParameterSize":"1048576 B","maxActionInstances":30}`)
}

func TestTransactions(t *testing.T) {
	p := newPlatform(t)
	generated := regexp.MustCompile(`^[A-Za-z0-9]{32}$`)
	for _, sent := range []string{"", "sid_1", strings.Repeat("x", 257), "caf\u00e9"} {
		if got := p.do("GET", "/ping", "", "X-Request-ID: "+sent).header.Get("X-Request-ID"); !generated.MatchString(got) {
			t.Errorf("sent %q, got %q, want a new id", sent, got)
		}
	}
	if got := p.do("GET", "/nowhere", "", "X-Request-ID: mine-1").decode(t)["code"]; got != "mine-1" {
		t.Errorf("code %v, want the caller's id", got)
	}
}

func TestCORS(t *testing.T) {
	p := newPlatform(t)
	for _, path := range []string{root, guest + "/actions", root + "/nowhere/at/all"} {
		got := p.must(200, "OPTIONS", path, "", "Authorization:")
		checkCORS(t, got.header, "GET, DELETE, POST, PUT, HEAD")
	}
	checkCORS(t, p.must(401, "GET", guest+"/actions", "", "Authorization:").header, "GET, DELETE, POST, PUT, HEAD")
	checkCORS(t, p.must(200, "OPTIONS", "/anything", "").header, "OPTIONS, GET, POST")
}

func checkCORS(t *testing.T, header http.Header, methods string) {
	t.Helper()
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin":  "*",
		"Access-Control-Allow-Headers": "Authorization, Origin, X-Requested-With, Content-Type, Accept, User-Agent",
		"Access-Control-Allow-Methods": methods,
	} {
		if got := header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func TestStoreErrorsStayInTheLog(t *testing.T) {
	for kind, want := range map[whisk.Kind]int{whisk.Unavailable: 503, whisk.Internal: 500} {
		p := newPlatform(t)
		p.must(200, "GET", root+"/namespaces", "")
		p.store.SetFault(func(op string, _ bool) error {
			if op == "Get" {
				return whisk.Errorf(kind, "disk secret is full")
			}
			return nil
		})
		if got := p.must(want, "GET", guest+"/actions/a", ""); strings.Contains(got.body, "secret") {
			t.Errorf("the answer shows the store's error: %s", got.body)
		}
	}
}

func TestPanicsAnswer500(t *testing.T) {
	p := newPlatform(t)
	p.store.SetFault(func(op string, _ bool) error {
		if op == "List" {
			panic("broken invariant")
		}
		return nil
	})
	got := p.must(500, "GET", guest+"/actions", "").decode(t)
	if got["error"] != "There was an internal server error." || got["code"] != "tid" {
		t.Errorf("body %v", got)
	}
}

// brokenWriter breaks down in the middle of an answer.
type brokenWriter struct{ *httptest.ResponseRecorder }

func (brokenWriter) Write([]byte) (int, error) { panic("the connection's memory is gone") }

// Half an answer must not look like a whole one: the server has to cut the connection.
func TestPanicsInAnAnswerCutIt(t *testing.T) {
	p := newPlatform(t)
	defer func() {
		if cause := recover(); cause != http.ErrAbortHandler {
			t.Errorf("the server learns of %v, want %v", cause, http.ErrAbortHandler)
		}
	}()
	p.handler.ServeHTTP(brokenWriter{httptest.NewRecorder()}, httptest.NewRequest("GET", "/ping", nil))
	t.Error("the server learns of nothing")
}
