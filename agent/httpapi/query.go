// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/whirl-faas/whirl/whisk"
)

// maxLimit is beyond any action's log limit.
const maxLimit = whisk.GB

// parameters read the query of /log into a request.
var parameters = map[string]func(*whisk.LogRequest, string) error{
	"activation": func(r *whisk.LogRequest, s string) error {
		r.Activation = whisk.ActivationID(s)
		return whisk.CheckActivationID(s)
	},
	"namespace": func(r *whisk.LogRequest, s string) error {
		r.Namespace = s
		return whisk.CheckNamespace(s)
	},
	"run": func(r *whisk.LogRequest, s string) (err error) {
		if s == "next" {
			return nil
		}
		if r.Run, err = strconv.ParseUint(s, 10, 64); err != nil || r.Run == 0 {
			return whisk.Errorf(whisk.Invalid, `it must be a number from 1, or "next"`)
		}
		return nil
	},
	"limit": func(r *whisk.LogRequest, s string) (err error) {
		if r.Limit, err = whisk.ParseBytes(s); err == nil && r.Limit > maxLimit {
			err = whisk.Errorf(whisk.Invalid, "it must be at most %s", maxLimit)
		}
		return err
	},
	"sentinels": func(r *whisk.LogRequest, s string) error { return readBool(&r.Sentinels, s) },
	"failed":    func(r *whisk.LogRequest, s string) error { return readBool(&r.Failed, s) },
}

// readQuery reads the query of /log. What it does not know it refuses, and so
// what is given twice: a slip of the pen must not send a log astray.
func readQuery(raw string) (whisk.LogRequest, error) {
	request := whisk.LogRequest{Limit: whisk.DefaultActionLimits.Logs, Sentinels: true}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return request, whisk.Errorf(whisk.Invalid, "the query cannot be read: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		read := parameters[name]
		switch {
		case read == nil:
			return request, whisk.Errorf(whisk.Invalid, "there is no query parameter %.64q, only %s", name,
				strings.Join(slices.Sorted(maps.Keys(parameters)), ", "))
		case len(values[name]) > 1:
			return request, whisk.Errorf(whisk.Invalid, "query parameter %s is given %d times", name, len(values[name]))
		}
		if err := read(&request, values[name][0]); err != nil {
			return request, whisk.Errorf(whisk.Invalid, "query parameter %s=%.64q: %w", name, values[name][0], err)
		}
	}
	for _, name := range []string{"activation", "namespace"} {
		if values.Get(name) == "" {
			return request, whisk.Errorf(whisk.Invalid, "query parameter %s is missing", name)
		}
	}
	return request, nil
}

func readBool(into *bool, s string) (err error) {
	if s != "true" && s != "false" {
		return whisk.Errorf(whisk.Invalid, "it must be true or false")
	}
	*into = s == "true"
	return nil
}
