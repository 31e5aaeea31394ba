// SPDX-License-Identifier: Apache-2.0

package couchdb_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/couchdb"
	"github.com/whirl-faas/whirl/whisk"
)

// couch answers as a CouchDB that holds whisks with some documents, all of which
// have an attachment "a/b". It is its own transport.
type couch struct {
	ids   []string
	spoil func(n int, answer *http.Response) error // of the n-th request, from 1; nil does nothing
	asked []string                                 // paths and queries
}

func (c *couch) RoundTrip(r *http.Request) (*http.Response, error) {
	c.asked = append(c.asked, r.URL.RequestURI())
	recorder := httptest.NewRecorder()
	c.answer(recorder, r)
	answer := recorder.Result()
	answer.Request = r
	if c.spoil != nil {
		if err := c.spoil(len(c.asked), answer); err != nil {
			return nil, err
		}
	}
	return answer, nil
}

func (c *couch) answer(w http.ResponseWriter, r *http.Request) {
	user, password, _ := r.BasicAuth()
	switch path := r.URL.EscapedPath(); {
	case user != "admin" || password != "secret":
		http.Error(w, `{"error":"unauthorized","reason":"Name or password is incorrect."}`, http.StatusUnauthorized)
	case path == "/db/":
		fmt.Fprint(w, `{"couchdb":"Welcome"}`)
	case path == "/db/_all_dbs":
		fmt.Fprint(w, `["x_whisks"]`)
	case path == "/db/x_whisks/_all_docs":
		c.list(w, r)
	case strings.HasSuffix(path, "/a%2Fb"):
		fmt.Fprint(w, "content of "+path)
	default:
		http.Error(w, `{"error":"not_found","reason":"missing"}`, http.StatusNotFound)
	}
}

func (c *couch) list(w http.ResponseWriter, r *http.Request) {
	var from string
	if key := r.FormValue("startkey"); key != "" {
		if err := json.Unmarshal([]byte(key), &from); err != nil {
			panic(err)
		}
	}
	var limit int
	fmt.Sscan(r.FormValue("limit"), &limit)
	var rows []string
	for _, id := range c.ids {
		if id >= from && len(rows) < limit {
			doc := ""
			if r.FormValue("include_docs") == "true" {
				doc = fmt.Sprintf(`,"doc":{"_id":%q}`, id)
			}
			rows = append(rows, fmt.Sprintf(`{"id":%q,"key":%q,"value":{"rev":"1-x"}%s}`, id, id, doc))
		}
	}
	fmt.Fprintf(w, `{"total_rows":%d,"offset":0,"rows":[%s]}`, len(c.ids), strings.Join(rows, ",\n"))
}

func (c *couch) server(t *testing.T) *couchdb.Server {
	t.Helper()
	server, err := couchdb.NewServer(couchdb.Config{
		URL: "http://couch.test/db/", Prefix: "x_", User: "admin", Password: "secret", Page: 2, Largest: 100 * whisk.KB, Transport: c,
	})
	if err != nil {
		t.Fatal(err)
	}
	return server
}

// read returns the ids of what a source yields, those of bad documents with a !.
func read(documents iter.Seq2[couchdb.Document, error]) (ids []string, err error) {
	for doc, err := range documents {
		switch {
		case err != nil && doc.ID == "":
			return ids, err
		case err != nil:
			ids = append(ids, doc.ID+"!")
		default:
			ids = append(ids, doc.ID)
		}
	}
	return ids, nil
}

func TestServerReadsByPages(t *testing.T) {
	for n := range 8 {
		c := &couch{}
		for i := range n {
			c.ids = append(c.ids, fmt.Sprintf("guest/%d \"&", i))
		}
		ids, err := read(c.server(t).Documents(t.Context(), couchdb.Whisks))
		if err != nil || !slices.Equal(ids, c.ids) {
			t.Errorf("of %d documents %q, %v", n, ids, err)
		}
	}
	c := &couch{ids: []string{"_design/a", "_design/b", "_design/c", "guest/a"}}
	ids, err := read(c.server(t).Documents(t.Context(), couchdb.Whisks))
	if err != nil || !slices.Equal(ids, []string{"guest/a"}) {
		t.Errorf("behind designs %q, %v", ids, err)
	}
	c = &couch{ids: []string{"a", "b", "c", "d", "e"}}
	for doc := range c.server(t).Documents(t.Context(), couchdb.Whisks) {
		if doc.ID == "b" {
			break
		}
	}
	if len(c.asked) != 1 {
		t.Errorf("who wanted two documents had %q asked for", c.asked)
	}
}

func TestServerReadsAttachments(t *testing.T) {
	c := &couch{}
	content, err := c.server(t).Attachment(t.Context(), couchdb.Document{ID: "guest/lab/a"}, "a/b")
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(content)
	if want := "content of /db/x_whisks/guest%2Flab%2Fa/a%2Fb"; err != nil || string(text) != want || content.Close() != nil {
		t.Errorf("%q, %v, want %q", text, err, want)
	}
	if _, err := c.server(t).Attachment(t.Context(), couchdb.Document{ID: "guest/a"}, "c"); err == nil || whisk.KindOf(err) != whisk.NotFound {
		t.Errorf("of one that is not there: %v", err)
	}
}

func TestServerRefusals(t *testing.T) {
	c := &couch{}
	if err := c.server(t).Reach(t.Context()); err != nil {
		t.Error(err)
	}
	_, err := read(c.server(t).Documents(t.Context(), couchdb.Activations))
	if err == nil || whisk.KindOf(err) != whisk.NotFound || err.Error() != "there is no database x_activations, but x_whisks" {
		t.Errorf("of a database that is not there: %v", err)
	}
	stranger, err := couchdb.NewServer(couchdb.Config{URL: "http://couch.test", User: "admin", Password: "hidden", Transport: c})
	if err != nil {
		t.Fatal(err)
	}
	err = stranger.Reach(t.Context())
	if err == nil || whisk.KindOf(err) != whisk.Denied || !strings.Contains(err.Error(), "password is incorrect") || strings.Contains(err.Error(), "hidden") {
		t.Errorf("with a wrong password: %v", err)
	}
	for _, url := range []string{"", "couch.test:5984", "ftp://couch.test", "http://me:secret@couch.test", "http://couch.test?x=1", "http://%"} {
		if _, err := couchdb.NewServer(couchdb.Config{URL: url}); err == nil || whisk.KindOf(err) != whisk.Invalid || strings.Contains(err.Error(), "secret") {
			t.Errorf("URL %q: %v", url, err)
		}
	}
}

// TestServerGoesOn breaks each request in turn. What was read already does not come again.
func TestServerGoesOn(t *testing.T) {
	ids := []string{"a", "b", "c", "d", "e"}
	for name, spoil := range map[string]func(*http.Response) error{
		"refused": func(*http.Response) error { return errors.New("connection refused") },
		"busy":    func(answer *http.Response) error { answer.StatusCode = http.StatusServiceUnavailable; return nil },
		"broken off": func(answer *http.Response) error {
			answer.Body = io.NopCloser(io.LimitReader(answer.Body, 130))
			return nil
		},
		"failing": func(answer *http.Response) error {
			answer.Body = io.NopCloser(io.MultiReader(io.LimitReader(answer.Body, 130), failing{}))
			return nil
		},
		"silent": func(answer *http.Response) error {
			answer.Body = io.NopCloser(io.MultiReader(io.LimitReader(answer.Body, 130), silent{answer.Request.Context().Done()}))
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for bad := 1; bad <= 3; bad++ {
					c := &couch{ids: ids}
					c.spoil = func(n int, answer *http.Response) error {
						if n == bad {
							return spoil(answer)
						}
						return nil
					}
					got, err := read(c.server(t).Documents(t.Context(), couchdb.Whisks))
					if err != nil || !slices.Equal(got, ids) {
						t.Errorf("request %d: %q, %v", bad, got, err)
					}
				}
			})
		})
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("reset by peer") }

// silent blocks until its request is given up.
type silent struct{ gone <-chan struct{} }

func (s silent) Read([]byte) (int, error) {
	<-s.gone
	return 0, errors.New("given up")
}

func TestServerGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &couch{ids: []string{"a"}, spoil: func(int, *http.Response) error { return errors.New("connection refused") }}
		began := time.Now()
		_, err := read(c.server(t).Documents(t.Context(), couchdb.Whisks))
		if err == nil || whisk.KindOf(err) != whisk.Unavailable || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("got %v", err)
		}
		if took := time.Since(began); took < 30*time.Second || took > 3*time.Minute {
			t.Errorf("it gave up after %v", took)
		}
		if _, err := c.server(t).Attachment(t.Context(), couchdb.Document{ID: "a"}, "a/b"); err == nil {
			t.Error("an attachment was had")
		}
	})
}

func TestServerSkipsWhatIsTooLarge(t *testing.T) {
	c := &couch{ids: []string{"a", "b", "c", "d", "e"}}
	c.spoil = func(n int, answer *http.Response) error {
		if n == 2 { // the page that begins with b
			answer.Body = io.NopCloser(io.MultiReader(strings.NewReader(
				`{"rows":[{"id":"c","doc":{"_id":"c"}},{"id":"d","doc":{"x":"`), zeros{}))
		}
		return nil
	}
	got, err := read(c.server(t).Documents(t.Context(), couchdb.Whisks))
	if want := []string{"a", "b", "c", "d!", "e"}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}

// zeros is an endless string.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = '0'
	}
	return len(p), nil
}

func TestDump(t *testing.T) {
	dump := couchdb.Dump{Dir: fstest.MapFS{
		"whisks.json": {Data: []byte(`{"total_rows":5,"offset":0,"rows":[
			{"id":"_design/x","key":"_design/x","doc":{"_id":"_design/x"}},
			{"id":"guest/a","doc":{"_id":"guest/a","_attachments":{"u-1":{"content_type":"text/plain","data":"aGVsbG8="},"u-2":{"stub":true}}}},
			{"id":"guest/b","key":"guest/b","value":{"rev":"1-x"}},
			{"id":"guest/c","error":"not_found"},
			{"id":"guest/d","doc":{"_id":"guest/d","x":"` + "\xff" + `"}},
			{"id":"guest/e","doc":{"_id":"guest/e"}}
		]}`)},
		"subjects.json":    {Data: []byte(`{"total_rows":2,"rows":[{"id":"a","doc":{}},{"id":"b","do`)},
		"activations.json": {Data: []byte(`{"error":"not_found"}`)},
	}}
	ids, err := read(dump.Documents(t.Context(), couchdb.Whisks))
	if want := []string{"guest/a", "guest/b!", "guest/c!", "guest/d!", "guest/e"}; err != nil || !slices.Equal(ids, want) {
		t.Errorf("got %q, %v, want %q", ids, err, want)
	}
	if ids, err := read(dump.Documents(t.Context(), couchdb.Subjects)); err == nil || len(ids) != 1 {
		t.Errorf("of half a file %q, %v", ids, err)
	}
	if _, err := read(dump.Documents(t.Context(), couchdb.Activations)); err == nil || !strings.Contains(err.Error(), "no answer of _all_docs") {
		t.Errorf("of another answer: %v", err)
	}
	if _, err := read(none.Documents(t.Context(), couchdb.Whisks)); err == nil || whisk.KindOf(err) != whisk.NotFound {
		t.Errorf("of no file: %v", err)
	}
	for doc := range dump.Documents(t.Context(), couchdb.Whisks) {
		content, err := dump.Attachment(t.Context(), doc, "u-1")
		if err != nil {
			t.Fatal(err)
		}
		if text, err := io.ReadAll(content); err != nil || string(text) != "hello" {
			t.Errorf("attachment %q, %v", text, err)
		}
		for _, name := range []string{"u-2", "u-3"} {
			if _, err := dump.Attachment(t.Context(), doc, name); err == nil || whisk.KindOf(err) != whisk.NotFound {
				t.Errorf("attachment %s: %v", name, err)
			}
		}
		break
	}
}

// none is an empty directory.
var none = couchdb.Dump{Dir: fstest.MapFS{}}
