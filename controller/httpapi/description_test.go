// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/whirl-faas/whirl/controller/apidocs/apidocstest"
)

// description is what the handler says of itself. All tests hold it to that.
var description = sync.OnceValues(func() (*apidocstest.Description, error) {
	handler := newPlatform(&testing.B{}).handler
	var documents [][]byte
	for _, path := range []string{"/api-docs", root + "/api-docs"} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		documents = append(documents, w.Body.Bytes())
	}
	return apidocstest.Parse(documents...)
})

// held is the API, with every exchange held to its description.
type held struct {
	*platform
	api http.Handler
}

func (h held) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	described, err := description()
	if err != nil {
		h.t.Fatal(err)
	}
	var sent bytes.Buffer
	asked := r.Clone(r.Context())
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.TeeReader(r.Body, &sent), r.Body}
	answer := &overheard{ResponseWriter: w, status: http.StatusOK}
	h.api.ServeHTTP(answer, r)
	x := apidocstest.Exchange{Request: asked, Sent: sent.Bytes(), Status: answer.status, Header: w.Header(), Answer: answer.body.Bytes()}
	if err := described.Check(x); err != nil {
		h.t.Errorf("%s %s: %v", r.Method, r.URL, err)
	}
}

// overheard remembers an answer that it passes on.
type overheard struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (o *overheard) Unwrap() http.ResponseWriter { return o.ResponseWriter }

func (o *overheard) WriteHeader(status int) {
	o.status = status
	o.ResponseWriter.WriteHeader(status)
}

func (o *overheard) Write(part []byte) (int, error) {
	o.body.Write(part)
	return o.ResponseWriter.Write(part)
}

// Each path that is described serves the methods that are, and no others.
func TestDescribedRoutesAreServed(t *testing.T) {
	p := newPlatform(t)
	p.run()
	described, err := description()
	if err != nil {
		t.Fatal(err)
	}
	parameter := regexp.MustCompile(`\{\w+\}`)
	for template, methods := range described.Methods() {
		path := parameter.ReplaceAllStringFunc(template, func(name string) string {
			switch {
			case name == "{namespace}" && !strings.Contains(template, "/web/"):
				return "_"
			case name == "{id}":
				return strings.Repeat("0", 32)
			case name == "{file}":
				return "index.html"
			}
			return "x"
		})
		for _, method := range []string{"GET", "PUT", "POST", "DELETE", "HEAD", "PATCH", "TRACE"} {
			got := p.do(method, path, "")
			served := got.status != http.StatusMethodNotAllowed && !strings.Contains(got.body, noSuchPath)
			if served != slices.Contains(methods, method) {
				t.Errorf("%s %s is answered %d %s, but described are %v", method, template, got.status, got.body, methods)
			}
		}
	}
}

// Each path that is served is described. The paths are all that can be made from
// what is described and one or two more words: those that the router's source knows.
func TestServedRoutesAreDescribed(t *testing.T) {
	p := newPlatform(t)
	p.furnish()
	p.run()
	described, err := description()
	if err != nil {
		t.Fatal(err)
	}
	p.handler = p.handler.(held).api // which these very many requests need not be
	words := append(routerWords(t), "", "_", "x", "a", "p", strings.Repeat("0", 32))
	prefixes := map[string]bool{"": true}
	for template := range described.Methods() {
		for i, c := range template {
			if c == '/' {
				prefixes[template[:i]] = true
			}
		}
	}
	fill := strings.NewReplacer("{namespace}", "_", "{package}", "p", "{name}", "a", "{action}", "a", "{id}", strings.Repeat("0", 32))
	for prefix := range prefixes {
		prefix = fill.Replace(prefix)
		for _, first := range words {
			checkDescribed(t, p, described, prefix+"/"+first)
			for _, second := range words {
				checkDescribed(t, p, described, prefix+"/"+first+"/"+second)
			}
		}
	}
}

// checkDescribed holds a path that is not described to not being there; that it
// has an impossible name may be found out before.
func checkDescribed(t *testing.T, p *platform, described *apidocstest.Description, path string) {
	t.Helper()
	if described.Describes(path) {
		return
	}
	got := p.do("GET", path, "")
	if absent := got.status == http.StatusNotFound && strings.Contains(got.body, noSuchPath); !absent && got.status != http.StatusBadRequest {
		t.Errorf("%s is not described, but answered %d %s", path, got.status, got.body)
	}
}

// routerWords returns all words in the source of the handler that can be part of
// a path.
func routerWords(t *testing.T) []string {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	word := regexp.MustCompile(`^[a-z0-9-]+$`)
	found := map[string]bool{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(node ast.Node) bool {
			if _, imported := node.(*ast.ImportSpec); imported {
				return false
			}
			literal, isText := node.(*ast.BasicLit)
			if !isText || literal.Kind != token.STRING {
				return true
			}
			text, _ := strconv.Unquote(literal.Value)
			for part := range strings.SplitSeq(text, "/") {
				if word.MatchString(part) {
					found[part] = true
				}
			}
			return true
		})
	}
	var words []string
	for part := range found {
		words = append(words, part)
	}
	if len(words) < 15 || !found["actions"] || !found["invokers"] {
		t.Fatalf("the router knows only %v", words)
	}
	return words
}
