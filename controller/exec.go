// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/whirl-faas/whirl/whisk"
)

// ExecWrite is the code of an [ActionWrite].
type ExecWrite struct {
	Kind json.RawMessage `json:"kind"` // raw, because its wrong type has a text of its own
	Code *string         `json:"code"`
	Jar  *string         `json:"jar"` // the name of Code that old clients use for java
	Main string          `json:"main"`
}

// text returns the code as it was sent, "" if there is none.
func (e ExecWrite) text() string {
	switch {
	case e.Code != nil:
		return *e.Code
	case e.Jar != nil:
		return *e.Jar
	}
	return ""
}

// newExec checks what a PUT wants to run and stores its code.
func (c *Controller) newExec(ctx context.Context, write ExecWrite) (whisk.Exec, []byte, error) {
	var kind string
	if json.Unmarshal(write.Kind, &kind) != nil || kind == "" {
		return whisk.Exec{}, nil, errMalformed("'kind' must be a string defined in 'exec'")
	}
	runtime, known := c.deps.Manifest.Resolve(kind)
	if !known {
		return whisk.Exec{}, nil, errMalformed("%w", c.errUnknownKind(kind))
	}
	if runtime.Deprecated {
		return whisk.Exec{}, nil, errDeprecated(runtime.Kind)
	}
	if runtime.RequireMain && write.Main == "" {
		return whisk.Exec{}, nil, errMalformed("'main' must be a string defined in 'exec' for '%s' actions", runtime.Kind)
	}
	if write.Code == nil && write.Jar == nil {
		return whisk.Exec{}, nil, errMalformed("'code' must be a string defined in 'exec' for '%s' actions", runtime.Kind)
	}
	code := write.text()
	exec := whisk.Exec{Kind: runtime.Kind, Size: whisk.Bytes(len(code)), Binary: isBase64(code), Main: write.Main}
	if code == "" {
		return exec, []byte{}, nil
	}
	digest, err := c.deps.Blobs.Put(ctx, strings.NewReader(code))
	if err != nil {
		return whisk.Exec{}, nil, fmt.Errorf("store the code: %w", err)
	}
	exec.Code = digest
	return exec, []byte(code), nil
}

// runtimeOf returns the runtime of a stored action, if it may still be used.
func (c *Controller) runtimeOf(action whisk.Action) (whisk.Runtime, error) {
	runtime, known := c.deps.Manifest.Resolve(action.Exec.Kind)
	switch {
	case !known:
		return whisk.Runtime{}, c.errUnknownKind(action.Exec.Kind)
	case runtime.Deprecated:
		return whisk.Runtime{}, errDeprecated(runtime.Kind)
	}
	return runtime, nil
}

// errUnknownKind lists what may be used instead and, if somebody knows, tells
// how to get what was asked for.
func (c *Controller) errUnknownKind(kind string) error {
	valid := strings.Join(c.deps.Manifest.Kinds(), "', '")
	text := fmt.Sprintf("The specified runtime '%s' is not supported by this platform. Valid values are: '%s'.", kind, valid)
	if hint := c.deps.Hint(kind); hint != "" {
		text += " " + hint
	}
	return whisk.Errorf(whisk.Invalid, "%s", text)
}

func errDeprecated(kind string) error {
	return whisk.Errorf(whisk.Invalid, "The '%s' runtime is no longer supported. You may read and delete but not update or invoke this action.", kind)
}

// isBase64 decides, as OpenWhisk does, whether code is binary: not empty, a
// multiple of four long, and of the base64 alphabet with proper padding. Short
// texts such as "abcd" count too.
func isBase64(code string) bool {
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
