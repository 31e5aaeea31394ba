// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/web"
	"github.com/whirl-faas/whirl/whisk"
)

// webMethods are those by which a web action can be called.
var webMethods = []string{
	http.MethodGet, http.MethodDelete, http.MethodPost, http.MethodPut, http.MethodHead, http.MethodOptions, http.MethodPatch,
}

// corsWeb is what a web action allows that does not say so itself.
var corsWeb = []string{"OPTIONS, GET, DELETE, POST, PUT, HEAD, PATCH"}

// vanityPath returns the path that is meant by a request's: below a host that
// names a namespace it names the namespace's web actions.
func (x *exchange) vanityPath(path string) string {
	if x.vanity == "" {
		return path
	}
	host, _, _ := strings.Cut(x.r.Host, ":")
	namespace, named := strings.CutSuffix(strings.ToLower(host), x.vanity)
	switch {
	case !named || !isHostLabel(namespace):
		return path
	case path == "" || path == "/":
		path = "/public/index.html"
	}
	return apiRoot + "/web/" + namespace + path
}

// isHostLabel reports whether a namespace can be part of a host's name.
func isHostLabel(name string) bool {
	for i := range len(name) {
		if c := name[i]; !('0' <= c && c <= '9' || 'a' <= c && c <= 'z' || c == '-') {
			return false
		}
	}
	return name != ""
}

// routeWeb serves what is below /api/v1/web; false if that names no action.
func (x *exchange) routeWeb(path string) bool {
	target, named := web.ParseTarget(path)
	switch {
	case !named:
		return false
	case !slices.Contains(webMethods, x.r.Method):
		x.methodNotAllowed(strings.Join(webMethods, ", "))
	default:
		x.pretty = true
		x.serveWeb(target)
	}
	return true
}

// serveWeb runs a web action for whoever asks. The checks come in OpenWhisk's
// order: whether the action is there and may be run, how large the request is, by
// whom the action may be called, and only then what the request says.
func (x *exchange) serveWeb(target web.Target) {
	body, payload := x.buffers.get(), x.buffers.get()
	defer x.buffers.put(body)
	defer x.buffers.put(payload)
	x.namespace = target.Action.Namespace
	if !x.identify() {
		return
	}
	action, err := x.api.WebAction(x.r.Context(), target.Action, x.caller)
	if err != nil {
		x.refuse(err)
		return
	}
	if !x.readPayload(body, action.Payload()) || !x.admitted(action) || !x.buildPayload(payload, *body, target, action) {
		return
	}
	call := controller.WebCall{Action: action, Caller: x.caller, Payload: *payload, Transaction: x.transaction, Traced: x.traced, Begun: x.begun, Timed: x.timed}
	answer, err := x.api.InvokeWeb(x.r.Context(), call, x.api.Limits().BlockingWait)
	switch {
	case err != nil:
		x.refuse(err)
	case answer.Record == nil:
		x.w.Header()[headerActivation] = []string{string(answer.Activation)}
		x.fail(http.StatusAccepted, "Response not yet ready.")
	default:
		x.w.Header()[headerActivation] = []string{string(answer.Activation)}
		x.tellStages(answer.Stages)
		x.answerWeb(target.Extension, answer.Record.Response)
	}
}

// identify learns who calls, if anybody says so and can prove it. It returns
// false after it answered that this cannot be found out.
func (x *exchange) identify() bool {
	caller, err := x.api.Authenticate(x.r.Context(), x.r.Header.Get("Authorization"))
	switch {
	case err == nil:
		x.caller = caller
	case !errors.Is(err, controller.ErrNoCredentials) && !errors.Is(err, controller.ErrCredentials):
		x.refuse(err)
		return false
	}
	return true
}

// admitted reports whether the action is to be run for the caller; false after
// it answered, which is also how it serves OPTIONS for an action that leaves that to it.
func (x *exchange) admitted(action *controller.WebAction) bool {
	options := x.r.Method == http.MethodOptions
	if !action.CustomOptions {
		x.corsHeaders(corsWeb)
		if wanted := x.r.Header["Access-Control-Request-Headers"]; len(wanted) > 0 {
			x.w.Header()["Access-Control-Allow-Headers"] = wanted[:1]
		}
		if options {
			x.answered = true
			x.w.WriteHeader(http.StatusOK)
			return false
		}
	}
	if !options && !action.Admits(x.r.Header["X-Require-Whisk-Auth"], x.caller != nil) {
		x.fail(http.StatusUnauthorized, defaultText(http.StatusUnauthorized))
		return false
	}
	return true
}

// payloadOver is what a web action's payload may have beyond twice the request's
// body: headers and query.
const payloadOver = 128 * whisk.KB

// buildPayload makes the payload of the request; false after it answered that
// the request is not right. Escaped or encoded, the payload can be several times
// the body's length: it is refused where that gets out of hand.
func (x *exchange) buildPayload(payload *[]byte, body []byte, target web.Target, action *controller.WebAction) bool {
	request := web.Request{
		Method: x.r.Method, Host: x.r.Host, Header: x.r.Header,
		Path: target.Path, Query: x.r.URL.RawQuery, Body: body,
	}
	if x.caller != nil {
		request.User = x.caller.Namespace
	}
	built, err := request.AppendPayload(*payload, action.Raw, action.Final())
	if err != nil {
		x.refuse(err)
		return false
	}
	*payload = built
	size, limit := whisk.Bytes(len(built)), 2*action.Payload()+payloadOver
	if size > limit {
		x.refuse(whisk.Errorf(whisk.TooLarge, "Request larger than allowed: %d > %d bytes.", int64(size), int64(limit)))
	}
	return size <= limit
}

// answerWeb sends what a web action responded. A client that does not take its
// type is told so then: only now it is known.
func (x *exchange) answerWeb(extension web.Extension, outcome whisk.Response) {
	response, err := web.Render(extension, outcome)
	if err != nil {
		x.refuse(err)
		return
	}
	success := response.Status/100 == 2
	if success && response.Type != "" && !web.Accepts(x.r.Header["Accept"], response.Type) {
		x.pretty = false
		x.fail(http.StatusNotAcceptable, "Resource representation is only available with these types:\n"+response.Type)
		return
	}
	header := x.w.Header()
	for name, values := range response.Header {
		switch {
		case header[name] == nil:
			header[name] = values
		case name == headerServerTiming:
			header[name] = append(header[name], values...)
		default: // what the platform says already is its own affair
		}
	}
	x.sendWeb(response)
}
