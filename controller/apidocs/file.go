// SPDX-License-Identifier: Apache-2.0

package apidocs

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"
)

// File is one thing to be served.
type File struct {
	content     []byte
	compressed  bool // by gzip
	contentType string
	tag         string // another one for other content
}

// extension is what the names of files end in that are compressed already.
const extension = ".gz"

func read(files fs.FS, name string) File {
	content, err := fs.ReadFile(files, name)
	if err != nil {
		panic(err) // it is part of the program
	}
	sum := sha256.Sum256(content)
	plain, compressed := strings.CutSuffix(name, extension)
	return File{content, compressed, typeOf(plain), hex.EncodeToString(sum[:8])}
}

// typeOf says it without asking the machine, whose tables differ.
func typeOf(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".png":
		return "image/png"
	}
	return "application/json"
}

// policy lets the pages load their own files and nothing else, and nobody frame
// them. Swagger UI puts styles into its elements, and pictures into its styles.
const policy = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Serve answers a GET. Caches may keep the file if they ask each time whether it
// is still the same: after an upgrade it is not.
func (f File) Serve(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Content-Type", f.contentType)
	header.Set("Cache-Control", "no-cache")
	header.Set("Content-Security-Policy", policy)
	header.Set("Referrer-Policy", "no-referrer")
	header.Set("X-Content-Type-Options", "nosniff")
	content, tag := f.content, f.tag
	if f.compressed {
		header.Set("Vary", "Accept-Encoding")
		if takesGzip(r.Header) {
			header.Set("Content-Encoding", "gzip")
			tag += "-gzip"
		} else {
			content = unpack(content)
		}
	}
	header.Set("ETag", `"`+tag+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
}

// takesGzip reports whether a client says that it takes gzip.
func takesGzip(header http.Header) bool {
	for _, line := range header["Accept-Encoding"] {
		for offer := range strings.SplitSeq(line, ",") {
			coding, weight, _ := strings.Cut(offer, ";")
			if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
				return strings.Trim(weight, " q=0.") != "" || strings.TrimSpace(weight) == ""
			}
		}
	}
	return false
}

func unpack(content []byte) []byte {
	reader, err := gzip.NewReader(bytes.NewReader(content))
	if err != nil {
		panic(err) // it is part of the program
	}
	plain, err := io.ReadAll(reader)
	if err != nil {
		panic(err)
	}
	return plain
}
