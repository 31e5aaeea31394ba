// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller/controllertest"
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
	p.must(200, "PUT", guest+"/actions/b", hello)
	got = p.must(200, "PUT", guest+"/actions/b?overwrite=true", `{"delAnnotations":["provide-api-key"]}`).decode(t)
	if fmt.Sprint(got["annotations"]) != "[map[key:exec value:nodejs:20]]" {
		t.Errorf("an update brought back what it removed: %v", got["annotations"])
	}
	if retired := slices.DeleteFunc(p.balancer.Retirements(), func(r controllertest.Retired) bool { return r.Name.Name == "b" }); len(retired) != 2 || retired[1].Name.Name != "a" || retired[1].Keep <= retired[0].Keep {
		t.Errorf("retired %v, want the containers of both former revisions", retired)
	}
	p.must(200, "DELETE", guest+"/actions/a", "")
	if got := p.must(200, "PUT", guest+"/actions/a", hello).decode(t); got["version"] != "0.0.1" {
		t.Errorf("created again with version %v", got["version"])
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
		"python:3.9": "The specified runtime 'python:3.9' is not supported by this platform. Valid values are: 'java:8', 'nodejs:18', 'nodejs:20', 'sequence'. To get it: apt-get install python3.",
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
