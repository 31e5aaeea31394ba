// SPDX-License-Identifier: Apache-2.0

package web

import (
	"crypto/subtle"
	"encoding/json"

	"github.com/whirl-faas/whirl/whisk"
)

// Export says how an action is offered to the web.
type Export struct {
	Raw           bool // it gets query and body as they are
	CustomOptions bool // it answers OPTIONS and gives CORS headers itself

	secret json.RawMessage // what callers must show, nil for nothing
}

// ExportOf reads an action's annotations, and reports whether it is offered at
// all. Only the JSON value true switches something on.
func ExportOf(annotations whisk.Parameters) (Export, bool) {
	isTrue := func(key string) bool { return string(annotations.Get(key)) == "true" }
	export := Export{
		Raw:           isTrue("raw-http"),
		CustomOptions: isTrue("web-custom-options"),
		secret:        annotations.Get("require-whisk-auth"),
	}
	return export, isTrue("web-export")
}

// Admits reports whether a caller may call the action. shown has what it sent as
// X-Require-Whisk-Auth, if anything; known says that it has credentials of the platform.
func (e Export) Admits(shown []string, known bool) bool {
	if e.secret == nil {
		return true
	}
	switch c := e.secret[0]; {
	case c == '"':
		var secret string
		return json.Unmarshal(e.secret, &secret) == nil && showsSecret(shown, secret)
	case c == '-' || '0' <= c && c <= '9':
		return showsSecret(shown, string(e.secret))
	case string(e.secret) == "true":
		return known
	}
	return string(e.secret) == "false" // a null or an object is a mistake, and no invitation
}

func showsSecret(shown []string, secret string) bool {
	return len(shown) > 0 && subtle.ConstantTimeCompare([]byte(shown[0]), []byte(secret)) == 1
}
