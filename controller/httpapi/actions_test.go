// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/whisk"
)

// The golden sample of OpenWhisk's own documentation.
func TestCreateAnswersTheWholeAction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		now := time.Now().UnixMilli()
		got := p.must(200, "PUT", guest+"/actions/hello?overwrite=false", `{"exec":{"kind":"nodejs:default","code":"function main(p){return p}"},
			"parameters":[{"key":"a","value":1}],"annotations":[{"key":"web-export","value":true}],"limits":{"memory":128},"unknown":1,"updated":5}`)
		want := fmt.Sprintf(`{"namespace":"guest","name":"hello","version":"0.0.1","publish":false,"updated":%d,
			"exec":{"kind":"nodejs:20","code":"function main(p){return p}","binary":false},"parameters":[{"key":"a","value":1}],
			"annotations":[{"key":"web-export","value":true},{"key":"provide-api-key","value":false},{"key":"exec","value":"nodejs:20"}],
			"limits":{"timeout":60000,"memory":128,"logs":10,"concurrency":1}}`, now)
		sameJSON(t, got.body, want)
		sameJSON(t, p.must(200, "GET", guest+"/actions/hello", "").body, want)
		without := p.must(200, "GET", root+"/namespaces/guest/actions/hello?code=false", "").body
		sameJSON(t, without, strings.Replace(want, `"code":"function main(p){return p}",`, "", 1))
		list := p.must(200, "GET", guest+"/actions", "").body
		sameJSON(t, list, fmt.Sprintf(`[{"namespace":"guest","name":"hello","version":"0.0.1","publish":false,"updated":%d,"exec":{"binary":false},
			"annotations":[{"key":"web-export","value":true},{"key":"provide-api-key","value":false},{"key":"exec","value":"nodejs:20"}],
			"limits":{"timeout":60000,"memory":128,"logs":10,"concurrency":1}}]`, now))
		sameJSON(t, p.must(200, "DELETE", guest+"/actions/hello", "").body, want)
		p.must(404, "GET", guest+"/actions/hello", "")
	})
}

func TestUpdateMerges(t *testing.T) {
	p := newPlatform(t)
	p.must(200, "PUT", guest+"/actions/a", `{"exec":{"kind":"nodejs:20","code":"one","main":"go"},"parameters":[{"key":"p","value":1},{"key":"q","value":2}],
		"annotations":[{"key":"x","value":"old"},{"key":"y","value":{"deep":[1.50]}}],"limits":{"memory":128,"timeout":1000},"publish":true}`)
	conflict := p.must(409, "PUT", guest+"/actions/a", hello).decode(t)
	if conflict["error"] != "resource already exists" {
		t.Errorf("error %v", conflict["error"])
	}
	p.must(200, "PUT", guest+"/actions/a?overwrite=true", `{"limits":{"logs":1},"annotations":[{"key":"x","value":"new"},{"key":"z","value":null}],"delAnnotations":["y","exec"]}`)
	got := p.must(200, "GET", guest+"/actions/a", "").decode(t)
	if got["version"] != "0.0.2" || got["publish"] != true {
		t.Errorf("after the first update: %v", got)
	}
	for key, want := range map[string]string{
		"limits":      "map[concurrency:1 logs:1 memory:128 timeout:1000]",
		"parameters":  "[map[key:p value:1] map[key:q value:2]]",
		"annotations": "[map[key:x value:new] map[key:provide-api-key value:false] map[key:z value:<nil>] map[key:exec value:nodejs:20]]",
		"exec":        "map[binary:false code:one kind:nodejs:20 main:go]",
	} {
		if text := fmt.Sprint(got[key]); text != want {
			t.Errorf("%s: %s, want %s", key, text, want)
		}
	}
	got = p.must(200, "PUT", guest+"/actions/a?overwrite=true", `{"parameters":[{"key":"r","value":3}],"version":"2.5","publish":false,"exec":{"kind":"nodejs:20","code":"two"}}`).decode(t)
	if got["version"] != "2.5.0" || fmt.Sprint(got["parameters"]) != "[map[key:r value:3]]" || got["publish"] != false || fmt.Sprint(got["exec"]) != "map[binary:false code:two kind:nodejs:20]" {
		t.Errorf("after the second update: %v", got)
	}
	if retired := p.balancer.Retirements(); len(retired) != 2 || retired[1].Name.Name != "a" || retired[1].Keep <= retired[0].Keep {
		t.Errorf("retired %v, want the containers of both former revisions", retired)
	}
	p.must(200, "DELETE", guest+"/actions/a", "")
	if got := p.must(200, "PUT", guest+"/actions/a", hello).decode(t); got["version"] != "0.0.1" {
		t.Errorf("created again with version %v", got["version"])
	}
}

func TestPutRefusals(t *testing.T) {
	p := newPlatform(t, func(c *controller.Config) { c.Limits.Code = whisk.MB }) // 48 MB would only take longer
	exec := `"exec":{"kind":"nodejs:20","code":"x"}`
	big := strings.Repeat("a", 1<<20)
	tests := []struct {
		body   string
		status int
		text   string
	}{
		{`{}`, 400, "exec undefined"},
		{`{"exec":{"code":"x"}}`, 400, "The request content was malformed:\n'kind' must be a string defined in 'exec'"},
		{`{"exec":{"kind":1,"code":"x"}}`, 400, "The request content was malformed:\n'kind' must be a string defined in 'exec'"},
		{`{"exec":{"kind":"cobol:60","code":"x"}}`, 400, "The request content was malformed:\nThe specified runtime 'cobol:60' is not supported by this platform. Valid values are: 'java:8', 'nodejs:18', 'nodejs:20'."},
		{`{"exec":{"kind":"python:3.11","code":"x"}}`, 400, "The request content was malformed:\nThe specified runtime 'python:3.11' is not supported by this platform. Valid values are: 'java:8', 'nodejs:18', 'nodejs:20'. To get it: apt-get install python3."},
		{`{"exec":{"kind":"sequence","components":["/_/a"]}}`, 400, "The request content was malformed:\nThe specified runtime 'sequence' is not supported by this platform. Valid values are: 'java:8', 'nodejs:18', 'nodejs:20'."},
		{`{"exec":{"kind":"nodejs","code":"x"}}`, 400, "The request content was malformed:\nThe specified runtime 'nodejs' is not supported by this platform. Valid values are: 'java:8', 'nodejs:18', 'nodejs:20'."},
		{`{"exec":{"kind":"nodejs:18","code":"x"}}`, 400, "The 'nodejs:18' runtime is no longer supported. You may read and delete but not update or invoke this action."},
		{`{"exec":{"kind":"java:default","code":"x"}}`, 400, "The request content was malformed:\n'main' must be a string defined in 'exec' for 'java:default' actions"},
		{`{"exec":{"kind":" COBOL ","code":"x"}}`, 400, "The request content was malformed:\nThe specified runtime 'cobol' is not supported by this platform. Valid values are: 'java:8', 'nodejs:18', 'nodejs:20'."},
		{`{"exec":{"kind":"nodejs:20"}}`, 400, "The request content was malformed:\n'code' must be a string defined in 'exec' for 'nodejs:20' actions"},
		{`{"exec":{"kind":"nodejs:20","code":5}}`, 400, "The request content was malformed:\n'code' must be a string defined in 'exec' for 'nodejs:20' actions"},
		{`{"exec":{"kind":"nodejs:20","code":"x","main":5}}`, 400, "The request content was malformed:\nif defined, 'main' be a string in 'exec' for 'nodejs:20' actions"},
		{`{"exec":"x"}`, 400, "The request content was malformed:\n'exec' must be an object"},
		{`{"Exec":{"kind":"nodejs:20","code":"x"}}`, 400, "exec undefined"},
		{`{` + exec + `,"limits":"x"}`, 400, "The request content was malformed:\n'limits' must be an object"},
		{`{` + exec + `,"limits":{"memory":"256"}}`, 400, "The request content was malformed:\nmemory limit malformed"},
		{`{` + exec + `,"limits":{"timeout":100.5}}`, 400, "The request content was malformed:\ntime limit must be whole number"},
		{`{` + exec + `,"limits":{"memory":1e400}}`, 400, "memory size 9223372036854775807 MB exceeds allowed threshold of 512 MB"},
		{`{` + exec + `,"limits":{"memory":-1e400}}`, 400, "memory size -9223372036854775808 MB below allowed threshold of 128 MB"},
		{`{` + exec + `,"limits":{"timeout":1,"memory":1}}`, 400, "memory size 1 MB below allowed threshold of 128 MB"},
		{`{` + exec + `,"parameters":{"a":1}}`, 400, "The request content was malformed:\n'parameters' must be an array of objects, each with a string 'key' and a 'value'"},
		{`{` + exec + `,"annotations":[null]}`, 400, "The request content was malformed:\n'annotations' must be an array of objects, each with a string 'key' and a 'value'"},
		{`{` + exec + `,"delAnnotations":"a"}`, 400, "The request content was malformed:\n'delAnnotations' must be an array of strings"},
		{`{` + exec + `,"publish":"yes"}`, 400, "The request content was malformed:\n'publish' must be a boolean"},
		{`{` + exec + `,"version":1}`, 400, "The request content was malformed:\n'version' must be a string"},
		{`{` + exec + `,"parameters":[{"key":"a","value":"` + "\xff" + `"}]}`, 400, "The request content was malformed:\nJSON must be UTF-8"},
		{`{` + exec + `,"x":` + strings.Repeat("[", 1000) + strings.Repeat("]", 1000) + `}`, 400, "The request content was malformed:\nJSON must not be nested more than 1000 levels deep"},
		{`{` + exec + `,"limits":{"memory":1024}}`, 400, "memory size 1024 MB exceeds allowed threshold of 512 MB"},
		{`{` + exec + `,"limits":{"memory":1}}`, 400, "memory size 1 MB below allowed threshold of 128 MB"},
		{`{` + exec + `,"limits":{"timeout":300001}}`, 400, "duration 300001 milliseconds exceeds allowed threshold of 300000 milliseconds"},
		{`{` + exec + `,"limits":{"timeout":99}}`, 400, "duration 99 milliseconds below allowed threshold of 100 milliseconds"},
		{`{` + exec + `,"limits":{"timeout":9223372036854775807}}`, 400, "duration 9223372036854775807 milliseconds exceeds allowed threshold of 300000 milliseconds"},
		{`{` + exec + `,"limits":{"logs":11}}`, 400, "log size 11 MB exceeds allowed threshold of 10 MB"},
		{`{` + exec + `,"limits":{"concurrency":2}}`, 400, "concurrency 2 exceeds allowed threshold of 1"},
		{`{` + exec + `,"limits":{"concurrency":0}}`, 400, "concurrency 0 below allowed threshold of 1"},
		{`{` + exec + `,"parameters":[{"key":"p","value":"` + big + `"}]}`, 413, "parameters larger than allowed: 1048579 > 1048576 bytes."},
		{`{` + exec + `,"annotations":[{"key":"p","value":"` + big + `"}]}`, 413, "annotations larger than allowed: 1048579 > 1048576 bytes."},
		{`{"exec":{"kind":"nodejs:20","code":"` + strings.Repeat("a", 1<<20+1) + `"}}`, 413, "exec larger than allowed: 1048577 > 1048576 bytes."},
	}
	for _, test := range tests {
		got := p.do("PUT", guest+"/actions/x", test.body)
		if text := got.decode(t)["error"]; got.status != test.status || text != test.text {
			t.Errorf("PUT %.80s = %d %q, want %d %q", test.body, got.status, text, test.status, test.text)
		}
	}
	if got := p.must(200, "GET", guest+"/actions?count=true", "").body; got != `{"actions":0}` {
		t.Errorf("refused actions are there: %s", got)
	}
}

// What a body says is refused before it matters whether the action is there,
// and a deprecated kind after.
func TestOrderOfChecksOfAPut(t *testing.T) {
	p := newPlatform(t, func(c *controller.Config) { c.Limits.Code = 10 })
	p.must(200, "PUT", guest+"/actions/x", `{"exec":{"kind":"nodejs:20","code":"x"}}`)
	for _, test := range []struct {
		body   string
		status int
		text   string
	}{
		{`{"exec":{"kind":"cobol","code":"` + strings.Repeat("a", 11) + `"},"limits":{"memory":1}}`, 400, "The specified runtime 'cobol'"},
		{`{"exec":{"kind":"nodejs:20","code":"` + strings.Repeat("a", 11) + `"},"limits":{"memory":1}}`, 413, "exec larger than allowed: 11 > 10 bytes."},
		{`{"exec":{"kind":"nodejs:20","code":"a"},"limits":{"memory":1}}`, 400, "memory size 1 MB below"},
		{`{"exec":{"kind":"nodejs:18","code":"a"}}`, 409, "resource already exists"},
		{`{}`, 409, "resource already exists"},
	} {
		got := p.do("PUT", guest+"/actions/x", test.body)
		if text, _ := got.decode(t)["error"].(string); got.status != test.status || !strings.Contains(text, test.text) {
			t.Errorf("PUT %s = %d %q, want %d %q", test.body, got.status, text, test.status, test.text)
		}
	}
}

// Python's JSON writes whole floats, and other clients write what they like.
func TestPutReadsJSONAsOpenWhiskDoes(t *testing.T) {
	p := newPlatform(t)
	body := `{"exec":{"kind":"nodejs:20","code":"x","Main":"no","binary":"what"},"limits":{"memory":128},"limits":{"memory":256.0,"timeout":5e3,"logs":null},` +
		`"parameters":[{"key":"a","value":1}],"parameters":null,"annotations":[{"key":"k","value":{ "v" : [ 1.0 ] }}],"Publish":true,"version":null,"namespace":"else","name":7}`
	sameJSON(t, p.must(200, "PUT", guest+"/actions/x", body).body, `{"namespace":"guest","name":"x","version":"0.0.1","publish":false,"updated":"<any>",
		"exec":{"kind":"nodejs:20","code":"x","binary":false},"parameters":[],
		"annotations":[{"key":"k","value":{"v":[1.0]}},{"key":"provide-api-key","value":false},{"key":"exec","value":"nodejs:20"}],
		"limits":{"timeout":5000,"memory":256,"logs":10,"concurrency":1}}`)
}

// The last patch number must not make a document that nobody can read.
func TestLastPatchNumberHasNoNext(t *testing.T) {
	p := newPlatform(t)
	p.must(200, "PUT", guest+"/actions/x", `{"exec":{"kind":"nodejs:20","code":"x"},"version":"1.0.2147483647"}`)
	got := p.must(400, "PUT", guest+"/actions/x?overwrite=true", `{}`).decode(t)
	if got["error"] != "the version 1.0.2147483647 cannot be raised, the update must give a version" {
		t.Errorf("got %v", got)
	}
	if got := p.must(200, "GET", guest+"/actions/x", "").decode(t); got["version"] != "1.0.2147483647" {
		t.Errorf("got %v", got)
	}
	p.must(200, "PUT", guest+"/actions/x?overwrite=true", `{"version":"1.1.0"}`)
}

// What a user may send is not refused for what the server adds to it, and
// updates do not add up beyond it.
func TestLargestAnnotations(t *testing.T) {
	p := newPlatform(t)
	annotations := func(key string, size int) string {
		return `"annotations":[{"key":"` + key + `","value":"` + strings.Repeat("a", size-len(key)-2) + `"}]}`
	}
	p.must(200, "PUT", guest+"/actions/x", `{"exec":{"kind":"nodejs:20","code":"x"},`+annotations("k", 1<<20))
	got := p.must(413, "PUT", guest+"/actions/x?overwrite=true", `{`+annotations("l", 100)).decode(t)
	if got["error"] != "annotations larger than allowed: 1048676 > 1048576 bytes." {
		t.Errorf("got %v", got)
	}
	p.must(200, "PUT", guest+"/actions/x?overwrite=true", `{"delAnnotations":["k"],`+annotations("l", 1<<20))
}

func TestAbsurdBodiesAreNotRead(t *testing.T) {
	p := newPlatform(t)
	r := httptest.NewRequest("PUT", guest+"/actions/x", iotest.ErrReader(errors.New("somebody reads it")))
	r.ContentLength = 51 << 20
	r.Header.Set("Authorization", basic(guestUUID, guestKey))
	w := httptest.NewRecorder()
	p.handler.ServeHTTP(w, r)
	if w.Code != 413 || !strings.Contains(w.Body.String(), "The request content is larger than the server is willing or able to process.") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestCodeRoundTrips(t *testing.T) {
	p := newPlatform(t)
	archive := base64.StdEncoding.EncodeToString([]byte("PK\x03\x04 and so on"))
	for code, binary := range map[string]bool{
		archive:              true,
		"abcd":               true,
		"abc":                false,
		"":                   false,
		"ab=d":               false,
		"function main() {}": false,
		"quotes \" \\ tabs \t lines \r\n null \x00 ü \u2028 <&>": false,
	} {
		quoted := quote(code)
		p.must(200, "PUT", guest+"/actions/c?overwrite=true", `{"exec":{"kind":"nodejs:20","code":`+quoted+`,"binary":true}}`)
		exec, _ := p.must(200, "GET", guest+"/actions/c", "").decode(t)["exec"].(map[string]any)
		if exec["code"] != code || exec["binary"] != binary {
			t.Errorf("sent %q, got %v, want binary %v", code, exec, binary)
		}
	}
}

func quote(s string) string {
	var b strings.Builder
	for _, r := range s {
		fmt.Fprintf(&b, "\\u%04x", r)
	}
	return `"` + b.String() + `"`
}

func TestDeprecatedAndMissingKinds(t *testing.T) {
	p := newPlatform(t)
	name := whisk.FullName{Namespace: "guest", Name: "old"}
	for kind, text := range map[string]string{
		"nodejs:18":  "The 'nodejs:18' runtime is no longer supported. You may read and delete but not update or invoke this action.",
		"python:3.9": "The specified runtime 'python:3.9' is not supported by this platform. Valid values are: 'java:8', 'nodejs:18', 'nodejs:20'. To get it: apt-get install python3.",
	} {
		body := `{"version":"0.0.1","kind":"` + kind + `","size":0,"binary":false,"parameters":[],"annotations":[],"limits":{"timeout":1000,"memory":256,"logs":1,"concurrency":1}}`
		if _, err := p.store.Put(t.Context(), whisk.Document{Collection: whisk.Actions, Name: name, Body: []byte(body)}); err != nil {
			t.Fatal(err)
		}
		p.must(200, "GET", guest+"/actions/old", "")
		for _, got := range []reply{p.must(400, "POST", guest+"/actions/old", "{}"), p.must(400, "PUT", guest+"/actions/old?overwrite=true", "{}")} {
			if got.decode(t)["error"] != text {
				t.Errorf("%s: %s", kind, got.body)
			}
		}
		p.must(200, "PUT", guest+"/actions/old?overwrite=true", hello)
		p.must(200, "DELETE", guest+"/actions/old", "")
	}
}

func TestCorruptedAndForeignDocuments(t *testing.T) {
	p := newPlatform(t)
	put := func(collection whisk.Collection, name string) {
		if _, err := p.store.Put(t.Context(), whisk.Document{Collection: collection, Name: whisk.FullName{Namespace: "guest", Name: name}, Body: []byte("garbage")}); err != nil {
			t.Fatal(err)
		}
	}
	put(whisk.Actions, "bad")
	put(whisk.Triggers, "trigger")
	if got := p.must(500, "GET", guest+"/actions/bad", "").decode(t)["error"]; got != "Resource is corrupted and cannot be read." {
		t.Error(got)
	}
	for _, method := range []string{"GET", "PUT", "POST", "DELETE"} {
		body := ""
		if method == "PUT" {
			body = hello
		}
		if got := p.must(409, method, guest+"/actions/trigger", body).decode(t)["error"]; got != "Resource by this name exists but is not in this collection." {
			t.Error(method, got)
		}
	}
}

func TestLists(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		for i := range 35 {
			p.must(200, "PUT", fmt.Sprintf("%s/actions/a%02d", guest, i), hello)
			time.Sleep(time.Millisecond)
		}
		names := func(query string) (names []string) {
			for _, entry := range p.must(200, "GET", guest+"/actions"+query, "").list(t) {
				names = append(names, entry["name"].(string))
			}
			return names
		}
		if got := names(""); len(got) != 30 || got[0] != "a34" || got[29] != "a05" {
			t.Errorf("default list %v", got)
		}
		if got := names("/?limit=0"); len(got) != 35 {
			t.Errorf("limit 0 gives %d", len(got))
		}
		if got := names("?limit=2&skip=33&unknown=x"); fmt.Sprint(got) != "[a01 a00]" {
			t.Errorf("last page %v", got)
		}
		if got := p.must(200, "GET", guest+"/actions?count=true&skip=5&limit=1", "").body; got != `{"actions":30}` {
			t.Errorf("count %s", got)
		}
		if got := p.must(200, "GET", guest+"/actions?count=true&skip=99", "").body; got != `{"actions":0}` {
			t.Errorf("count beyond the end %s", got)
		}
	})
}

func TestConcurrentWritersOneWins(t *testing.T) {
	p := newPlatform(t)
	p.must(200, "PUT", guest+"/actions/a", hello)
	other := false
	p.store.SetFault(func(op string, done bool) error {
		if op == "Get" && done && !other {
			other = true
			p.must(200, "PUT", guest+"/actions/a?overwrite=true", `{}`)
		}
		return nil
	})
	if got := p.must(409, "PUT", guest+"/actions/a?overwrite=true", `{}`).decode(t)["error"]; got != "Concurrent modification to resource detected." {
		t.Error(got)
	}
}

func TestOtherControllersWritesAreSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		stop := runInBubble(t, p)
		defer stop()
		p.must(200, "PUT", guest+"/actions/a", `{"exec":{"kind":"nodejs:20","code":"x"},"parameters":[{"key":"v","value":1}]}`)
		invoke := func() string {
			return p.must(200, "POST", guest+"/actions/a?blocking=true&result=true", "").body
		}
		if got := invoke(); got != `{"v":1}` {
			t.Fatal(got)
		}
		name := whisk.FullName{Namespace: "guest", Name: "a"}
		doc, err := p.store.Get(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		doc.Body = []byte(strings.Replace(string(doc.Body), `"value":1`, `"value":2`, 1))
		if _, err := p.store.Put(t.Context(), doc); err != nil {
			t.Fatal(err)
		}
		time.Sleep(300 * time.Millisecond) // a poll of the change feed
		if got := invoke(); got != `{"v":2}` {
			t.Errorf("got %s, want what another controller wrote", got)
		}
		gets := p.store.Calls("Get")
		invoke()
		if got := p.store.Calls("Get"); got != gets {
			t.Errorf("a warm call read the store %d times", got-gets)
		}

		subject, err := p.store.Subject(t.Context(), "guest-user")
		if err != nil {
			t.Fatal(err)
		}
		subject.Blocked = true
		if err := p.store.PutSubject(t.Context(), subject); err != nil {
			t.Fatal(err)
		}
		time.Sleep(300 * time.Millisecond)
		p.must(401, "GET", guest+"/actions", "")
		if got := p.balancer.Retirements(); len(got) == 0 || got[len(got)-1].Name != name {
			t.Errorf("retired %v, want the containers of the former revision", got)
		}
	})
}
