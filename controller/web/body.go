// SPDX-License-Identifier: Apache-2.0

package web

import (
	"bytes"
	"encoding/base64"
	"io"
)

// Body is the content of an answer. The zero Body is empty.
type Body struct {
	content []byte
	base64  bool // content encodes the bytes; it satisfies isBase64
}

func plain(content []byte) Body   { return Body{content: content} }
func encoded(content []byte) Body { return Body{content: bytes.TrimRight(content, "="), base64: true} }

// Len returns how many bytes WriteTo writes.
func (b Body) Len() int {
	if b.base64 {
		return base64.RawStdEncoding.DecodedLen(len(b.content))
	}
	return len(b.content)
}

// WriteTo implements [io.WriterTo]. What is encoded is decoded on its way.
func (b Body) WriteTo(w io.Writer) (int64, error) {
	if b.base64 {
		return io.Copy(w, base64.NewDecoder(base64.RawStdEncoding, bytes.NewReader(b.content)))
	}
	n, err := w.Write(b.content)
	return int64(n), err
}

// isBase64 reports whether text is base64, of which the padding may be missing
// but not be wrong.
func isBase64(text []byte) bool {
	body := bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("=")), []byte("="))
	if len(body) < len(text) && len(text)%4 != 0 || len(body)%4 == 1 {
		return false
	}
	for _, c := range body {
		if !('A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '+' || c == '/') {
			return false
		}
	}
	return true
}
