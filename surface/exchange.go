// SPDX-License-Identifier: Apache-2.0

package surface

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Exchange is one request and its answer. Errors are answered in JSON, as
// {"error": text}, and no answer may be kept by a cache.
type Exchange struct {
	W      http.ResponseWriter
	R      *http.Request
	Write  time.Duration // [Bounds].Write
	Logger *slog.Logger  // of [Complaints]
}

// Turnaway answers who is not served, because of what Authorize says: an error
// of kind Denied means that it is known who asks, any other that it is not. It
// also goes to the log.
func (x Exchange) Turnaway(realm string, err error) {
	status := http.StatusForbidden
	if whisk.KindOf(err) != whisk.Denied {
		x.W.Header().Set("WWW-Authenticate", `Bearer realm="`+realm+`"`)
		status = http.StatusUnauthorized
	}
	x.Logger.Warn("caller refused", "from", x.R.RemoteAddr, "method", x.R.Method, "path", fmt.Sprintf("%.64s", x.R.URL.Path), "err", err)
	x.answerError(status, err)
}

// Only answers that the method is not the one allowed here.
func (x Exchange) Only(method string) {
	x.W.Header().Set("Allow", method)
	x.Fail(http.StatusMethodNotAllowed, whisk.Errorf(whisk.Invalid, "method %.32q is not allowed, only %s is", x.R.Method, method))
}

// Within does the work in one of the places, unless all are taken: then the
// request is refused. The work has bounds of its own, and its answer may take as
// long as it does.
func (x Exchange) Within(places chan struct{}, work func()) {
	select {
	case places <- struct{}{}:
		defer func() { <-places }()
		// A writer that knows no deadlines needs none.
		_ = http.NewResponseController(x.W).SetWriteDeadline(time.Time{})
		work()
	default:
		x.W.Header().Set("Retry-After", "1")
		x.Fail(http.StatusServiceUnavailable, whisk.Errorf(whisk.Unavailable, "%d such requests are under way already", cap(places)))
	}
}

// Refuse answers with an error, and the status of its kind.
func (x Exchange) Refuse(err error) { x.Fail(statusOf(err), err) }

// statusOf is the one place that maps kinds to statuses.
func statusOf(err error) int {
	switch whisk.KindOf(err) {
	case whisk.NotFound:
		return http.StatusNotFound
	case whisk.Denied:
		return http.StatusForbidden
	case whisk.Invalid:
		return http.StatusBadRequest
	case whisk.Throttled:
		return http.StatusTooManyRequests
	}
	return http.StatusInternalServerError
}

// Fail answers with an error and a status.
func (x Exchange) Fail(status int, err error) {
	x.Logger.Debug("request refused", "method", x.R.Method, "path", x.R.URL.Path, "status", status, "err", err)
	x.answerError(status, err)
}

func (x Exchange) answerError(status int, err error) {
	x.Answer(status, struct {
		Error string `json:"error"`
	}{err.Error()})
}

// Done answers that all went well, and nothing else.
func (x Exchange) Done() {
	x.hurry()
	x.W.Header().Set("Cache-Control", "no-store")
	x.W.WriteHeader(http.StatusNoContent)
}

// Answer answers with a value that always encodes: strings, numbers, times of
// this century.
func (x Exchange) Answer(status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		panic(err) // not such a value
	}
	x.hurry()
	header := x.W.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	x.W.WriteHeader(status)
	_, _ = x.W.Write(append(body, '\n')) // a client that is gone needs no answer
}

// hurry bounds how long the client may take to read the answer.
func (x Exchange) hurry() {
	_ = http.NewResponseController(x.W).SetWriteDeadline(time.Now().Add(x.Write))
}
