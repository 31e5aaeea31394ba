// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"compress/gzip"
	"io"
	"path"
	"regexp"
	"strings"
	"testing"
)

// Everything that a page names is there, and nothing is named that is elsewhere.
func TestPagesAreWhole(t *testing.T) {
	p := newPlatform(t)
	for _, root := range []string{"", root} {
		way := p.must(308, "GET", root+"/docs", "", noAuth).header.Get("Location")
		page, _, _ := strings.Cut(path.Join(path.Dir(root+"/docs"), way), "?")
		if again := p.must(308, "GET", root+"/docs/", "", noAuth).header.Get("Location"); path.Join(root+"/docs", again) != path.Join("/", root, way) {
			t.Errorf("%s/docs leads to %s, and with a slash to %s", root, way, again)
		}
		index := p.must(200, "GET", page, "", noAuth)
		named := regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(index.body, -1)
		if len(named) < 5 || strings.Contains(index.body, "<script>") {
			t.Errorf("the page is %s", index.body)
		}
		for _, match := range named {
			p.must(200, "GET", path.Join(path.Dir(page), match[1]), "", noAuth)
		}
	}
	p.must(404, "GET", "/docs/api.json", "", noAuth)
	p.must(404, "GET", "/docsindex.html", "", noAuth)
	p.must(404, "GET", "/docs/../pages/index.html", "", noAuth)
	p.must(404, "GET", root+"/docs/%2e%2e/index.html", "")
}

// Who keeps a copy is told whether it is still good, and a browser what the pages may do.
func TestFilesForCaches(t *testing.T) {
	p := newPlatform(t)
	for _, file := range []string{"/api-docs", root + "/api-docs", "/docs/index.html", "/docs/start.js", root + "/docs/swagger-ui.css"} {
		got := p.must(200, "GET", file, "", noAuth)
		tag := got.header.Get("ETag")
		if tag == "" || got.header.Get("Cache-Control") != "no-cache" || got.header.Get("X-Content-Type-Options") != "nosniff" ||
			!strings.HasPrefix(got.header.Get("Content-Security-Policy"), "default-src 'none'; script-src 'self';") {
			t.Errorf("%s: %v", file, got.header)
		}
		if again := p.must(304, "GET", file, "", noAuth, "If-None-Match: "+tag); again.body != "" {
			t.Errorf("%s is sent again", file)
		}
		p.must(200, "GET", file, "", noAuth, `If-None-Match: "another"`)
		p.must(405, "POST", file, "{}", noAuth)
	}
}

// A file that is kept compressed is sent so to who can read it.
func TestCompressedPages(t *testing.T) {
	p := newPlatform(t)
	const file = "/docs/swagger-ui-bundle.js"
	plain := p.must(200, "GET", file, "", noAuth)
	for _, accepted := range []string{"identity", "br", "gzip;q=0", "gzip; q=0.0"} {
		if got := p.must(200, "GET", file, "", noAuth, "Accept-Encoding: "+accepted); got.body != plain.body || got.header.Get("Content-Encoding") != "" {
			t.Errorf("%s: %d bytes of %q", accepted, len(got.body), got.header.Get("Content-Encoding"))
		}
	}
	for _, accepted := range []string{"gzip", "br;q=1.0, gzip;q=0.8, *;q=0.1", "deflate,GZIP"} {
		got := p.must(200, "GET", file, "", noAuth, "Accept-Encoding: "+accepted)
		reader, err := gzip.NewReader(strings.NewReader(got.body))
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(reader)
		if err != nil || string(text) != plain.body || got.header.Get("Content-Encoding") != "gzip" || got.header.Get("Vary") != "Accept-Encoding" || got.header.Get("ETag") == plain.header.Get("ETag") {
			t.Errorf("%s: %d bytes, %v, %v", accepted, len(text), got.header, err)
		}
	}
}
