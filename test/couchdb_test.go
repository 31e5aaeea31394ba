// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	aliceKey = "5c3d2b8e-1f0a-4c67-9d1e-aaaaaaaaaaaa:aliceAliceAliceAliceAliceAliceAliceAliceAliceAliceAliceAliceAlic"
	labKey   = "5c3d2b8e-1f0a-4c67-9d1e-bbbbbbbbbbbb:labLabLabLabLabLabLabLabLabLabLabLabLabLabLabLabLabLabLabLabLabL"
	evilKey  = "5c3d2b8e-1f0a-4c67-9d1e-cccccccccccc:evilEvilEvilEvilEvilEvilEvilEvilEvilEvilEvilEvilEvilEvilEvilEvil"

	oldActivation = "0123456789abcdef0123456789abcdef"
	oldFiring     = "00000000000000000000000000000001"
)

// couch is a CouchDB with an OpenWhisk's databases.
type couch struct {
	url            string
	user, password string
}

// startCouch starts PouchDB's server with empty databases.
func startCouch(t *testing.T) *couch {
	t.Helper()
	dir := installNPM(t, "couchdb")
	c := &couch{user: "admin", password: "some secret"}
	server := exec.Command("node", "server.mjs")
	server.Dir, server.Env = dir, append(os.Environ(), "COUCHDB_USER="+c.user, "COUCHDB_PASSWORD="+c.password)
	var complaints output
	server.Stderr = &complaints
	out, err := server.StdoutPipe()
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("the CouchDB does not start: %v\n%s", err, complaints.String())
	}
	c.url = strings.TrimSpace(line)
	for _, database := range []string{"subjects", "whisks", "activations"} {
		c.send(t, http.MethodPut, "/ow_"+database, "", "")
	}
	return c
}

func (c *couch) send(t *testing.T, method, path, kind, body string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, c.url+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth(c.user, c.password)
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode >= 300 {
		t.Fatalf("%s %s: %d %s, %v", method, path, res.StatusCode, answer, err)
	}
	return answer
}

// put makes a document, in which ' stands for ", and then its attachments, as
// OpenWhisk does.
func (c *couch) put(t *testing.T, database, id, body string, attachments ...attachment) {
	t.Helper()
	path := "/ow_" + database + "/" + url.PathEscape(id)
	answer := c.send(t, http.MethodPut, path, "application/json", strings.ReplaceAll(body, "'", `"`))
	for _, a := range attachments {
		var made struct{ Rev string }
		if err := json.Unmarshal(answer, &made); err != nil {
			t.Fatal(err)
		}
		answer = c.send(t, http.MethodPut, path+"/"+a.name+"?rev="+made.Rev, a.kind, a.content)
	}
}

type attachment struct{ name, kind, content string }

func (c *couch) remove(t *testing.T, database, id string) {
	t.Helper()
	path := "/ow_" + database + "/" + url.PathEscape(id)
	var there struct {
		Rev string `json:"_rev"`
	}
	if err := json.Unmarshal(c.send(t, http.MethodGet, path, "", ""), &there); err != nil {
		t.Fatal(err)
	}
	c.send(t, http.MethodDelete, path+"?rev="+there.Rev, "", "")
}

// dump writes the databases to a directory, as docs/operations.md says.
func (c *couch) dump(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, database := range []string{"subjects", "whisks", "activations"} {
		answer := c.send(t, http.MethodGet, "/ow_"+database+"/_all_docs?include_docs=true&attachments=true", "", "")
		if err := os.WriteFile(filepath.Join(dir, database+".json"), answer, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// fill puts documents of every form into the databases. node is the kind of
// nodejs that this machine has.
func (c *couch) fill(t *testing.T, node string) {
	t.Helper()
	c.fillSubjects(t)
	c.fillActions(t, node)
	entity := `'publish':false,'version':'0.0.3','updated':1700000000000,'annotations':[]`
	c.put(t, "whisks", "alice/tools", `{'entityType':'package','namespace':'alice','name':'tools','binding':{},'parameters':[{'key':'from','value':'package'}],
		'publish':true,'version':'0.0.3','updated':1700000000000,'annotations':[]}`)
	c.put(t, "whisks", "alice/bound", `{'entityType':'package','namespace':'alice','name':'bound','binding':{'namespace':'alice','name':'tools'},
		'parameters':[{'key':'more','value':'binding'}],`+entity+`}`)
	c.put(t, "whisks", "alice/t", `{'entityType':'trigger','namespace':'alice','name':'t','limits':{},'parameters':[{'key':'from','value':'trigger'}],
		'rules':{'alice/on':{'action':{'path':'alice','name':'attached'},'status':'active'},
		'alice/off':{'action':{'path':'alice','name':'inline'},'status':'inactive'}},`+entity+`}`)
	c.put(t, "whisks", "alice/on", `{'entityType':'rule','namespace':'alice','name':'on','trigger':{'path':'alice','name':'t'},
		'action':{'path':'alice','name':'attached'},`+entity+`}`)
	c.put(t, "whisks", "alice/off", `{'namespace':'alice','name':'off','trigger':'t','action':'inline',`+entity+`}`)
	c.put(t, "whisks", "_design/whisks.v2.1.0", `{'language':'javascript','views':{}}`)
	c.fillActivations(t)
}

func (c *couch) fillSubjects(t *testing.T) {
	t.Helper()
	namespace := func(name, key string) string {
		uuid, secret, _ := strings.Cut(key, ":")
		return `{'name':'` + name + `','uuid':'` + uuid + `','key':'` + secret + `'}`
	}
	c.put(t, "subjects", "guest", `{'subject':'guest','namespaces':[`+namespace("guest", guestKey)+`]}`)
	c.put(t, "subjects", "alice", `{'subject':'alice','namespaces':[`+namespace("alice", aliceKey)+`,`+namespace("lab", labKey)+`]}`)
	c.put(t, "subjects", "mallory", `{'subject':'mallory','namespaces':[`+namespace("mallory", evilKey)+`],'blocked':true}`)
	c.put(t, "subjects", "lab/limits", `{'invocationsPerMinute':77,'maxActionMemory':256,'allowedKinds':['nodejs:20'],'storeActivations':true}`)
}

func (c *couch) fillActions(t *testing.T, node string) {
	t.Helper()
	put := func(id, exec, parameters string, attachments ...attachment) {
		path, name := id[:strings.LastIndex(id, "/")], id[strings.LastIndex(id, "/")+1:]
		c.put(t, "whisks", id, `{'entityType':'action','namespace':'`+path+`','name':'`+name+`','version':'0.0.5','publish':false,'updated':1700000000000,
			'exec':`+exec+`,'parameters':`+parameters+`,'annotations':[{'key':'exec','value':'`+node+`'}],
			'limits':{'timeout':60000,'memory':256,'logs':10,'concurrency':1}}`, attachments...)
	}
	code := func(name string) string {
		return `function main(args) { console.log('` + name + ` ran'); return {by: '` + name + `', args} }`
	}
	quoted := func(text string) string { return strings.ReplaceAll(text, `'`, "`") } // so that it fits into a document

	put("alice/inline", `{'kind':'`+node+`','code':'`+quoted(code("inline"))+`','binary':false}`, `[{'key':'from','value':'action'}]`)
	put("alice/named", `{'kind':'`+node+`','binary':false,'code':{'attachmentType':'text/plain; charset=UTF-8','attachmentName':'mem:`+
		base64.URLEncoding.EncodeToString([]byte(code("named")))+`','length':`+fmt.Sprint(len(code("named")))+`}}`, `[]`)
	long := code("attached") + "\n" + strings.Repeat("// longer than what is kept in a name\n", 1000)
	put("alice/attached", `{'kind':'`+node+`','binary':false,'code':{'attachmentType':'text/plain; charset=UTF-8','attachmentName':'couch:b2b5c8ba-9a4f-4f5a'}}`,
		`[]`, attachment{"b2b5c8ba-9a4f-4f5a", "text/plain; charset=UTF-8", long})
	archive, err := base64.StdEncoding.DecodeString(zipped(t, map[string]string{
		"package.json": `{"main": "lib.js"}`, "lib.js": `exports.main = args => ({by: "zip", args})`,
	}))
	if err != nil {
		t.Fatal(err)
	}
	put("alice/zip", `{'kind':'`+node+`','binary':true,'code':{'attachmentType':'application/octet-stream','attachmentName':'couch:zip-1'}}`,
		`[]`, attachment{"zip-1", "application/octet-stream", string(archive)})
	put("alice/legacy", `{'kind':'`+node+`','code':{'attachmentType':'text/plain','attachmentName':'codefile'}}`,
		`[]`, attachment{"codefile", "text/plain", code("legacy")})
	put("alice/jar", `{'kind':'java','main':'Main','jar':{'attachmentType':'application/java-archive','attachmentName':'jarfile'}}`,
		`[]`, attachment{"jarfile", "application/java-archive", "PK\x03\x04\xfb\xff jar"})
	put("alice/chain", `{'kind':'sequence','components':['/alice/named','/alice/attached']}`,
		`[{'key':'_actions','value':['/alice/named','/alice/attached']}]`)
	put("alice/tools/inner", `{'kind':'`+node+`','code':'`+quoted(code("inner"))+`','binary':false}`, `[]`)
	put("alice/sealed", `{'kind':'`+node+`','code':'`+quoted(code("sealed"))+`','binary':false}`, `[{'key':'p','value':'AAAADA==','encryption':'aes-128'}]`)
	put("alice/broken", `{'kind':'`+node+`','binary':false,'code':{'attachmentType':'text/plain','attachmentName':'couch:gone'}}`, `[]`)
}

func (c *couch) fillActivations(t *testing.T) {
	t.Helper()
	start := time.Now().Add(-time.Hour).UnixMilli()
	record := func(id string, start int64, rest string) {
		c.put(t, "activations", "alice/"+id, fmt.Sprintf(`{'entityType':'activation','activationId':'%s','namespace':'alice','subject':'alice',
			'version':'0.0.5','publish':false,'start':%d,'updated':%d,%s}`, id, start, start, rest))
	}
	record(oldActivation, start, fmt.Sprintf(`'name':'inner','end':%d,'duration':41,'cause':'%s','response':{'statusCode':1,'result':{'error':'no luck'},'size':19},
		'logs':['2026-01-01T00:00:00.000000000Z stdout: one','2026-01-01T00:00:00.000000001Z stderr: two'],
		'annotations':[{'key':'path','value':'alice/tools/inner'},{'key':'kind','value':'nodejs:6'}]`, start+41, oldFiring))
	record(oldFiring, start, `'name':'t','end':0,'response':{'statusCode':0,'result':{'a':1}},'annotations':[],
		'logs':['{\"statusCode\":0,\"success\":true}']`)
	record("00000000000000000000000000000002", time.Now().Add(-30*24*time.Hour).UnixMilli(), `'name':'inner','end':0,'response':{'statusCode':0},'logs':[]`)
}
