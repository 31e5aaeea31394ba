// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/whirl-faas/whirl/controller/web"
)

// Operation is what a method of a path leads to.
type Operation struct {
	target web.Target
	whole  bool   // the action gets the whole path of the request
	verb   string // by which the action is called, "" for that of the request
	header map[string]string
	query  url.Values
}

// compile reads where an operation leads: nil if it leads nowhere, which a
// document may say that only describes what is to come.
func (a assembly) compile(namespace string, fields object) (*Operation, error) {
	inv, err := a.invocationOf(fields)
	if err != nil {
		return nil, err
	}
	if inv.target == "" { // written by hand, perhaps: the action alone is enough
		if inv.target = textOf(objectOf(fields["x-openwhisk"])["url"]); strings.HasSuffix(inv.target, ".http") {
			inv.target += requestPath
		}
	}
	if inv.target == "" {
		return nil, nil
	}
	operation := &Operation{}
	if err := operation.aim(namespace, inv.target); err != nil {
		return nil, err
	}
	if verb := strings.ToLower(inv.verb); verb != "" && verb != "keep" {
		if !slices.Contains(verbs, verb) {
			return nil, refused("backendMethod '%s' not supported.", inv.verb)
		}
		operation.verb = strings.ToUpper(verb)
	}
	operation.sets(inv.sets)
	return operation, nil
}

func (o *Operation) sets(settings []setting) {
	if len(settings) == 0 {
		return
	}
	o.header, o.query = map[string]string{}, url.Values{}
	for _, set := range settings {
		if set.location == "headers" {
			o.header[http.CanonicalHeaderKey(set.name)] = set.value
		} else {
			o.query.Set(set.name, set.value)
		}
	}
}

// aim finds the web action that a URL names, whatever host it is on: a document
// moves from one platform to another as it is.
func (o *Operation) aim(namespace, target string) error {
	url, whole := strings.CutSuffix(target, requestPath)
	parts := webAction.FindStringIndex(url)
	if parts == nil {
		return errNoAction(target)
	}
	path := strings.TrimSuffix("/"+url[parts[1]:], "/")
	if rest, ok := strings.CutPrefix(path, "/_/"); ok {
		path = "/" + namespace + "/" + rest
	}
	named, ok := web.ParseTarget(path)
	if !ok {
		return errNoAction(target)
	}
	o.target, o.whole = named, whole
	return nil
}

// Target returns the action, and the path that it is told. full is what the
// request's path has below the tenant, rest what of it follows the resource's; both
// are still escaped.
func (o *Operation) Target(full, rest string) web.Target {
	if o.whole {
		return o.target.Below(full)
	}
	return o.target.Below(rest)
}

// Apply makes the request to the action of that to the gateway, which it does not change.
func (o *Operation) Apply(r *http.Request) *http.Request {
	changed := *r
	changed.Header = r.Header.Clone()
	for name, value := range o.header {
		changed.Header.Set(name, value)
	}
	if o.verb != "" {
		changed.Method = o.verb
	}
	if len(o.query) > 0 {
		location := *r.URL
		location.RawQuery = overlay(location.RawQuery, o.query)
		changed.URL = &location
	}
	return &changed
}

// overlay adds parameters to a query. Of several of one name actions get the last.
func overlay(query string, added url.Values) string {
	if query == "" {
		return added.Encode()
	}
	return query + "&" + added.Encode()
}
