// SPDX-License-Identifier: Apache-2.0

package whisk

import (
	"strings"
	"time"
)

// Action is a function that users deploy. Its code is kept apart (see
// [Blobs]); Exec names it by digest.
type Action struct {
	Name        FullName
	Version     Version
	Publish     bool
	Exec        Exec
	Parameters  Parameters
	Annotations Parameters
	Limits      ActionLimits
	Updated     time.Time // set by the server at each write, to the millisecond
}

// Exec says how an action runs.
type Exec struct {
	Kind   string // a concrete kind of the manifest, such as "nodejs:20", or [Blackbox], [Sequence] or [Builtin]
	Code   Digest // "" if there is no code
	Size   Bytes  // of the code, as sent
	Binary bool   // the code is base64
	Main   string // the entry point; "" stands for "main"
	Image  string // container image; "" unless Kind is [Blackbox]

	Components []FullName // of a [Sequence], in their order; else none
}

// Blackbox is the kind of actions that bring a container image of their own.
const Blackbox = "blackbox"

// Sequence is the kind of actions that run others, each with the result of the
// one before. They have no code and no container.
const Sequence = "sequence"

// Builtin is the kind of actions whose code is part of the platform. Controllers
// answer them, without a container. Users cannot make any.
const Builtin = "builtin"

// Digest names a blob by its content: "sha256-" and 64 lower-case hex digits.
// The empty Digest names nothing.
type Digest string

// IsBase64 decides, as OpenWhisk does, whether code is binary: not empty, a
// multiple of four long, and of the base64 alphabet with proper padding. Short
// texts such as "abcd" count too.
func IsBase64(code string) bool {
	code = strings.TrimSpace(code)
	if code == "" || len(code)%4 != 0 {
		return false
	}
	body := strings.TrimSuffix(strings.TrimSuffix(code, "="), "=")
	for i := range len(body) {
		c := body[i]
		if !('A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '+' || c == '/') {
			return false
		}
	}
	return true
}
