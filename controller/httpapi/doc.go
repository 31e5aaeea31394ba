// SPDX-License-Identifier: Apache-2.0

// Package httpapi serves OpenWhisk's REST API over the use cases of package
// controller: routes, headers, status codes and texts, as existing clients
// expect them.
//
// Requests are routed by hand, not by http.ServeMux: OpenWhisk's rules for
// trailing slashes, escaped names, credentials before methods, and 404 against 405
// with the bodies of both differ from ServeMux's. Speed is no reason: either
// way takes a fraction of a microsecond.
//
// Every answer carries the transaction id. Every error is {"error","code"} with
// the transaction id as its code; the kind of the error decides the status in
// one place, statusOf. A panic answers 500 in the same shape.
//
// A [Handler] is safe for concurrent use and keeps no state between requests.
package httpapi
