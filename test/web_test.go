// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// webCode answers by the first part of the path that follows the action.
const webCode = `
const crypto = require('crypto')
async function main(args) {
	switch (args.__ow_path.split('/')[1]) {
	case 'cookies': return {statusCode: 302, headers: {location: 'http://example.org/', 'Set-Cookie': ['a=b', 'c=d; Path = /']}}
	case 'picture': return {headers: {'Content-Type': 'image/png'}, body: Buffer.from([0x89, 0x50, 0x4e, 0x47]).toString('base64')}
	case 'json':    return {body: {name: args.name, list: [1, 2]}}
	case 'refuse':  return {error: {statusCode: 418, body: 'no tea'}}
	case 'crash':   process.exit(1)
	case 'digest':  return {body: crypto.createHash('sha256').update(Buffer.from(args.__ow_body, 'base64')).digest('hex')}
	case 'array':   return [args.name]
	case 'self':
		const authorization = 'Basic ' + Buffer.from(process.env.__OW_API_KEY).toString('base64')
		const answer = await fetch(process.env.__OW_API_HOST + '/api/v1/namespaces', {headers: {authorization}})
		return {body: await answer.text()}
	}
	return {html: '<p>' + args.name + '</p>', text: args.__ow_user || 'nobody', args}
}`

// TestWebActions calls web actions in node as anybody on the web would.
func TestWebActions(t *testing.T) {
	need(t, "node")
	p := start(t, "--vanity-host", "whirl.test")
	p.deployWeb(t, "page", `{"key":"web-export","value":true},{"key":"final","value":true},{"key":"provide-api-key","value":true}`)
	p.deployWeb(t, "raw", `{"key":"web-export","value":true},{"key":"raw-http","value":true},{"key":"require-whisk-auth","value":"secret"}`)

	got := p.visit(t, "GET", "/page.html?name=you", "", nil)
	if got.status != 200 || string(got.body) != "<p>you</p>" || got.header.Get("Content-Type") != "text/html; charset=UTF-8" || got.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("page: %d %v %s", got.status, got.header, got.body)
	}
	record := p.send(t, "GET", "/namespaces/_/activations/"+got.header.Get("X-Openwhisk-Activation-Id"), "").object(t)
	if record["name"] != "page" || record["subject"] != "guest" {
		t.Errorf("record %v", record)
	}
	got = p.visit(t, "PATCH", "/page.json/x/a%20b?name=q", "name=form+field", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "X-Thing": {"1"}})
	var page struct{ Args map[string]any }
	if err := json.Unmarshal(got.body, &page); err != nil {
		t.Fatalf("%v in %s", err, got.body)
	}
	headers, _ := page.Args["__ow_headers"].(map[string]any)
	if page.Args["__ow_method"] != "patch" || page.Args["name"] != "form field" || page.Args["__ow_path"] != "/x/a%20b" || headers["x-thing"] != "1" || page.Args["bound"] != 1.0 {
		t.Errorf("the action got %v", page.Args)
	}
	if got := p.visit(t, "GET", "/page.text", "", http.Header{"Authorization": {basicAuth(guestKey)}}); string(got.body) != "guest" {
		t.Errorf("user: %d %s", got.status, got.body)
	}

	for _, test := range []struct {
		path   string
		status int
		body   string
	}{
		{"/page/json?name=you", 200, "{\n  \"name\": \"you\",\n  \"list\": [1, 2]\n}"},
		{"/page/self", 200, `["guest"]`},
		{"/page/picture", 200, "\x89PNG"},
		{"/page/refuse", 418, "no tea"},
		{"/page.json/array?name=you", 200, `["you"]`},
		{"/page/array?name=you", 400, "Response is not valid 'message/http'."},
		{"/page?bound=2", 400, "Request defines parameters that are not allowed (e.g., reserved properties)."},
		{"/page.svg", 400, "Response is not valid 'image/svg+xml'."},
		{"/page/crash", 400, "There was an error processing your request."},
		{"/none", 404, "The requested resource does not exist."},
		{"/raw", 401, "Authentication is possible but has failed or not yet been provided."},
	} {
		got := p.visit(t, "GET", test.path, "", nil)
		body := string(got.body)
		if strings.HasPrefix(body, "{\n  \"error\": ") {
			body, _ = got.object(t)["error"].(string)
		}
		if got.status != test.status || body != test.body {
			t.Errorf("%s: %d %q, want %d %q", test.path, got.status, body, test.status, test.body)
		}
	}

	got = p.visit(t, "POST", "/page/cookies", "", nil)
	if got.status != 302 || got.header.Get("Location") != "http://example.org/" || fmt.Sprint(got.header["Set-Cookie"]) != "[a=b c=d; Path = /]" {
		t.Errorf("cookies: %d %v", got.status, got.header)
	}
	content := strings.Repeat("\x00\xff", 250_000)
	got = p.visit(t, "PUT", "/raw/digest", content, http.Header{"Content-Type": {"application/zip"}, "X-Require-Whisk-Auth": {"secret"}})
	if want := fmt.Sprintf("%x", sha256.Sum256([]byte(content))); string(got.body) != want {
		t.Errorf("digest of half a megabyte: %d %.200s, want %s", got.status, got.body, want)
	}
	got = p.visitHost(t, "guest.whirl.test", "GET", "/default/page/json?name=you", "", nil)
	if got.status != 200 || !strings.Contains(string(got.body), `"name": "you"`) {
		t.Errorf("by the namespace's host: %d %s", got.status, got.body)
	}
	if got := p.visit(t, "OPTIONS", "/raw", "", http.Header{"Access-Control-Request-Headers": {"x-a"}}); got.status != 200 || got.header.Get("Access-Control-Allow-Headers") != "x-a" {
		t.Errorf("options: %d %v", got.status, got.header)
	}
}

func (p *platform) deployWeb(t *testing.T, name, annotations string) {
	t.Helper()
	code, err := json.Marshal(webCode)
	if err != nil {
		t.Fatal(err)
	}
	body := fmt.Sprintf(`{"exec":{"kind":"nodejs:default","code":%s},"annotations":[%s],"parameters":[{"key":"bound","value":1}]}`, code, annotations)
	if got := p.send(t, "PUT", "/namespaces/_/actions/"+name, body); got.status != 200 {
		t.Fatalf("deploy %s: %d %s", name, got.status, got.body)
	}
}

// visit calls a web action of the guest's default package. It does not go where
// an answer leads.
func (p *platform) visit(t *testing.T, method, path, body string, header http.Header) reply {
	t.Helper()
	return p.visitHost(t, "", method, "/api/v1/web/guest/default"+path, body, header)
}

// visitHost asks for a path by the name of a host, "" for the platform's address.
func (p *platform) visitHost(t *testing.T, host, method, path, body string, header http.Header) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, p.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	if header != nil {
		req.Header = header
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, answer}
}
