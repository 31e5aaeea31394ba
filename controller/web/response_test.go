// SPDX-License-Identifier: Apache-2.0

package web_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/whirl-faas/whirl/controller/web"
	"github.com/whirl-faas/whirl/whisk"
)

const (
	png       = "iVBORw0KGgo="
	pngBytes  = "\x89PNG\r\n\x1a\n"
	plainUTF8 = "text/plain; charset=UTF-8"
	htmlUTF8  = "text/html; charset=UTF-8"
	svg       = "image/svg+xml"
)

func TestRender(t *testing.T) {
	for _, test := range []struct {
		extension   web.Extension
		result      string
		status      int
		contentType string
		body        string
	}{
		{web.JSON, `{"a":1,"b":{"c":[1,{"d":"e:{,"}]}}`, 200, typeJSON, "{\n  \"a\": 1,\n  \"b\": {\n    \"c\": [1, {\n      \"d\": \"e:{,\"\n    }]\n  }\n}"},
		{web.JSON, ` [1, {} ,[ ]] `, 200, typeJSON, "[1, {\n\n}, []]"},
		{web.JSON, `{"statusCode":500,"body":"x"}`, 200, typeJSON, "{\n  \"statusCode\": 500,\n  \"body\": \"x\"\n}"},
		{web.JSON, `{"n":1.000000000000000000001}`, 200, typeJSON, "{\n  \"n\": 1.000000000000000000001\n}"},
		{web.HTML, `{"html":"<p>\u00fc</p>\n"}`, 200, htmlUTF8, "<p>ü</p>\n"},
		{web.HTML, `{"html":"a","body":"b"}`, 200, htmlUTF8, "b"},
		{web.HTML, `{"html":""}`, 200, htmlUTF8, ""},
		{web.SVG, `{"svg":"<svg/>"}`, 200, svg, "<svg/>"},
		{web.SVG, `{"svg":"a","body":"<svg/>"}`, 200, svg, "<svg/>"},
		{web.Text, `{"text":"a"}`, 200, plainUTF8, "a"},
		{web.Text, `{"text":"a","body":"b"}`, 200, plainUTF8, "b"},
		{web.Text, `{"body":{"a":1}}`, 200, plainUTF8, "{\n  \"a\": 1\n}"},
		{web.Text, `{"body":["a"]}`, 200, plainUTF8, `["a"]`},
		{web.Text, `{"body":true}`, 200, plainUTF8, "true"},
		{web.Text, `{"body":1.50}`, 200, plainUTF8, "1.50"},
		{web.Text, `{"body":null}`, 200, plainUTF8, "null"},
		{web.Text, `[1,2]`, 200, plainUTF8, "[1, 2]"},

		{web.HTTP, `{}`, 204, "", ""},
		{web.HTTP, `{"body":""}`, 204, "", ""},
		{web.HTTP, `{"body":null,"headers":{"content-type":"nonsense"}}`, 204, "", ""},
		{web.HTTP, `{"statusCode":200}`, 200, "", ""},
		{web.HTTP, `{"statusCode":"201"}`, 201, "", ""},
		{web.HTTP, `{"statusCode":444}`, 444, "", ""},
		{web.HTTP, `{"statusCode":2.01e2}`, 201, "", ""},
		{web.HTTP, `{"statusCode":599,"body":"x"}`, 599, htmlUTF8, "x"},
		{web.HTTP, `{"statusCode":204,"body":"x"}`, 204, "", ""},
		{web.HTTP, `{"statusCode":304,"body":{"a":1}}`, 304, "", ""},
		{web.HTTP, `{"body":"hello"}`, 200, htmlUTF8, "hello"},
		{web.HTTP, `{"body":"a","body":"b\"\\\/\b\f\n\r\t"}`, 200, htmlUTF8, "b\"\\/\b\f\n\r\t"},
		{web.HTTP, `{"\u0062ody":"\ud83d\ude00\ud83dx\ude00"}`, 200, htmlUTF8, "😀\ufffdx\ufffd"},
		{web.HTTP, `{"body":{"a":1}}`, 200, typeJSON, "{\n  \"a\": 1\n}"},
		{web.HTTP, `{"body":[1,2]}`, 200, typeJSON, "[1, 2]"},
		{web.HTTP, `{"body":3}`, 200, typeJSON, "3"},
		{web.HTTP, `{"body":false}`, 200, typeJSON, "false"},
		{web.HTTP, `{"body":{},"headers":{"Content-Type":"application/json; charset=utf-8"}}`, 200, typeJSON, "{\n\n}"},
		{web.HTTP, `{"body":{},"headers":{"CONTENT-TYPE":"application/hal+json"}}`, 200, "application/hal+json", "{\n\n}"},
		{web.HTTP, `{"body":"{\"a\":1}","headers":{"content-type":"application/json"}}`, 200, typeJSON, `{"a":1}`},
		{web.HTTP, `{"body":"hello world","headers":{"content-type":"application/json"}}`, 200, typeJSON, "hello world"},
		{web.HTTP, `{"body":"eyJhIjoxfQ==","headers":{"content-type":"application/json"}}`, 200, typeJSON, `{"a":1}`},
		{web.HTTP, `{"body":"eyJhIjoxfQ==","headers":{"content-type":"application/json-patch+json"}}`, 200, "application/json-patch+json", `{"a":1}`},
		{web.HTTP, `{"body":"{}","headers":{"content-type":"application/hal+json"}}`, 200, "application/hal+json", `{}`},
		{web.HTTP, `{"body":"` + png + `","headers":{"content-type":"image/png"}}`, 200, "image/png", pngBytes},
		{web.HTTP, `{"body":"iVBORw0KGgo","headers":{"content-type":"image/png"}}`, 200, "image/png", pngBytes},
		{web.HTTP, `{"body":"\/+\/+","headers":{"content-type":"application/octet-stream"}}`, 200, "application/octet-stream", "\xff\xef\xfe"},
		{web.HTTP, `{"body":"PHN2Zy8+","headers":{"content-type":"image/svg+xml"}}`, 200, svg, "<svg/>"},
		{web.HTTP, `{"body":"dGhpbmc=","headers":{"content-type":"application/x-thing; v=\"1 2\""}}`, 200, `application/x-thing; v="1 2"`, "thing"},
		{web.HTTP, `{"body":"thing","headers":{"content-type":"application/x-thing; charset=latin1"}}`, 200, "application/x-thing; charset=UTF-8", "thing"},
		{web.HTTP, `{"body":"a","headers":{"content-type":"Text/CSS"}}`, 200, "text/css; charset=UTF-8", "a"},
		{web.HTTP, `{"body":"a","headers":{"content-type":"text/plain; charset=ISO-8859-1"}}`, 200, plainUTF8, "a"},
		{web.HTTP, `{"body":"a","headers":{"content-type":"application/javascript"}}`, 200, "application/javascript; charset=UTF-8", "a"},
		{web.HTTP, `{"body":"data: a\n\n","headers":{"content-type":"text/event-stream"}}`, 200, "text/event-stream", "data: a\n\n"},
		{web.HTTP, `{"body":"a","headers":{"content-type":["text/plain","image/png"]}}`, 200, plainUTF8, "a"},
		{web.HTTP, ``, 204, "", ""},
	} {
		response, err := web.Render(test.extension, whisk.Response{Result: json.RawMessage(test.result)})
		if err != nil {
			t.Errorf("%s of %s: %v", test.extension, test.result, err)
			continue
		}
		if response.Status != test.status || response.Type != test.contentType || content(t, response) != test.body {
			t.Errorf("%s of %s is %d %q %q, want %d %q %q", test.extension, test.result, response.Status, response.Type, content(t, response), test.status, test.contentType, test.body)
		}
	}
}

func content(t *testing.T, response web.Response) string {
	t.Helper()
	var written bytes.Buffer
	n, err := response.Body.WriteTo(&written)
	if err != nil || int(n) != written.Len() || response.Body.Len() != written.Len() {
		t.Errorf("wrote %d bytes %v, said %d and announced %d", written.Len(), err, n, response.Body.Len())
	}
	return written.String()
}

func TestRenderHeaders(t *testing.T) {
	for headers, want := range map[string]map[string][]string{
		`{}`: {},
		`{"location":"http://example.org","X-N":1.50,"x-b":true}`:     {"Location": {"http://example.org"}, "X-N": {"1.50"}, "X-B": {"true"}},
		`{"Set-Cookie":["a=b","c=d; Path = /, x",[1, [false ] ],[]]}`: {"Set-Cookie": {"a=b", "c=d; Path = /, x", "1", "false"}},
		`{"Set-Cookie":"a","SET-COOKIE":["b"]}`:                       {"Set-Cookie": {"a", "b"}},
		`{"x-none":[]}`:                                               {},
		`{"content-length":"7","Transfer-Encoding":"chunked","connection":"close","date":1,"server":"x","content-type":"text/plain","Trailer":"x","upgrade":"h2c"}`: {},
		`{"x-text":"\u00fc\t\\"}`:       {"X-Text": {"ü\t\\"}},
		`{"x-odd":["]","[,","\"",","]}`: {"X-Odd": {"]", "[,", `"`, ","}},
	} {
		response, err := web.Render(web.HTTP, whisk.Response{Result: json.RawMessage(`{"headers":` + headers + `}`)})
		if err != nil || !reflect.DeepEqual(response.Header, want) {
			t.Errorf("%s: %v %v, want %v", headers, response.Header, err, want)
		}
	}
}

func TestRenderRefusals(t *testing.T) {
	const (
		notHTTP    = "Response is not valid 'message/http'."
		otherType  = "Response type in header did not match generated content type."
		noProperty = "Response does not include requested property."
		failed     = "There was an error processing your request."
	)
	for _, test := range []struct {
		extension web.Extension
		status    whisk.Status
		result    string
		want      string
	}{
		{web.HTML, whisk.Success, `{"a":1}`, "Response is not valid 'text/html'."},
		{web.HTML, whisk.Success, `{"body":null,"html":"x"}`, "Response is not valid 'text/html'."},
		{web.HTML, whisk.Success, `["x"]`, "Response is not valid 'text/html'."},
		{web.SVG, whisk.Success, `{"body":{}}`, "Response is not valid 'image/svg+xml'."},
		{web.Text, whisk.Success, `{"a":1}`, noProperty},
		{web.HTTP, whisk.Success, `[]`, notHTTP},
		{web.HTTP, whisk.Success, `{"statusCode":"OK"}`, notHTTP},
		{web.HTTP, whisk.Success, `{"statusCode":200.5}`, notHTTP},
		{web.HTTP, whisk.Success, `{"statusCode":null}`, notHTTP},
		{web.HTTP, whisk.Success, `{"statusCode":101}`, notHTTP},
		{web.HTTP, whisk.Success, `{"statusCode":600}`, notHTTP},
		{web.HTTP, whisk.Success, `{"statusCode":-1e400}`, notHTTP},
		{web.HTTP, whisk.Success, `{"statusCode":-200}`, notHTTP},
		{web.HTTP, whisk.Success, `{"headers":null}`, notHTTP},
		{web.HTTP, whisk.Success, `{"headers":["a"]}`, notHTTP},
		{web.HTTP, whisk.Success, `{"headers":{"a":null}}`, notHTTP},
		{web.HTTP, whisk.Success, `{"headers":{"a":["b",{}]}}`, notHTTP},
		{web.HTTP, whisk.Success, `{"headers":{"a b":"c"}}`, notHTTP},
		{web.HTTP, whisk.Success, `{"headers":{"":"c"}}`, notHTTP},
		{web.HTTP, whisk.Success, `{"headers":{"a":"b\r\nc: d"}}`, notHTTP},
		{web.HTTP, whisk.Success, `{"body":"x","headers":{"content-type":"xyzbar"}}`, "Response did not specify a known content-type."},
		{web.HTTP, whisk.Success, `{"body":{},"headers":{"content-type":"xyzbar"}}`, otherType},
		{web.HTTP, whisk.Success, `{"body":{},"headers":{"content-type":"text/html"}}`, otherType},
		{web.HTTP, whisk.Success, `{"body":"<svg/>","headers":{"content-type":"image/svg+xml"}}`, otherType},
		{web.HTTP, whisk.Success, `{"body":"abcde","headers":{"content-type":"image/png"}}`, otherType},
		{web.HTTP, whisk.Success, `{"body":"abc=d","headers":{"content-type":"image/png"}}`, otherType},
		{web.HTTP, whisk.Success, `{"body":"ab=","headers":{"content-type":"image/png"}}`, otherType},
		{web.HTTP, whisk.Success, `{"body":"abcd\n","headers":{"content-type":"image/png"}}`, otherType},
		{web.HTTP, whisk.DeveloperError, `{"error":"x"}`, failed},
		{web.Text, whisk.WhiskError, `{"error":"x"}`, failed},
		{web.JSON, whisk.ApplicationError, `{"error":"x"}`, "Response is not valid 'application/json'."},
		{web.HTTP, whisk.ApplicationError, `{"error":"x"}`, notHTTP},
		{web.HTTP, whisk.ApplicationError, `{"a":"x"}`, noProperty},
		{web.JSON, whisk.ApplicationError, `["x"]`, noProperty},
	} {
		response, err := web.Render(test.extension, whisk.Response{Status: test.status, Result: json.RawMessage(test.result)})
		kind := whisk.Invalid
		if test.want == noProperty {
			kind = whisk.NotFound
		}
		if err == nil || err.Error() != test.want || whisk.KindOf(err) != kind {
			t.Errorf("%s of %s: %+v %v, want %s", test.extension, test.result, response, err, test.want)
		}
	}
}

// What the action calls an error is its answer.
func TestRenderApplicationErrors(t *testing.T) {
	for _, test := range []struct {
		extension         web.Extension
		result            string
		status            int
		contentType, body string
	}{
		{web.HTTP, `{"error":{"statusCode":418,"body":"no"}}`, 418, htmlUTF8, "no"},
		{web.HTTP, `{"error":{"body":{"a":1}}}`, 200, typeJSON, "{\n  \"a\": 1\n}"},
		{web.JSON, `{"error":{"a":1}}`, 200, typeJSON, "{\n  \"a\": 1\n}"},
		{web.Text, `{"error":"no"}`, 200, plainUTF8, "no"},
		{web.Text, `{"error":7}`, 200, plainUTF8, "7"},
		{web.HTML, `{"error":"<b>no</b>"}`, 200, htmlUTF8, "<b>no</b>"},
	} {
		response, err := web.Render(test.extension, whisk.Response{Status: whisk.ApplicationError, Result: json.RawMessage(test.result)})
		if err != nil || response.Status != test.status || response.Type != test.contentType || content(t, response) != test.body {
			t.Errorf("%s of %s: %+v %v", test.extension, test.result, response, err)
		}
	}
}

// A string without escapes is sent from where it stands.
func TestPlainTextIsNotCopied(t *testing.T) {
	result := json.RawMessage(`{"body":"` + strings.Repeat("a", 1<<20) + `"}`)
	outcome := whisk.Response{Result: result}
	allocated := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			if _, err := web.Render(web.HTTP, outcome); err != nil {
				b.Fatal(err)
			}
		}
	}).AllocedBytesPerOp()
	if allocated > 4096 {
		t.Errorf("%d bytes allocated for a megabyte of text", allocated)
	}
}

// Deep results must not become many times longer by their indentation.
func TestIndentationIsBounded(t *testing.T) {
	const depth = 5000
	result := strings.Repeat(`{"":`, depth) + "1" + strings.Repeat("}", depth)
	response, err := web.Render(web.JSON, whisk.Response{Result: json.RawMessage(result)})
	if err != nil || response.Body.Len() > 40*len(result) {
		t.Errorf("%d bytes became %d, %v", len(result), response.Body.Len(), err)
	}
}

func TestAccepts(t *testing.T) {
	for _, test := range []struct {
		accept      []string
		contentType string
		want        bool
	}{
		{nil, htmlUTF8, true},
		{[]string{""}, htmlUTF8, true},
		{[]string{"*/*"}, htmlUTF8, true},
		{[]string{"text/*"}, htmlUTF8, true},
		{[]string{"application/json"}, htmlUTF8, false},
		{[]string{"application/json", "text/html"}, htmlUTF8, true},
		{[]string{"application/json, TEXT/html;q=0.1"}, htmlUTF8, true},
		{[]string{"*/*, text/html;q=0"}, htmlUTF8, false},
		{[]string{"*/*;q=0, text/*"}, htmlUTF8, true},
		{[]string{"text/html;level=1"}, htmlUTF8, false},
		{[]string{`a/b;c="d,text/html"`}, htmlUTF8, false},
		{[]string{"text/html;charset=utf-8"}, htmlUTF8, true},
		{[]string{"text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"}, typeJSON, true},
		{[]string{"nonsense/;"}, htmlUTF8, true},
	} {
		if got := web.Accepts(test.accept, test.contentType); got != test.want {
			t.Errorf("%q takes %s: %t", test.accept, test.contentType, got)
		}
	}
}

// Whatever an action responds, it is something that can be sent, or a text says why not.
func FuzzRender(f *testing.F) {
	for _, seed := range []string{
		`{"statusCode":"200","headers":{"a":[1,"b",[true]],"Content-Type":"image/png"},"body":"AAAA"}`, `{"body":"\ud800\n\u0000","headers":{"content-type":"text/plain"}}`,
		`[{"a":[]},{},"]"]`, `{"error":{"body":null}}`, `{"html":"","text":1e999,"svg":{}}`, `{"headers":{"a":"\u000a"}}`, "{\"body\":\"\xff\"}", `{"body":"{}","headers":{"content-type":"a/b+json;charset=x"}}`,
	} {
		f.Add(seed, uint8(0))
		f.Add(seed, uint8(7))
	}
	extensions := []web.Extension{web.HTTP, web.JSON, web.HTML, web.SVG, web.Text}
	f.Fuzz(func(t *testing.T, result string, choice uint8) {
		if !json.Valid([]byte(result)) || !strings.ContainsAny(strings.TrimSpace(result)[:1], "{[") {
			return // the balancer lets nothing else through
		}
		extension := extensions[int(choice)%len(extensions)]
		outcome := whisk.Response{Status: whisk.Status(choice / 64), Result: json.RawMessage(result)}
		response, err := web.Render(extension, outcome)
		if err != nil {
			if kind := whisk.KindOf(err); kind != whisk.Invalid && kind != whisk.NotFound {
				t.Errorf("%s: %v", result, err)
			}
			return
		}
		body := content(t, response)
		if response.Status < 200 || response.Status > 599 || response.Type == "" && body != "" {
			t.Errorf("%s: %+v", result, response)
		}
		if extension == web.JSON && !json.Valid([]byte(body)) {
			t.Errorf("%s is printed as %s", result, body)
		}
		for _, values := range response.Header {
			if strings.ContainsAny(strings.Join(values, ""), "\r\n\x00") {
				t.Errorf("%s: headers %q", result, response.Header)
			}
		}
	})
}

// Strings say what encoding/json reads in them, and what is printed is what was there.
func FuzzValues(f *testing.F) {
	f.Add(`a\n\u00e9\ud83d\ude00\ud800\\\/`)
	f.Add(`\udc00\ud800\u0041`)
	f.Fuzz(func(t *testing.T, text string) {
		quoted := `"` + text + `"`
		var want string
		if !utf8.ValidString(text) || json.Unmarshal([]byte(quoted), &want) != nil {
			return
		}
		result := json.RawMessage(`{"body":` + quoted + `,"b":[` + quoted + `,{"c":1}]}`)
		response, err := web.Render(web.Text, whisk.Response{Result: result})
		if err != nil || content(t, response) != want {
			t.Errorf("%s is %q %v, want %q", quoted, content(t, response), err, want)
		}
		response, err = web.Render(web.JSON, whisk.Response{Result: result})
		if err != nil {
			t.Fatal(err)
		}
		var before, after bytes.Buffer
		if json.Compact(&before, result) != nil || json.Compact(&after, []byte(content(t, response))) != nil || before.String() != after.String() {
			t.Errorf("%s is printed as %s", result, content(t, response))
		}
	})
}

// Binary bodies are the bytes that encoding/base64 reads in them.
func FuzzBase64(f *testing.F) {
	f.Add("AAAA")
	f.Add("AB==")
	f.Add("ABC")
	f.Add("A=B=")
	f.Fuzz(func(t *testing.T, text string) {
		if text == "" {
			return
		}
		quoted, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		result := json.RawMessage(`{"headers":{"content-type":"image/png"},"body":` + string(quoted) + `}`)
		response, err := web.Render(web.HTTP, whisk.Response{Result: result})
		encoding := base64.RawStdEncoding
		if strings.HasSuffix(text, "=") {
			encoding = base64.StdEncoding
		}
		want, invalid := encoding.DecodeString(text)
		if strings.ContainsAny(text, "\r\n") { // these it skips
			invalid = base64.CorruptInputError(0)
		}
		if (err == nil) != (invalid == nil) {
			t.Fatalf("%q: %v, want %v", text, err, invalid)
		}
		if err == nil && content(t, response) != string(want) {
			t.Errorf("%q is %q, want %q", text, content(t, response), want)
		}
	})
}
