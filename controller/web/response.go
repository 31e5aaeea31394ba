// SPDX-License-Identifier: Apache-2.0

package web

import (
	"bytes"
	"math"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"

	"github.com/whirl-faas/whirl/controller/apijson"
	"github.com/whirl-faas/whirl/whisk"
)

// Response is what a result says in HTTP.
type Response struct {
	Status int
	Header map[string][]string // by canonical names, without those that are the server's affair
	Type   string              // the Content-Type, "" if there is no body
	Body   Body
}

// The texts for results that cannot be sent.
const (
	textFailed     = "There was an error processing your request."
	textNoProperty = "Response does not include requested property."
	textNoType     = "Response did not specify a known content-type."
	textOtherType  = "Response type in header did not match generated content type."
)

const (
	typeJSON = "application/json"
	typeHTML = "text/html; charset=UTF-8"
	typeText = "text/plain; charset=UTF-8"
	typeSVG  = "image/svg+xml"
)

// Render makes an answer of what an action responded, whose result must not be
// modified afterwards. What the action calls an error is rendered as if it were
// the result. The error is Invalid or NotFound, for the user, if the response
// cannot be sent as the extension asks.
func Render(extension Extension, outcome whisk.Response) (Response, error) {
	result := bytes.TrimSpace(outcome.Result)
	switch {
	case outcome.Status > whisk.ApplicationError:
		return Response{}, whisk.Errorf(whisk.Invalid, textFailed)
	case len(result) == 0:
		result = []byte("{}")
	}
	if outcome.Status == whisk.ApplicationError {
		if result = fieldsOf(result, "error")[0]; result == nil {
			return Response{}, errNoProperty()
		}
	}
	switch extension {
	case JSON:
		return renderJSON(result)
	case HTML:
		return renderString(result, "html", "text/html", typeHTML)
	case SVG:
		return renderString(result, "svg", typeSVG, typeSVG)
	case Text:
		return renderText(result)
	}
	return renderHTTP(result)
}

func renderJSON(result []byte) (Response, error) {
	if kindOf(result) != object && kindOf(result) != array {
		return Response{}, errNotValid(typeJSON)
	}
	return Response{Status: http.StatusOK, Type: typeJSON, Body: plain(pretty(result))}, nil
}

// renderString sends a string of the result: its body, or what is named like
// the extension, or the result itself.
func renderString(result []byte, name, asked, contentType string) (Response, error) {
	value := result
	if kindOf(result) == object {
		value = project(result, name)
	}
	if kindOf(value) != text {
		return Response{}, errNotValid(asked)
	}
	return Response{Status: http.StatusOK, Type: contentType, Body: plain(stringOf(value))}, nil
}

// renderText sends any value as text.
func renderText(result []byte) (Response, error) {
	value := result
	if kindOf(result) == object {
		value = project(result, "text")
	}
	response := Response{Status: http.StatusOK, Type: typeText}
	switch kindOf(value) {
	case absent:
		return Response{}, errNoProperty()
	case text:
		response.Body = plain(stringOf(value))
	case object, array:
		response.Body = plain(pretty(value))
	default:
		response.Body = plain(value)
	}
	return response, nil
}

// project returns the body of an object, or else the member of that name.
func project(result []byte, name string) []byte {
	fields := fieldsOf(result, "body", name)
	if fields[0] != nil {
		return fields[0]
	}
	return fields[1]
}

// renderHTTP sends what the result says: status, headers and body.
func renderHTTP(result []byte) (Response, error) {
	if kindOf(result) != object {
		return Response{}, errNotValid("message/http")
	}
	fields := fieldsOf(result, "statusCode", "headers", "body")
	status, validStatus := statusOf(fields[0])
	header, validHeader := headerOf(fields[1])
	if !validStatus || !validHeader {
		return Response{}, errNotValid("message/http")
	}
	given := header["Content-Type"]
	delete(header, "Content-Type")
	contentType, body, err := bodyOf(fields[2], given)
	if err != nil {
		return Response{}, err
	}
	switch {
	case status == 0 && contentType == "":
		status = http.StatusNoContent
	case status == 0:
		status = http.StatusOK
	case status == http.StatusNoContent, status == http.StatusResetContent, status == http.StatusNotModified:
		contentType, body = "", Body{}
	}
	return Response{Status: status, Header: header, Type: contentType, Body: body}, nil
}

// bodyOf returns the content that a body stands for and its type, which is ""
// if there is none.
func bodyOf(value []byte, given []string) (contentType string, body Body, err error) {
	switch kindOf(value) {
	case absent, null:
		return "", Body{}, nil
	case text:
		content := stringOf(value)
		if len(content) == 0 {
			return "", Body{}, nil
		}
		return textBody(content, given)
	}
	m := media{name: typeJSON}
	if len(given) > 0 {
		m, _ = parseMedia(given[0])
	}
	if !m.isJSON() {
		return "", Body{}, whisk.Errorf(whisk.Invalid, textOtherType)
	}
	return m.name, plain(pretty(value)), nil
}

// textBody returns what a string stands for: itself, or the bytes that it
// encodes where the type is of bytes. JSON may come either way.
func textBody(content []byte, given []string) (string, Body, error) {
	if len(given) == 0 {
		return typeHTML, plain(content), nil
	}
	m, ok := parseMedia(given[0])
	switch {
	case !ok:
		return "", Body{}, whisk.Errorf(whisk.Invalid, textNoType)
	case m.isJSON() && len(content)%4 == 0 && isBase64(content):
		return m.asText(), encoded(content), nil
	case m.isJSON() || m.isText():
		return m.asText(), plain(content), nil
	case !isBase64(content):
		return "", Body{}, whisk.Errorf(whisk.Invalid, textOtherType)
	}
	return m.String(""), encoded(content), nil
}

// statusOf reads a status that the server can send as its last word, 0 if there
// is none.
func statusOf(value []byte) (int, bool) {
	var status int
	var err error
	switch kindOf(value) {
	case absent:
		return 0, true
	case text:
		status, err = strconv.Atoi(string(stringOf(value)))
	case number:
		var f float64
		if f, err = strconv.ParseFloat(string(value), 64); f == math.Trunc(f) && 0 <= f && f < 1000 {
			status = int(f)
		}
	}
	return status, err == nil && 200 <= status && status <= 599
}

// headerOf reads the headers of a result.
func headerOf(value []byte) (map[string][]string, bool) {
	header := map[string][]string{}
	switch kindOf(value) {
	case absent:
		return header, true
	case object:
	default:
		return nil, false
	}
	for member := range apijson.Members(value) {
		name := string(member.Key)
		if !isToken(name) {
			return nil, false
		}
		name = textproto.CanonicalMIMEHeaderKey(name)
		values, valid := appendValues(nil, member.Value)
		if !valid {
			return nil, false
		}
		if !isServersAffair(name) && len(values) > 0 {
			header[name] = append(header[name], values...)
		}
	}
	return header, true
}

// appendValues appends the values of a header: one, or those of an array.
func appendValues(dst []string, value []byte) ([]string, bool) {
	switch kindOf(value) {
	case text:
		value = stringOf(value)
	case number, boolean:
	case array:
		for element := range elements(value) {
			var valid bool
			if dst, valid = appendValues(dst, element); !valid {
				return nil, false
			}
		}
		return dst, true
	default:
		return nil, false
	}
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return nil, false
		}
	}
	return append(dst, string(value)), true
}

// isServersAffair tells the headers that say how an answer is sent. Results
// that give them are sent without.
func isServersAffair(name string) bool {
	switch name {
	case "Content-Length", "Transfer-Encoding", "Connection", "Trailer", "Upgrade", "Date", "Server":
		return true
	}
	return false
}

func isToken(name string) bool {
	for i := range len(name) {
		c := name[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return name != ""
}

func errNotValid(contentType string) error {
	return whisk.Errorf(whisk.Invalid, "Response is not valid '%s'.", contentType)
}

func errNoProperty() error { return whisk.Errorf(whisk.NotFound, textNoProperty) }
