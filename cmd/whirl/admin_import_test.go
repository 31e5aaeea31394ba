// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// dump writes a dump with these documents of each database, in which ' stands for ".
func dump(t *testing.T, documents map[string][]string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, database := range []string{"subjects", "whisks", "activations"} {
		var rows []string
		for _, document := range documents[database] {
			id, body, _ := strings.Cut(document, " ")
			rows = append(rows, fmt.Sprintf(`{"id":"%s","doc":%s}`, id, strings.ReplaceAll(body, "'", `"`)))
		}
		text := `{"rows":[` + strings.Join(rows, ",") + `]}`
		if err := os.WriteFile(filepath.Join(dir, database+".json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// imported imports a dump and returns what was said, white space made even.
func imported(t *testing.T, wantStatus int, args ...string) string {
	t.Helper()
	status, stdout, stderr := run(t, nil, append([]string{"admin", "import"}, args...)...)
	if status != wantStatus {
		t.Errorf("%q exits with %d, want %d: %s%s", args, status, wantStatus, stdout, stderr)
	}
	var lines []string
	for line := range strings.Lines(stdout + stderr) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines, "\n")
}

func wantParts(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is not in\n%s", part, text)
		}
	}
}

func TestImportNamesWhatIsNotAsInTheSource(t *testing.T) {
	key := strings.Repeat("k", whisk.KeyLength)
	source := dump(t, map[string][]string{
		"subjects": {
			`alice {'subject':'alice','namespaces':[{'name':'alice','uuid':'u-1','key':'` + key + `'},{'name':'lab','uuid':'u-2','key':'` + key + `'}]}`,
			`bobby {'subject':'bobby','namespaces':[{'name':'lab','uuid':'u-3','key':'` + key + `'}]}`,
			`carol {'subject':'carol','namespaces':[{'name':'carol','uuid':'u-4','key':'short'}]}`,
			`lab/limits {'firesPerMinute':5,'warmedContainerKeepingCount':2}`,
		},
		"whisks": {
			`lab/a {'namespace':'lab','name':'a','exec':{'kind':'cobol:85','code':'x'}}`,
			`lab/b {'namespace':'lab','name':'b','exec':{'kind':'blackbox','image':'me/image'}}`,
			`lab/c {'namespace':'lab','name':'\u001b[2Jc'}`,
			`lab/p/x {'namespace':'lab/p','name':'x','exec':{'kind':'cobol:85','code':'x'}}`,
			`lab/s {'namespace':'lab','name':'s','exec':{'kind':'blackbox','image':'me/image','code':{'attachmentName':'s3:u','attachmentType':'text/plain'}}}`,
		},
		"activations": {
			`lab/1 {'activationId':'1'}`,
			`lab/0123456789abcdef0123456789abcdef {'activationId':'0123456789abcdef0123456789abcdef','namespace':'lab','name':'a','start':1700000000000}`,
		},
	})
	data := filepath.Join(t.TempDir(), "data")
	first := imported(t, statusFailed, source, "--data", data)
	wantParts(t, first,
		"failed: bobby: left out, as a namespace has one owner here and they are another one's: lab\n",
		"failed: carol: namespace carol lacks a uuid and a key of 64 characters\n",
		"note: lab/limits: without meaning here, and left out: warmedContainerKeepingCount\n",
		"failed: lab/c: it is no action, package, trigger or rule\n",
		"failed: lab/p/x: its package /lab/p is not there\n",
		"failed: lab/s: its code is kept outside of CouchDB, in s3:u\n",
		"failed: lab/1: Activation id length is 1 but must be 32.\n",
		"created same replaced kept failed too old\n",
		"subjects 2 0 0 0 1 0\nnamespaces 0 0 0 0 1 0\nlimits 1 0 0 0 0 0\nactions 2 0 0 0 2 0\nwhisks 0 0 0 0 1 0\nactivations 0 0 0 0 1 1\n",
		"kinds of actions: blackbox (2), cobol:85 (2)\n",
		"not as in the source: 6, named above",
	)
	if strings.Contains(first, key) {
		t.Errorf("a key is shown:\n%s", first)
	}
	wantParts(t, imported(t, statusFailed, source, "--data", data, "--retention", "0"),
		"subjects 0 2 0 0 1 0\n", "actions 0 2 0 0 2 0\n", "activations 1 0 0 0 1 0\n")
	if text := imported(t, statusFailed, source, "--data", data, "--activations=false"); strings.Contains(text, "activations") {
		t.Errorf("without records:\n%s", text)
	}
	if status, stdout, stderr := run(t, nil, "admin", "user", "whois", "u-2:"+key, "--data", data); status != statusOK || !strings.Contains(stdout, "namespace: lab") {
		t.Errorf("whois: %d %s%s", status, stdout, stderr)
	}
}

func TestImportKeepsWhatIsHere(t *testing.T) {
	action := func(code, updated string) string {
		return dump(t, map[string][]string{
			"whisks": {`lab/a {'namespace':'lab','name':'a','updated':` + updated + `,'exec':{'kind':'cobol:85','code':'` + code + `'}}`},
			"activations": {fmt.Sprintf(`lab/0123456789abcdef0123456789abcdef {'activationId':'0123456789abcdef0123456789abcdef','namespace':'lab','name':'a','start':%d,
				'logs':['%s'], 'annotations':[{'key':'k', 'value':{'a': '<&>'}}], 'response':{'statusCode':0, 'result':{'a': '<&>'}}}`, time.Now().Add(-time.Hour).Truncate(time.Hour).UnixMilli(), code)},
		})
	}
	older, newer := action("x", "1"), action("y", "2")
	data := filepath.Join(t.TempDir(), "data")
	wantParts(t, imported(t, statusOK, older, "--data", data, "--dry-run"), "would create: lab/a\n", "actions 1 0 0 0 0 0\n", "activations 1 0 0 0 0 0\n")
	if _, err := os.Stat(data); err == nil {
		t.Error("a dry run made a data directory")
	}
	wantParts(t, imported(t, statusOK, older, "--data", data), "actions 1 0 0 0 0 0\n")
	wantParts(t, imported(t, statusOK, older, "--data", data), "actions 0 1 0 0 0 0\n", "activations 0 1 0 0 0 0\n")
	wantParts(t, imported(t, statusFailed, newer, "--data", data), "kept: lab/a: it is here and different\n", "actions 0 0 0 1 0 0\n",
		"kept: lab/0123456789abcdef0123456789abcdef: it is here and different\n")
	wantParts(t, imported(t, statusFailed, newer, "--data", data, "--overwrite", "--dry-run"), "would replace: lab/a\n", "actions 0 0 1 0 0 0\n")
	wantParts(t, imported(t, statusFailed, newer, "--data", data, "--overwrite"), "actions 0 0 1 0 0 0\n", "activations 0 0 0 1 0 0\n")
	wantParts(t, imported(t, statusFailed, newer, "--data", data), "actions 0 1 0 0 0 0\n")

	inUse, err := openDirectory(t.Context(), data, nil)
	if err != nil {
		t.Fatal(err)
	}
	wantParts(t, imported(t, statusFailed, newer, "--data", data), "another platform is using the data directory")
	if err := inUse.close(); err != nil {
		t.Error(err)
	}
}

func TestImportTellsOfSourcesThatEnd(t *testing.T) {
	data := t.TempDir()
	wantParts(t, imported(t, statusFailed, t.TempDir(), "--data", data), "the import broke off and may be repeated: there is no file subjects.json")
	half := dump(t, nil)
	if err := os.WriteFile(filepath.Join(half, "whisks.json"), []byte(`{"rows":[{"id":"lab/a","doc":{`), 0o600); err != nil {
		t.Fatal(err)
	}
	wantParts(t, imported(t, statusFailed, half, "--data", data), "the import broke off and may be repeated: read whisks.json: unexpected EOF")
}

// TestImportOverTLS asks a server that only certificates of its own vouch for, and only
// a user is answered by.
func TestImportOverTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "some secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		if r.URL.Path == "/ow_subjects/_all_docs" {
			fmt.Fprint(w, `{"rows":[{"id":"lab/limits","doc":{"firesPerMinute":5}}]}`)
			return
		}
		fmt.Fprint(w, `{"rows":[]}`)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // it is told of callers who do not believe it
	server.StartTLS()
	defer server.Close()
	ca, password := filepath.Join(t.TempDir(), "ca"), filepath.Join(t.TempDir(), "password")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for name, text := range map[string]string{ca: string(certificate), password: "some secret\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{server.URL, "--data", t.TempDir(), "--couchdb-prefix", "ow_", "--couchdb-user", "me", "--couchdb-password-file", password}
	wantParts(t, imported(t, statusFailed, args...), "certificate")
	wantParts(t, imported(t, statusOK, append(args, "--couchdb-ca", ca)...), "limits 1 0 0 0 0 0")
	if err := os.WriteFile(password, []byte("another"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantParts(t, imported(t, statusFailed, append(args, "--couchdb-ca", ca)...), "CouchDB answers 401")
}

// TestImportReadsCodeAgain cuts the connection in the middle of an attachment.
func TestImportReadsCodeAgain(t *testing.T) {
	var asked atomic.Int32 // by connections that follow each other
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/whisk_local_whisks/_all_docs":
			fmt.Fprint(w, `{"rows":[{"id":"lab/a","doc":{"namespace":"lab","name":"a","exec":{"kind":"cobol:85",
				"code":{"attachmentName":"couch:u","attachmentType":"text/plain","length":8}}}}]}`)
		case r.URL.Path != "/whisk_local_whisks/lab/a/u":
			fmt.Fprint(w, `{"rows":[]}`)
		default:
			if asked.Add(1) < 3 {
				w.Header().Set("Content-Length", "8")
				fmt.Fprint(w, "STOP")
				panic(http.ErrAbortHandler)
			}
			fmt.Fprint(w, "STOP RUN")
		}
	}))
	defer server.Close()
	wantParts(t, imported(t, statusOK, server.URL, "--data", t.TempDir()), "actions 1 0 0 0 0 0\n")
	if n := asked.Load(); n != 3 {
		t.Errorf("the code was asked for %d times", n)
	}
}
