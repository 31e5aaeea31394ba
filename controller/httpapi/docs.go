// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"net/http"
	"strings"

	"github.com/whirl-faas/whirl/controller/apidocs"
)

// routeDocs serves what tells of the paths below root: a document, and pages that
// show it. It needs no credentials, and reports false if path is none of it.
func (x *exchange) routeDocs(root, path string, document apidocs.File) bool {
	if path == "/api-docs" {
		x.get(func() { x.serveFile(document) })
		return true
	}
	name, below := strings.CutPrefix(path, "/docs")
	switch {
	case !below || name != "" && name[0] != '/':
		return false
	case name == "":
		x.get(func() { x.redirect("docs/index.html?url=" + root + "/api-docs") })
	case name == "/":
		x.get(func() { x.redirect("index.html?url=" + root + "/api-docs") })
	default:
		x.servePage(name[1:])
	}
	return true
}

func (x *exchange) servePage(name string) {
	page, found := x.docs.Page(name)
	if !found {
		x.fail(http.StatusNotFound, textNoPath)
		return
	}
	x.get(func() { x.serveFile(page) })
}

func (x *exchange) serveFile(file apidocs.File) {
	x.answered = true
	file.Serve(x.w, x.r)
}

// redirect sends the caller elsewhere for good: to a place beside this one, since
// a proxy may have put others before our paths.
func (x *exchange) redirect(location string) {
	x.w.Header().Set("Location", location)
	x.answered = true
	x.w.WriteHeader(http.StatusPermanentRedirect)
}
