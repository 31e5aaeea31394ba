// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/whisk"
)

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
		{`{"exec":{"kind":"cobol:60","code":"x"}}`, 400, "The request content was malformed:\nThe specified runtime 'cobol:60' is not supported by this platform. Valid values are: 'java:8', 'nodejs:18', 'nodejs:20', 'sequence'."},
		{`{"exec":{"kind":"python:3.11","code":"x"}}`, 400, "The request content was malformed:\nThe specified runtime 'python:3.11' is not supported by this platform. Valid values are: 'java:8', 'nodejs:18', 'nodejs:20', 'sequence'. To get it: apt-get install python3."},
		{`{"exec":{"kind":"sequence","components":["/_/a"]}}`, 400, "Sequence component does not exist."},
		{`{"exec":{"kind":"nodejs","code":"x"}}`, 400, "The request content was malformed:\nThe specified runtime 'nodejs' is not supported by this platform. Valid values are: 'java:8', 'nodejs:18', 'nodejs:20', 'sequence'."},
		{`{"exec":{"kind":"nodejs:18","code":"x"}}`, 400, "The 'nodejs:18' runtime is no longer supported. You may read and delete but not update or invoke this action."},
		{`{"exec":{"kind":"java:default","code":"x"}}`, 400, "The request content was malformed:\n'main' must be a string defined in 'exec' for 'java:default' actions"},
		{`{"exec":{"kind":" COBOL ","code":"x"}}`, 400, "The request content was malformed:\nThe specified runtime 'cobol' is not supported by this platform. Valid values are: 'java:8', 'nodejs:18', 'nodejs:20', 'sequence'."},
		{`{"exec":{"kind":"nodejs:20"}}`, 400, "The request content was malformed:\n'code' must be a string defined in 'exec' for 'nodejs:20' actions"},
		{`{"exec":{"kind":"nodejs:20","code":5}}`, 400, "The request content was malformed:\n'code' must be a string defined in 'exec' for 'nodejs:20' actions"},
		{`{"exec":{"kind":"nodejs:20","code":"x","main":5}}`, 400, "The request content was malformed:\nif defined, 'main' be a string in 'exec' for 'nodejs:20' actions"},
		{`{"exec":"x"}`, 400, "The request content was malformed:\n'exec' must be an object"},
		{`{"Exec":{"kind":"nodejs:20","code":"x"}}`, 400, "exec undefined"},
		{`{` + exec + `,"limits":"x"}`, 400, "The request content was malformed:\n'limits' must be an object"},
		{`{` + exec + `,"limits":{"memory":"256"}}`, 400, "The request content was malformed:\nmemory limit malformed"},
		{`{` + exec + `,"limits":{"timeout":100.5}}`, 400, "The request content was malformed:\nrequirement failed: time limit must be whole number"},
		{`{` + exec + `,"limits":{"instances":-1}}`, 400, "The request content was malformed:\nrequirement failed: Action container concurrency must be greater than or equal to 0."},
		{`{` + exec + `,"limits":{"instances":1.5}}`, 400, "The request content was malformed:\nrequirement failed: instance concurrency limit must be whole number"},
		{`{` + exec + `,"limits":{"instances":"1"}}`, 400, "The request content was malformed:\ninstance concurrency limit malformed"},
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

// However many send code of 48 MB at once, memory for some of them is all that
// is taken; short bodies and other requests never wait for it.
func TestLongBodiesShareRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		put := func(name string, body io.Reader) int {
			r := httptest.NewRequest("PUT", guest+"/actions/"+name, body)
			r.ContentLength = -1
			r.Header.Set("Authorization", basic(guestUUID, guestKey))
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			p.handler.ServeHTTP(w, r)
			return w.Code
		}
		var senders [4]*io.PipeWriter
		var sending sync.WaitGroup
		for i := range senders {
			body, sender := io.Pipe()
			senders[i] = sender
			sending.Go(func() {
				if got := put(fmt.Sprint("sent", i), body); got != 200 {
					t.Errorf("sender %d was answered %d", i, got)
				}
			})
		}
		synctest.Wait()
		if got := put("x", strings.NewReader(hello)); got != 503 {
			t.Errorf("without room: %d, want 503", got)
		}
		p.must(200, "PUT", guest+"/actions/short", hello)
		finish := func(sender *io.PipeWriter) {
			if _, err := io.WriteString(sender, hello); err != nil {
				t.Error(err)
			}
			sender.Close()
		}
		time.AfterFunc(10*time.Second, func() { finish(senders[0]) })
		if got := put("x", strings.NewReader(hello)); got != 200 {
			t.Errorf("with room after a while: %d, want 200", got)
		}
		for _, sender := range senders[1:] {
			finish(sender)
		}
		sending.Wait()
	})
}

// TestInstances holds that the bound on an action's containers is merged, shown and
// held against the namespace as OpenWhisk does it.
func TestInstances(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, allowed(100, 10, 100))
		defer runInBubble(t, p)()
		path := guest + "/actions/hello"
		with := func(instances string) string {
			return `{"exec":{"kind":"nodejs:20","code":"x"},"limits":{"instances":` + instances + `}}`
		}
		limits := func(method, path, body string) string {
			t.Helper()
			text, err := json.Marshal(p.must(200, method, path, body).decode(t)["limits"])
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
		want := func(got, want string) {
			t.Helper()
			if got != want {
				t.Errorf("limits %s, want %s", got, want)
			}
		}
		const none = `{"concurrency":1,"logs":10,"memory":256,"timeout":60000}`
		of := func(n string) string { return strings.Replace(none, `"logs"`, `"instances":`+n+`,"logs"`, 1) }
		want(limits("PUT", path, with("null")), none)
		want(limits("PUT", path+"?overwrite=true", `{"limits":{"instances":3}}`), of("3"))
		want(limits("PUT", path+"?overwrite=true", `{"limits":{"memory":256}}`), of("3"))
		want(limits("GET", path, ""), of("3"))
		want(limits("PUT", path+"?overwrite=true", `{"limits":{"instances":10}}`), of("10"))
		const tooMany = "Max action instance concurrency must not exceed your namespace concurrency of 10."
		p.refused(400, tooMany, "PUT", path+"?overwrite=true", `{"limits":{"instances":11}}`)
		p.refused(400, tooMany, "PUT", guest+"/actions/new", `{"limits":{"instances":1e30}}`) // before the code that is missing
		p.refused(409, "resource already exists", "PUT", path, with("11"))
		want(limits("GET", path, ""), of("10"))
		record := p.must(200, "POST", path+"?blocking=true", "").decode(t)
		annotations, err := json.Marshal(record["annotations"])
		if err != nil || !strings.Contains(string(annotations), `{"key":"limits","value":`+of("10")+`}`) {
			t.Errorf("annotations %s %v", annotations, err)
		}

		// One that may have none is shown and read as any other.
		want(limits("PUT", path+"?overwrite=true", `{"limits":{"instances":0}}`), of("0"))
		want(limits("GET", path, ""), of("0"))
		p.must(200, "PUT", guest+"/actions/twice", `{"exec":{"kind":"sequence","components":["/_/hello"]},"limits":{"instances":2}}`)
	})
}
