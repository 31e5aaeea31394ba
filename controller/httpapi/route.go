// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/whisk"
)

const (
	apiRoot    = "/api/v1"
	maxURI     = 8192
	textNoPath = "The requested resource could not be found."
)

// route finds out what a request is about. Paths are split while they are still
// escaped: a %2F belongs to a name, and is then refused by its grammar.
func (x *exchange) route() {
	if len(x.r.RequestURI) > maxURI {
		x.fail(http.StatusRequestURITooLong, "URI length exceeds the configured limit of 8192 characters")
		return
	}
	path := x.vanityPath(collapseDots(x.r.URL))
	rest, isAPI := strings.CutPrefix(path, apiRoot)
	if isAPI && (rest == "" || rest[0] == '/') {
		x.routeAPI(rest)
		return
	}
	if below, ok := strings.CutPrefix(path, gatewayRoot); ok && x.routeGateway(below) {
		return
	}
	switch {
	case path == "" || path == "/":
		x.get(func() { x.answer(http.StatusOK, x.info) })
	case path == "/ping":
		x.get(func() { x.answerText(http.StatusOK, "pong") })
	case x.r.Method == http.MethodOptions:
		x.corsHeaders(corsServer)
		x.answerText(http.StatusOK, "")
	case x.routeInvokers(path), x.routeDocs("", path, x.docs.Server):
	default:
		x.fail(http.StatusNotFound, textNoPath)
	}
}

// routeAPI serves what is below /api/v1.
func (x *exchange) routeAPI(rest string) {
	if path, ok := strings.CutPrefix(rest, "/web"); ok && x.routeWeb(path) {
		return
	}
	x.corsHeaders(corsAPI)
	if x.r.Method == http.MethodOptions {
		x.answerText(http.StatusOK, "")
		return
	}
	if rest == "" || rest == "/" {
		x.get(func() { x.answer(http.StatusOK, x.version) })
		return
	}
	if x.routeDocs(apiRoot, rest, x.docs.API) || !x.authenticate() {
		return
	}
	segments, ok := strings.CutPrefix(rest, "/namespaces")
	switch {
	case ok && (segments == "" || segments == "/"):
		x.get(x.listNamespaces)
	case ok && segments[0] == '/':
		x.routeNamespace(segments[1:])
	default:
		x.fail(http.StatusNotFound, textNoPath)
	}
}

// routeNamespace serves {ns}/{collection}….
func (x *exchange) routeNamespace(path string) {
	raw, path, _ := strings.Cut(path, "/")
	collection, path, slash := strings.Cut(path, "/")
	namespace, err := unescape(raw)
	if err == nil && namespace == "_" {
		namespace = x.caller.Namespace
	}
	switch collection {
	case "actions", "packages", "triggers", "rules", "activations", "limits":
	default:
		x.fail(http.StatusNotFound, textNoPath)
		return
	}
	if err == nil {
		err = whisk.CheckNamespace(namespace)
	}
	if !x.passes(err) {
		return
	}
	switch collection {
	case "actions":
		x.routeActions(namespace, path)
	case "activations":
		x.routeActivations(namespace, path)
	case "limits":
		x.routeLimits(namespace, path, slash)
	default:
		x.routeEntities(whisk.Collection(collection), namespace, path)
	}
}

// What entities answer to, in the order in which OpenWhisk tells it.
const (
	entityMethods  = "PUT, GET, DELETE, POST"
	packageMethods = "PUT, GET, DELETE"
)

// routeEntities serves what follows the name of a collection whose entities
// stand in no package: nothing, or {name}.
func (x *exchange) routeEntities(collection whisk.Collection, namespace, path string) {
	if path == "" {
		x.get(func() { x.list(controller.Listing{Collection: collection, Namespace: namespace}) })
		return
	}
	if strings.Contains(path, "/") {
		x.fail(http.StatusNotFound, textNoPath)
		return
	}
	methods := entityMethods
	if collection == whisk.Packages {
		methods = packageMethods
	}
	if !x.allows(methods) {
		return
	}
	simple, err := unescapeName(path)
	if !x.passes(err) {
		return
	}
	name := whisk.FullName{Namespace: namespace, Name: simple}
	switch collection {
	case whisk.Packages:
		x.servePackage(name)
	case whisk.Triggers:
		x.serveTrigger(name)
	case whisk.Rules:
		x.serveRule(name)
	}
}

// routeActions serves what follows actions/: nothing, {name}, {pkg}/ or {pkg}/{name}.
func (x *exchange) routeActions(namespace, path string) {
	listing := controller.Listing{Collection: whisk.Actions, Namespace: namespace}
	if path == "" {
		x.get(func() { x.list(listing) })
		return
	}
	first, second, packaged := strings.Cut(path, "/")
	if strings.Contains(second, "/") || first == "" {
		x.fail(http.StatusNotFound, textNoPath)
		return
	}
	if !x.allows(entityMethods) {
		return
	}
	name, err := unescapeName(first)
	if !x.passes(err) {
		return
	}
	if packaged && second == "" {
		listing.Package = name
		x.get(func() { x.list(listing) })
		return
	}
	full := whisk.FullName{Namespace: namespace, Name: name}
	if packaged {
		full.Package = name
		if full.Name, err = unescapeName(second); !x.passes(err) {
			return
		}
	}
	x.serveAction(full)
}

// serveAction serves an action. As in OpenWhisk the question whether the caller
// may comes after the path and the method, and before parameters and body.
func (x *exchange) serveAction(name whisk.FullName) {
	ctx := x.r.Context()
	switch x.r.Method {
	case http.MethodPut:
		if x.passes(x.api.MayChange(ctx, x.caller, name)) {
			x.putAction(name)
		}
	case http.MethodGet:
		if x.passes(x.api.MayRead(ctx, x.caller, name)) {
			x.getAction(name)
		}
	case http.MethodDelete:
		x.deleteAction(name)
	case http.MethodPost:
		if x.passes(x.api.AdmitCall(x.caller)) && x.passes(x.api.MayInvoke(ctx, x.caller, name)) {
			x.invokeAction(name)
		}
	}
}

// passes reports whether there is no error; false after it answered the one there is.
func (x *exchange) passes(err error) bool {
	if err != nil {
		x.refuse(err)
	}
	return err == nil
}

// owns reports whether the caller may act in the namespace of name; false after
// it answered that it is somebody else's.
func (x *exchange) owns(name whisk.FullName) bool { return x.passes(x.caller.Owns(name)) }

// routeActivations serves what follows activations/: nothing, {id} and perhaps a
// slash, {id}/result or {id}/logs.
func (x *exchange) routeActivations(namespace, path string) {
	if path == "" {
		x.get(func() {
			if x.owns(whisk.FullName{Namespace: namespace}) {
				x.listActivations(namespace)
			}
		})
		return
	}
	x.get(func() {
		raw, part, _ := strings.Cut(path, "/")
		id, err := unescape(raw)
		if err == nil {
			err = whisk.CheckActivationID(id)
		}
		if err != nil {
			x.refuse(err)
			return
		}
		if !x.owns(whisk.FullName{Namespace: namespace, Name: id}) {
			return
		}
		switch part {
		case "", "result", "logs":
			x.getActivation(namespace, whisk.ActivationID(id), part)
		default:
			x.fail(http.StatusNotFound, textNoPath)
		}
	})
}

func (x *exchange) routeLimits(namespace, path string, slash bool) {
	switch {
	case !slash || path == "":
		x.get(func() { x.getLimits(namespace) })
	case x.r.Method == http.MethodGet:
		x.fail(http.StatusBadRequest, "Inner entity level routes for limits are not yet implemented.")
	default:
		x.methodNotAllowed("GET")
	}
}

// get serves a route that has only GET.
func (x *exchange) get(serve func()) {
	if x.r.Method != http.MethodGet {
		x.methodNotAllowed("GET")
		return
	}
	serve()
}

// allows reports whether the request's method is one of a list; false after it answered that it is not.
func (x *exchange) allows(methods string) bool {
	for method := range strings.SplitSeq(methods, ", ") {
		if x.r.Method == method {
			return true
		}
	}
	x.methodNotAllowed(methods)
	return false
}

func (x *exchange) methodNotAllowed(methods string) {
	x.w.Header().Set("Allow", methods)
	x.fail(http.StatusMethodNotAllowed, "HTTP method not allowed, supported methods: "+methods)
}

// collapseDots returns a URL's path, escaped, without segments . and .. as
// OpenWhisk takes it: wskdeploy export asks for actions/../../_/actions/{feed}.
func collapseDots(u *url.URL) string {
	path := u.EscapedPath()
	if !strings.Contains(path, "/.") {
		return path
	}
	return new(url.URL).ResolveReference(&url.URL{Path: u.Path, RawPath: u.RawPath}).EscapedPath()
}

// unescape decodes one segment of a path.
func unescape(segment string) (string, error) {
	if strings.IndexByte(segment, '%') < 0 {
		return segment, nil
	}
	text, err := url.PathUnescape(segment)
	if err != nil {
		return "", whisk.Errorf(whisk.Invalid, "The name of the entity contains illegal characters.")
	}
	return text, nil
}

func unescapeName(segment string) (string, error) {
	name, err := unescape(segment)
	if err != nil {
		return "", err
	}
	return name, whisk.CheckName(name)
}
