// SPDX-License-Identifier: Apache-2.0

package web

import (
	"net/url"
	"strings"

	"github.com/whirl-faas/whirl/whisk"
)

// defaultPackage is how a URL names the package of actions that have none.
const defaultPackage = "default"

// Target is what the path of a request names.
type Target struct {
	Action    whisk.FullName
	Extension Extension
	Path      string // what follows the action, with its leading slash, escaped; or ""
}

// Extension says how an action's result becomes an answer.
type Extension string

// The extensions that a URL may give. HTTP stands for none, too.
const (
	HTTP Extension = ".http"
	JSON Extension = ".json"
	HTML Extension = ".html"
	SVG  Extension = ".svg"
	Text Extension = ".text"
)

// ParseTarget reads "/{ns}/{pkg}/{action}[.ext][/rest]", still escaped. It returns
// false if that is no name of an action. An extension that is not known is a
// part of the name.
func ParseTarget(path string) (Target, bool) {
	rest, rooted := strings.CutPrefix(path, "/")
	namespace, rest, _ := strings.Cut(rest, "/")
	pkg, rest, _ := strings.Cut(rest, "/")
	segment, _, _ := strings.Cut(rest, "/")
	rest = rest[len(segment):]

	var target Target
	name, named := parseName(segment)
	name, target.Extension = splitExtension(name)
	target.Action.Name = name
	var inNamespace, inPackage bool
	target.Action.Namespace, inNamespace = parseName(namespace)
	target.Action.Package, inPackage = parseName(pkg)
	if target.Action.Package == defaultPackage {
		target.Action.Package = ""
	}
	target.Path = normalize(rest)
	return target, rooted && named && inNamespace && inPackage
}

// Below returns the target with more of a path behind it, which is escaped and
// begins with a slash unless it is "".
func (t Target) Below(path string) Target {
	t.Path += normalize(path)
	return t
}

func parseName(segment string) (string, bool) {
	name, err := url.PathUnescape(segment)
	return name, err == nil && whisk.CheckName(name) == nil
}

func splitExtension(name string) (string, Extension) {
	for _, extension := range []Extension{HTTP, JSON, HTML, SVG, Text} {
		if base, found := strings.CutSuffix(name, string(extension)); found {
			return base, extension
		}
	}
	return name, HTTP
}

// normalize escapes what must be escaped in a path and nothing else.
func normalize(path string) string {
	if isNormal(path) {
		return path
	}
	segments := strings.Split(path, "/")
	for i, segment := range segments {
		text, err := url.PathUnescape(segment)
		if err != nil {
			text = segment // no server lets it through
		}
		segments[i] = string(appendEscaped(nil, strings.ToValidUTF8(text, "\ufffd"), keptInPath))
	}
	return strings.Join(segments, "/")
}

func isNormal(path string) bool {
	for i := range len(path) {
		if c := path[i]; c != '/' && !keptInPath(c) {
			return false
		}
	}
	return true
}

// keptInPath reports whether a character stands for itself in a segment.
func keptInPath(c byte) bool {
	return isUnreserved(c) || strings.IndexByte("!$&'()*+,;=:@", c) >= 0
}

func isUnreserved(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || strings.IndexByte("-._~", c) >= 0
}

func appendEscaped(dst []byte, text string, kept func(byte) bool) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(text) {
		c := text[i]
		if kept(c) {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', digits[c>>4], digits[c&0xf])
		}
	}
	return dst
}
