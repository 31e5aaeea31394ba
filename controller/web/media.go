// SPDX-License-Identifier: Apache-2.0

package web

import (
	"maps"
	"mime"
	"strings"
)

// media is a parsed Content-Type.
type media struct {
	name    string            // "type/subtype", in lower case
	params  map[string]string // without the charset
	charset string            // "" if it names none
}

func parseMedia(text string) (media, bool) {
	name, params, err := mime.ParseMediaType(text)
	if err != nil || strings.Count(name, "/") != 1 {
		return media{}, false
	}
	charset := params["charset"]
	delete(params, "charset")
	return media{name, params, charset}, true
}

// isJSON reports whether content of the type is JSON.
func (m media) isJSON() bool {
	return m.name == "application/json" || strings.HasSuffix(m.name, "+json")
}

// isText reports whether content of the type is text; else it is binary. Of a
// type that OpenWhisk does not know only a charset can tell that.
func (m media) isText() bool {
	class := classOf(m.name)
	return class == openText || class == fixedText || class == unknown && m.charset != ""
}

// asText is the type of text that is sent as UTF-8.
func (m media) asText() string {
	class := classOf(m.name)
	if class == fixedText || class == unknown && m.charset == "" {
		return m.String("")
	}
	return m.String("UTF-8")
}

// String returns the type with a charset, if that is not "".
func (m media) String(charset string) string {
	params := m.params
	if charset != "" {
		params = maps.Clone(params)
		if params == nil {
			params = map[string]string{}
		}
		params["charset"] = charset
	}
	return mime.FormatMediaType(m.name, params)
}

// class says what the content of a type is made of.
type class int

const (
	unknown   class = iota
	binary          // bytes
	openText        // text in some charset, which the type's parameter tells
	fixedText       // text in UTF-8, which goes without saying
)

// classOf knows the types that OpenWhisk knows, as far as that matters: those
// of text, and those that are binary whatever charset they claim.
func classOf(name string) class {
	main, sub, _ := strings.Cut(name, "/")
	switch main {
	case "application":
		return applicationClass(sub)
	case "text":
		return textClass(sub)
	case "image", "audio", "video", "font", "message", "multipart":
		return binary
	}
	return unknown
}

func applicationClass(sub string) class {
	switch sub {
	case "json", "json-patch+json", "merge-patch+json", "problem+json", "vnd.api+json", "x-www-form-urlencoded":
		return fixedText
	case "atom+xml", "base64", "javascript", "rss+xml", "soap+xml", "vnd.google-earth.kml+xml", "x-latex", "x-vrml",
		"xhtml+xml", "xml-dtd", "xml", "problem+xml":
		return openText
	case "cbor", "gnutar", "java-archive", "grpc+proto", "lha", "lzx", "msword", "octet-stream", "pdf", "postscript",
		"vnd.google-earth.kmz", "vnd.ms-excel", "vnd.ms-fontobject", "vnd.ms-powerpoint", "zip",
		"x-7z-compressed", "x-ace-compressed", "x-apple-diskimage", "x-arc-compressed", "x-bzip", "x-bzip2",
		"x-chrome-extension", "x-compress", "x-compressed", "x-debian-package", "x-dvi", "x-font-truetype",
		"x-font-opentype", "x-gtar", "x-gzip", "x-rar-compressed", "x-redhat-package-manager", "x-shockwave-flash",
		"x-tar", "x-tex", "x-texinfo", "x-x509-ca-cert", "x-xpinstall":
		return binary
	}
	for _, office := range []string{"vnd.ms-", "vnd.oasis.opendocument.", "vnd.openxmlformats-officedocument."} {
		if strings.HasPrefix(sub, office) {
			return binary
		}
	}
	return unknown
}

func textClass(sub string) class {
	switch sub {
	case "event-stream":
		return fixedText
	case "asp", "cache-manifest", "calendar", "css", "csv", "html", "markdown", "mcf", "plain", "richtext",
		"tab-separated-values", "uri-list", "vnd.wap.wml", "vnd.wap.wmlscript", "x-asm", "x-c", "x-component", "x-h",
		"x-java-source", "x-pascal", "x-script", "x-scriptcsh", "x-scriptelisp", "x-scriptksh", "x-scriptlisp",
		"x-scriptperl", "x-scriptperl-module", "x-scriptphyton", "x-scriptrexx", "x-scriptscheme", "x-scriptsh",
		"x-scripttcl", "x-scripttcsh", "x-scriptzsh", "x-server-parsed-html", "x-setext", "x-sgml", "x-speech",
		"x-uuencode", "x-vcalendar", "x-vcard", "xml":
		return openText
	}
	return unknown
}
