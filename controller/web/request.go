// SPDX-License-Identifier: Apache-2.0

package web

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"iter"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/whirl-faas/whirl/controller/apijson"
	"github.com/whirl-faas/whirl/whisk"
)

// Request is what an action is told of an HTTP request.
type Request struct {
	Method string
	Host   string
	Header map[string][]string // by canonical names
	Path   string              // what followed the action's name
	Query  string              // as it came
	User   string              // the caller's namespace, "" if nobody proved to be somebody
	Body   []byte
}

// AppendPayload appends the JSON object that the action gets: what is known of
// the request, the query over that, the body over both. For a raw action query
// and body are one string each.
//
// The error is Invalid if the request cannot be read, or gives a parameter
// that is reserved or that final holds; nil stands for none. For a raw action
// nothing is final.
func (r *Request) AppendPayload(dst []byte, raw bool, final map[string]bool) ([]byte, error) {
	query, err := parsePairs(r.Query, "Illegal request-target")
	if err != nil {
		return nil, err
	}
	content, err := r.content(raw)
	if err != nil {
		return nil, err
	}
	if !raw && (protects(final, query) || content.overrides(final)) {
		return nil, errProtected()
	}
	dst = r.appendContext(append(dst, '{'))
	if raw {
		dst = append(dst, `,"__ow_query":`...)
		dst = apijson.AppendString(dst, appendQuery(nil, query))
	} else {
		dst = appendPairs(dst, query, content.keys(len(query)))
	}
	return append(content.appendTo(dst, raw), '}'), nil
}

// appendContext appends what is known of the request, without query and body.
func (r *Request) appendContext(dst []byte) []byte {
	dst = apijson.AppendString(append(dst, `"__ow_method":`...), strings.ToLower(r.Method))
	dst = r.appendHeader(append(dst, `,"__ow_headers":`...))
	dst = apijson.AppendString(append(dst, `,"__ow_path":`...), r.Path)
	if r.User != "" {
		dst = apijson.AppendString(append(dst, `,"__ow_user":`...), r.User)
	}
	return dst
}

// appendHeader appends the headers as an object of strings, with names in lower
// case. Those that only concern the connection or this platform are left out.
func (r *Request) appendHeader(dst []byte) []byte {
	dst = append(dst, '{')
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		switch name {
		case "Content-Type", "Content-Length", "Transfer-Encoding", "X-Ow-Extra-Logging":
			continue
		}
		separator := ", "
		if name == "Cookie" {
			separator = "; "
		}
		dst = apijson.AppendString(dst, strings.ToLower(name))
		dst = apijson.AppendString(append(dst, ':'), strings.Join(r.Header[name], separator))
		dst = append(dst, ',')
	}
	if contentType := r.contentType(); contentType != "" {
		dst = apijson.AppendString(append(dst, `"content-type":`...), contentType)
		dst = append(dst, ',')
	}
	return append(apijson.AppendString(append(dst, `"host":`...), r.Host), '}')
}

// contentType is the type that the action is told: in the usual spelling, and
// that of unknown bytes if there is a body of no type.
func (r *Request) contentType() string {
	given := r.givenType()
	if given == "" && len(r.Body) > 0 {
		return "application/octet-stream"
	}
	m, ok := parseMedia(given)
	switch {
	case !ok:
		return given
	case m.charset == "" || !m.isText() || classOf(m.name) == fixedText:
		return m.String("")
	case strings.EqualFold(m.charset, "UTF-8"):
		return m.String("UTF-8")
	}
	return m.String(m.charset)
}

func (r *Request) givenType() string {
	if given := r.Header["Content-Type"]; len(given) > 0 {
		return given[0]
	}
	return ""
}

// content is a body as the action gets it: the members of an object, the fields
// of a form, a single value, or nothing.
type content struct {
	object []byte
	form   []pair
	value  []byte // JSON
}

func (r *Request) content(raw bool) (content, error) {
	given := r.givenType()
	if given == "" && len(r.Body) == 0 {
		return content{}, nil
	}
	m, ok := parseMedia(given)
	switch {
	case !raw && ok && m.isJSON():
		return readJSON(r.Body)
	case !raw && m.name == "application/x-www-form-urlencoded":
		form, err := parsePairs(string(r.Body), "The request content was malformed:\nIllegal form content")
		return content{form: form}, err
	case !ok || m.name == "application/json" || !m.isText(): // raw JSON has been base64 ever since
		value := make([]byte, 0, base64.StdEncoding.EncodedLen(len(r.Body))+2)
		value = base64.StdEncoding.AppendEncode(append(value, '"'), r.Body)
		return content{value: append(value, '"')}, nil
	}
	return content{value: apijson.AppendString(make([]byte, 0, len(r.Body)+2), r.Body)}, nil
}

func readJSON(body []byte) (content, error) {
	switch {
	case len(body) == 0:
		return content{}, nil
	case apijson.IsObject(body):
		return content{object: body}, nil
	}
	err := json.Unmarshal(body, new(json.RawMessage))
	switch {
	case err != nil:
		return content{}, errMalformed("%w", err)
	case !utf8.Valid(body):
		return content{}, errMalformed("JSON must be UTF-8")
	case apijson.TooDeep(body):
		return content{}, errMalformed("JSON must not be nested more than %d levels deep", apijson.MaxDepth)
	}
	return content{value: bytes.TrimSpace(body)}, nil
}

// keys returns the parameters that the body gives, if they are wanted for
// comparison with any others.
func (c content) keys(others int) map[string]bool {
	if others == 0 || c.object == nil && c.form == nil {
		return nil
	}
	keys := map[string]bool{}
	for member := range c.members() {
		keys[string(member.Key)] = true
	}
	for _, field := range c.form {
		keys[field.key] = true
	}
	return keys
}

func (c content) members() iter.Seq[apijson.Member] {
	if c.object == nil {
		return func(func(apijson.Member) bool) {}
	}
	return apijson.Members(c.object)
}

// overrides reports whether the body gives a parameter that is reserved or final.
func (c content) overrides(final map[string]bool) bool {
	for member := range c.members() {
		if isReserved(string(member.Key)) || final[string(member.Key)] {
			return true
		}
	}
	return protects(final, c.form)
}

func protects(final map[string]bool, pairs []pair) bool {
	return slices.ContainsFunc(pairs, func(p pair) bool { return isReserved(p.key) || final[p.key] })
}

func isReserved(key string) bool {
	switch key {
	case "__ow_method", "__ow_headers", "__ow_path", "__ow_user", "__ow_query", "__ow_body":
		return true
	}
	return false
}

// appendTo appends the body to an object's members. A raw action always gets one.
func (c content) appendTo(dst []byte, raw bool) []byte {
	switch {
	case c.value != nil:
		return append(append(dst, `,"__ow_body":`...), c.value...)
	case c.object != nil:
		inner := bytes.TrimSpace(c.object)
		if inner = bytes.TrimSpace(inner[1 : len(inner)-1]); len(inner) == 0 {
			return dst
		}
		return append(append(dst, ','), inner...)
	case c.form != nil:
		return appendPairs(dst, c.form, nil)
	case raw:
		return append(dst, `,"__ow_body":""`...)
	}
	return dst
}

// appendPairs appends parameters as members of an object, but for those that
// taken has. Of several of one name the last counts.
func appendPairs(dst []byte, pairs []pair, taken map[string]bool) []byte {
	last := make(map[string]int, len(pairs))
	for i, p := range pairs {
		last[p.key] = i
	}
	for i, p := range pairs {
		if last[p.key] != i || taken[p.key] {
			continue
		}
		dst = apijson.AppendString(append(dst, ','), p.key)
		dst = apijson.AppendString(append(dst, ':'), p.value)
	}
	return dst
}

func errProtected() error {
	return whisk.Errorf(whisk.Invalid, "Request defines parameters that are not allowed (e.g., reserved properties).")
}

func errMalformed(format string, args ...any) error {
	return whisk.Errorf(whisk.Invalid, "The request content was malformed:\n"+format, args...)
}
