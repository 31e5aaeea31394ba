// SPDX-License-Identifier: Apache-2.0

// Package apidocs has what describes the API: two documents in the form of
// Swagger 2.0, which OpenWhisk's clients expect, and the pages of Swagger UI that
// show them. Nothing of it comes from elsewhere, so it works without a network.
//
// That the documents are true is held by package apidocstest: the handler's tests
// and the compatibility suite check every request and answer by them.
//
// An extension of ours, x-anyOf, names the definitions of which an answer is one,
// where Swagger 2.0 has no word for that.
package apidocs

import (
	"embed"

	swaggerui "github.com/swaggest/swgui/v5/static"
)

//go:embed api.json server.json pages
var own embed.FS

// Library is all that is served. It does not change, so calls may overlap.
type Library struct {
	API    File // of /api/v1 and what is below
	Server File // of the rest
	pages  map[string]File
}

// New returns the library. It panics if a file is not what it was when the
// program was built.
func New() *Library {
	l := &Library{API: read(own, "api.json"), Server: read(own, "server.json"), pages: map[string]File{}}
	for _, name := range []string{"index.html", "start.js"} {
		l.pages[name] = read(own, "pages/"+name)
	}
	for _, name := range []string{"swagger-ui-bundle.js", "swagger-ui-standalone-preset.js", "swagger-ui.css"} {
		l.pages[name] = read(swaggerui.FS, name+extension)
	}
	l.pages["favicon-32x32.png"] = read(swaggerui.FS, "favicon-32x32.png")
	return l
}

// Page returns a file of the pages, the first of which is index.html.
func (l *Library) Page(name string) (File, bool) {
	file, found := l.pages[name]
	return file, found
}
