// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/distribution/reference"

	"github.com/whirl-faas/whirl/controller/apijson"
	"github.com/whirl-faas/whirl/whisk"
)

// Bodies of requests are read member by member and not into structs:
// encoding/json takes names in any case and joins members of one name, which
// OpenWhisk does not, and its errors speak of Go.

// actionWrite is the body of a PUT: what it leaves out is kept, or gets its
// default when the action is new.
type actionWrite struct {
	exec           *execWrite
	parameters     whisk.Parameters // nil if there are none, empty if there are to be none
	annotations    whisk.Parameters
	delAnnotations []string
	limits         limitsWrite
	version        *whisk.Version
	publish        *bool
}

// execWrite is what a PUT wants to run.
type execWrite struct {
	runtime whisk.Runtime
	code    string // as it was sent; "" from blackbox actions that have none
	main    string
}

// image is what a blackbox action brings, and else "".
func (w execWrite) image() string {
	if w.runtime.Kind == whisk.Blackbox {
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
	return limits
}

// parseWrite reads a PUT's body. Unknown members are ignored, of several of one
// name the last counts, and null stands for nothing.
func (c *Controller) parseWrite(body []byte) (write actionWrite, err error) {
	if err := checkObject(body); err != nil {
		return actionWrite{}, err
	}
	fields := membersOf(body, "exec", "parameters", "annotations", "delAnnotations", "limits", "version", "publish")
	if write.exec, err = c.parseExec(fields["exec"]); err != nil {
		return actionWrite{}, err
	}
	if write.parameters, err = parseParameters(fields, "parameters"); err != nil {
		return actionWrite{}, err
	}
	if write.annotations, err = parseParameters(fields, "annotations"); err != nil {
		return actionWrite{}, err
	}
	if write.limits, err = parseLimits(fields["limits"]); err != nil {
		return actionWrite{}, err
	}
	if text := fields["delAnnotations"]; text != nil && json.Unmarshal(text, &write.delAnnotations) != nil {
		return actionWrite{}, errMalformed("'delAnnotations' must be an array of strings")
	}
	if text := fields["publish"]; text != nil && json.Unmarshal(text, &write.publish) != nil {
		return actionWrite{}, errMalformed("'publish' must be a boolean")
	}
	if write.version, err = parseVersion(fields["version"]); err != nil {
		return actionWrite{}, err
	}
	return write, nil
}

// checkObject reports, for the user, why text is no JSON object that could be passed on.
func checkObject(text []byte) error {
	if apijson.IsObject(text) {
		return nil
	}
	if err := json.Unmarshal(text, new(json.RawMessage)); err != nil {
		return errMalformed("%w", err)
	}
	if !utf8.Valid(text) {
		return errMalformed("JSON must be UTF-8")
	}
	if apijson.TooDeep(text) {
		return errMalformed("JSON must not be nested more than %d levels deep", apijson.MaxDepth)
	}
	return errMalformed("Object expected")
}

// membersOf returns the members of an object that have one of the names and are not null.
func membersOf(object []byte, names ...string) map[string]json.RawMessage {
	fields := make(map[string]json.RawMessage, len(names))
	for _, name := range names {
		fields[name] = nil
	}
	for member := range apijson.Members(object) {
		if _, wanted := fields[string(member.Key)]; !wanted {
			continue
		}
		fields[string(member.Key)] = nil
		if string(member.Value) != "null" {
			fields[string(member.Key)] = member.Value
		}
	}
	return fields
}

// parseExec reads what a PUT wants to run; nil if it says nothing of it.
func (c *Controller) parseExec(text json.RawMessage) (*execWrite, error) {
	if text == nil {
		return nil, nil
	}
	if text[0] != '{' {
		return nil, errMalformed("'exec' must be an object")
	}
	// Old clients say jar for the code of java actions.
	fields := membersOf(text, "kind", "code", "jar", "main", "image")
	kind, given := parseString(fields["kind"])
	if !given {
		return nil, errMalformed("'kind' must be a string defined in 'exec'")
	}
	kind = strings.ToLower(strings.TrimSpace(kind))
	if kind == whisk.Blackbox && c.deps.Images {
		return c.parseBlackbox(fields)
	}
	runtime, known := c.deps.Manifest.Resolve(kind)
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
	return &execWrite{runtime, code, main}, nil
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
	return &execWrite{c.deps.Manifest.Blackbox(image), code, main}, nil
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

// parseString returns a string's value, and whether text is one.
func parseString(text json.RawMessage) (value string, ok bool) {
	if text == nil || json.Unmarshal(text, &value) != nil {
		return "", false
	}
	return value, true
}

// parseParameters reads parameters or annotations, takes white space out of
// their values, and drops what only the server may set. It returns nil if they
// are not there.
func parseParameters(fields map[string]json.RawMessage, name string) (whisk.Parameters, error) {
	if fields[name] == nil {
		return nil, nil
	}
	var parameters whisk.Parameters
	if json.Unmarshal(fields[name], &parameters) != nil {
		return nil, errMalformed("'%s' must be an array of objects, each with a string 'key' and a 'value'", name)
	}
	for i := range parameters {
		parameters[i].Value = apijson.Compact(parameters[i].Value)
		parameters[i].Encryption = ""
	}
	return parameters, nil
}

func parseLimits(text json.RawMessage) (write limitsWrite, err error) {
	if text == nil {
		return limitsWrite{}, nil
	}
	if text[0] != '{' {
		return limitsWrite{}, errMalformed("'limits' must be an object")
	}
	fields := membersOf(text, "timeout", "memory", "logs", "concurrency")
	for _, limit := range []struct {
		name, what string
		value      **int64
	}{
		{"timeout", "time limit", &write.timeout},
		{"memory", "memory limit", &write.memory},
		{"logs", "log limit", &write.logs},
		{"concurrency", "concurrency limit", &write.concurrency},
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
		return 0, errMalformed("%s must be whole number", what)
	case f >= math.MaxInt64:
		return math.MaxInt64, nil
	case f <= math.MinInt64:
		return math.MinInt64, nil
	}
	return int64(f), nil
}

func parseVersion(text json.RawMessage) (*whisk.Version, error) {
	if text == nil {
		return nil, nil
	}
	given, ok := parseString(text)
	if !ok {
		return nil, errMalformed("'version' must be a string")
	}
	version, err := whisk.ParseVersion(given)
	if err != nil {
		return nil, errMalformed("%w", err)
	}
	return &version, nil
}
