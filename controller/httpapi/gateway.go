// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"net/http"
	"strings"
	"time"

	"github.com/whirl-faas/whirl/controller/apijson"
	"github.com/whirl-faas/whirl/controller/gateway"
	"github.com/whirl-faas/whirl/whisk"
)

// gatewayRoot is where the APIs of all namespaces are. The REST API is below it,
// too, and comes first: no namespace has the uuid "v1".
const gatewayRoot = "/api/"

// routeGateway serves what is below /api/, {tenant}/{base path}/{path}; false if
// there is no such tenant. What is wrong with a tenant's path is told as
// OpenWhisk's gateway tells it; the answers beyond are those of the web action
// that the request leads to.
func (x *exchange) routeGateway(rest string) bool {
	tenant, path, _ := strings.Cut(rest, "/")
	if !isTenant(tenant) {
		return false
	}
	offer, err := x.api.Offer(x.r.Context(), tenant)
	switch {
	case err != nil && whisk.KindOf(err) == whisk.NotFound:
		return false
	case err != nil:
		x.refuse(err)
	default:
		x.serveResource(&offer.Routes, "/"+path)
	}
	return true
}

// isTenant reports whether a segment may be the uuid of a namespace.
func isTenant(segment string) bool {
	for i := range len(segment) {
		if c := segment[i]; !('0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '-') {
			return false
		}
	}
	return segment != "" && len(segment) <= 64
}

// serveResource serves a path below a tenant.
func (x *exchange) serveResource(routes *gateway.Routes, path string) {
	resource, rest := routes.Find(path)
	if resource == nil {
		x.failGateway(http.StatusNotFound, "Not found.")
		return
	}
	x.w = corsWriter{x.w, resource.CORS, x.r.Header["Origin"]}
	if resource.CORS == gateway.CORSOpen && x.r.Method == http.MethodOptions {
		if wanted := x.r.Header["Access-Control-Request-Headers"]; len(wanted) > 0 {
			x.w.Header()["Access-Control-Allow-Headers"] = wanted[:1]
		}
		x.answered = true
		x.w.WriteHeader(http.StatusOK)
		return
	}
	operation := resource.Operation(x.r.Method)
	switch {
	case operation == nil:
		x.failGateway(http.StatusNotFound, "Whoops. Verb not supported.")
	case !resource.Limit.Admit(time.Now(), x.api.Controllers()):
		x.failGateway(http.StatusTooManyRequests, "Rate limit exceeded")
	default:
		forwarded := x.urlOfClient()
		x.r = operation.Apply(x.r)
		x.r.Header["X-Forwarded-Url"] = []string{forwarded}
		x.pretty = true
		x.serveWeb(operation.Target(path, rest))
	}
}

// urlOfClient is the URL that the client used, as far as those before this server tell.
func (x *exchange) urlOfClient() string {
	scheme, host, uri := x.r.Header.Get("X-Forwarded-Proto"), x.r.Header.Get("X-Forwarded-Host"), x.r.Header.Get("X-Forwarded-Uri")
	switch {
	case scheme != "":
	case x.r.TLS != nil:
		scheme = "https"
	default:
		scheme = "http"
	}
	if host == "" {
		host = x.r.Host
	}
	if uri == "" {
		uri = x.r.RequestURI
	}
	return scheme + "://" + host + x.r.Header.Get("X-Forwarded-Prefix") + uri
}

// failGateway answers as OpenWhisk's gateway does, whose errors have a form of their own.
func (x *exchange) failGateway(status int, text string) {
	body := apijson.AppendInt([]byte(`{"status":`), int64(status))
	body = apijson.AppendString(append(body, `,"message":`...), "Error: "+text)
	x.send(status, typeGateway, append(body, "}\n"...))
}

var typeGateway = []string{"application/json; charset=utf-8"}

// corsWriter tells browsers what the API says in place of what its action says.
type corsWriter struct {
	http.ResponseWriter
	cors   gateway.CORS
	origin []string
}

// WriteHeader implements [http.ResponseWriter].
func (w corsWriter) WriteHeader(status int) {
	header := w.Header()
	switch w.cors {
	case gateway.CORSOpen:
		header["Access-Control-Allow-Origin"] = corsOrigin
		if len(w.origin) > 0 {
			header["Access-Control-Allow-Origin"] = w.origin[:1]
		}
		header["Access-Control-Allow-Methods"] = corsGateway
		header["Access-Control-Allow-Credentials"] = []string{"true"}
	case gateway.CORSClosed:
		for _, name := range []string{"Origin", "Methods", "Headers", "Credentials"} {
			delete(header, "Access-Control-Allow-"+name)
		}
		delete(header, "Access-Control-Expose-Headers")
		delete(header, "Access-Control-Max-Age")
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets [http.ResponseController] reach the connection.
func (w corsWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

var corsGateway = []string{"GET, POST, PUT, DELETE, PATCH, HEAD, OPTIONS"}
