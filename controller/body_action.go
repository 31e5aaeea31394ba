// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/reference"

	"github.com/whirl-faas/whirl/whisk"
)

// actionWrite is the body of a PUT: what it leaves out is kept, or gets its
// default when the action is new.
type actionWrite struct {
	entityWrite
	exec           *execWrite
	delAnnotations []string
	limits         limitsWrite
}

// execWrite is what a PUT wants to run.
type execWrite struct {
	kind       string
	runtime    whisk.Runtime // zero for sequences and builtin actions
	code       string        // as it was sent; "" where there is none
	main       string
	components []whisk.FullName // of sequences
}

// size is what is held against the limit of code.
func (w execWrite) size() whisk.Bytes {
	n := len(w.code) + len(w.main) + len(w.image())
	for _, component := range w.components {
		n += len(component.Path())
	}
	return whisk.Bytes(n)
}

// image is what a blackbox action brings, and else "".
func (w execWrite) image() string {
	if w.kind == whisk.Blackbox {
		return w.runtime.Image
	}
	return ""
}

// limitsWrite holds the limits that a PUT names, in the units of the API.
type limitsWrite struct {
	timeout     *int64 // ms
	memory      *int64 // MB
	logs        *int64 // MB
	concurrency *int64
	instances   *int64
}

// over returns the limits that result from the write; it must have been checked.
func (w limitsWrite) over(limits whisk.ActionLimits) whisk.ActionLimits {
	if w.timeout != nil {
		limits.Timeout = time.Duration(*w.timeout) * time.Millisecond
	}
	if w.memory != nil {
		limits.Memory = whisk.Bytes(*w.memory) * whisk.MB
	}
	if w.logs != nil {
		limits.Logs = whisk.Bytes(*w.logs) * whisk.MB
	}
	if w.concurrency != nil {
		limits.Concurrency = int(*w.concurrency)
	}
	if w.instances != nil {
		limits.Instances = new(int(*w.instances))
	}
	return limits
}

// parseActionWrite reads the body of an action's PUT.
func (c *Controller) parseActionWrite(body []byte, caller *Caller) (write actionWrite, err error) {
	fields, err := fieldsOf(body, "exec", "delAnnotations", "limits")
	if err != nil {
		return actionWrite{}, err
	}
	if write.exec, err = c.parseExec(fields["exec"], caller); err != nil {
		return actionWrite{}, err
	}
	if write.entityWrite, err = parseEntityWrite(fields); err != nil {
		return actionWrite{}, err
	}
	if write.limits, err = parseLimits(fields["limits"]); err != nil {
		return actionWrite{}, err
	}
	if text := fields["delAnnotations"]; text != nil && json.Unmarshal(text, &write.delAnnotations) != nil {
		return actionWrite{}, errMalformed("'delAnnotations' must be an array of strings")
	}
	if write.exec != nil && write.exec.kind == whisk.Sequence {
		write.delAnnotations = nil // OpenWhisk forgets them when it resolves the components
	}
	return write, nil
}

// parseExec reads what a PUT wants to run; nil if it says nothing of it.
func (c *Controller) parseExec(text json.RawMessage, caller *Caller) (*execWrite, error) {
	if text == nil {
		return nil, nil
	}
	if text[0] != '{' {
		return nil, errMalformed("'exec' must be an object")
	}
	// Old clients say jar for the code of java actions.
	fields := membersOf(text, "kind", "code", "jar", "main", "image", "components")
	kind, given := parseString(fields["kind"])
	if !given {
		return nil, errMalformed("'kind' must be a string defined in 'exec'")
	}
	kind = strings.ToLower(strings.TrimSpace(kind))
	switch {
	case kind == whisk.Sequence:
		return parseSequence(fields["components"], caller.Namespace)
	case kind == whisk.Builtin && caller.platform:
		return &execWrite{kind: whisk.Builtin}, nil
	case kind == whisk.Blackbox && c.deps.Images:
		return c.parseBlackbox(fields)
	}
	runtime, known := c.deps.Manifest.Resolve(kind)
	if !known && caller.platform {
		runtime, known = whisk.Runtime{Kind: kind}, true // who calls it is told what is missing
	}
	if !known {
		return nil, errMalformed("%w", c.errUnknownKind(kind))
	}
	if fields["code"] == nil {
		fields["code"] = fields["jar"]
	}
	code, given := parseString(fields["code"])
	if !given {
		return nil, errMalformed("'code' must be a string defined in 'exec' for '%s' actions", kind)
	}
	main, err := parseMain(fields["main"], kind)
	switch {
	case err != nil:
		return nil, err
	case main == "" && runtime.RequireMain:
		return nil, errMalformed("'main' must be a string defined in 'exec' for '%s' actions", kind)
	}
	return &execWrite{kind: runtime.Kind, runtime: runtime, code: code, main: main}, nil
}

// parseSequence reads the components of a sequence.
func parseSequence(text json.RawMessage, own string) (*execWrite, error) {
	var names []json.RawMessage
	switch {
	case text == nil:
		return nil, errMalformed("'components' must be defined for sequence kind")
	case json.Unmarshal(text, &names) != nil:
		return nil, errMalformed("'components' must be an array")
	}
	write := &execWrite{kind: whisk.Sequence, components: make([]whisk.FullName, len(names))}
	for i, name := range names {
		var err error
		if write.components[i], err = parseName(name, own); err != nil {
			return nil, err
		}
	}
	return write, nil
}

// parseBlackbox reads an exec that names an image. Blank code counts as none.
func (c *Controller) parseBlackbox(fields map[string]json.RawMessage) (*execWrite, error) {
	image, given := parseString(fields["image"])
	if !given {
		return nil, errMalformed("'image' must be a string defined in 'exec' for '%s' actions", whisk.Blackbox)
	}
	if !isImageName(image) {
		return nil, errMalformed("could not parse image name")
	}
	code, given := parseString(fields["code"])
	switch {
	case !given && fields["code"] != nil:
		return nil, errMalformed("'code' must be a string defined in 'exec' for '%s' actions", whisk.Blackbox)
	case strings.TrimSpace(code) == "":
		code = ""
	}
	main, err := parseMain(fields["main"], whisk.Blackbox)
	if err != nil {
		return nil, err
	}
	return &execWrite{kind: whisk.Blackbox, runtime: c.deps.Manifest.Blackbox(image), code: code, main: main}, nil
}

// isImageName reports whether a text is a reference in docker's grammar.
func isImageName(text string) bool {
	parsed, err := reference.Parse(text)
	if err != nil {
		return false
	}
	_, named := parsed.(reference.Named)
	return named
}

// parseMain reads the name of an entry point, "" if there is none.
func parseMain(text json.RawMessage, kind string) (string, error) {
	main, given := parseString(text)
	if !given && text != nil {
		return "", errMalformed("if defined, 'main' be a string in 'exec' for '%s' actions", kind)
	}
	return main, nil
}

func parseLimits(text json.RawMessage) (write limitsWrite, err error) {
	if text == nil {
		return limitsWrite{}, nil
	}
	if text[0] != '{' {
		return limitsWrite{}, errMalformed("'limits' must be an object")
	}
	fields := membersOf(text, "timeout", "memory", "logs", "concurrency", "instances")
	for _, limit := range []struct {
		name, what string
		value      **int64
	}{
		{"timeout", "time limit", &write.timeout},
		{"memory", "memory limit", &write.memory},
		{"logs", "log limit", &write.logs},
		{"concurrency", "concurrency limit", &write.concurrency},
		{"instances", "instance concurrency limit", &write.instances},
	} {
		if fields[limit.name] == nil {
			continue
		}
		n, err := parseWhole(fields[limit.name], limit.what)
		if err != nil {
			return limitsWrite{}, err
		}
		*limit.value = &n
	}
	if write.instances != nil && *write.instances < 0 {
		return limitsWrite{}, errMalformed("requirement failed: Action container concurrency must be greater than or equal to 0.")
	}
	return write, nil
}

// parseWhole reads a whole number however it is written: 256, 256.0 and 2.56e2
// are the same. One that no integer holds becomes the largest or the smallest.
func parseWhole(text json.RawMessage, what string) (int64, error) {
	if n, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		return n, nil
	}
	if c := text[0]; c != '-' && (c < '0' || c > '9') {
		return 0, errMalformed("%s malformed", what)
	}
	f, _ := strconv.ParseFloat(string(text), 64) // beyond its range it is infinite
	switch {
	case f != math.Trunc(f):
		return 0, errMalformed("requirement failed: %s must be whole number", what)
	case f >= math.MaxInt64:
		return math.MaxInt64, nil
	case f <= math.MinInt64:
		return math.MinInt64, nil
	}
	return int64(f), nil
}
