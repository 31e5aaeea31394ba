// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"context"
	"net/http"
	"strings"

	"github.com/whirl-faas/whirl/agent"
	"github.com/whirl-faas/whirl/whisk"
)

// ServeHTTP implements [http.Handler].
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := exchange{API: a, w: w, r: r}
	caller, err := a.authorize(r)
	switch {
	case err != nil && whisk.KindOf(err) == whisk.Denied:
		x.fail(http.StatusForbidden, err)
	case err != nil:
		w.Header().Set("WWW-Authenticate", `Bearer realm="whirl agent"`)
		x.fail(http.StatusUnauthorized, err)
	case r.Method != http.MethodGet:
		w.Header().Set("Allow", http.MethodGet)
		x.fail(http.StatusMethodNotAllowed, whisk.Errorf(whisk.Invalid, "method %.32q is not allowed, only GET is", r.Method))
	default:
		x.caller = caller
		x.route()
	}
}

// exchange is one request of a known caller and its answer.
type exchange struct {
	*API
	w      http.ResponseWriter
	r      *http.Request
	caller agent.Caller
}

func (x *exchange) route() {
	name, rest, deeper := strings.Cut(strings.TrimPrefix(x.r.URL.Path, "/"), "/")
	id := whisk.ContainerID(rest)
	switch {
	case name == "health" && !deeper:
		x.within(x.requests, x.health)
	case name == "suspend" && deeper:
		x.within(x.requests, func() { x.operate(id, "suspended", x.agent.Suspend) })
	case name == "resume" && deeper:
		x.within(x.requests, func() { x.operate(id, "resumed", x.agent.Resume) })
	case name == "log" && deeper:
		x.within(x.logs, func() { x.log(id) })
	default:
		x.fail(http.StatusNotFound, whisk.Errorf(whisk.NotFound,
			"there is no %.64q, only /health, /suspend/{container}, /resume/{container} and /log/{container}", x.r.URL.Path))
	}
}

// within does the work unless too much of its sort is under way.
func (x *exchange) within(places chan struct{}, work func()) {
	select {
	case places <- struct{}{}:
		defer func() { <-places }()
		x.takeTime()
		work()
	default:
		x.w.Header().Set("Retry-After", "1")
		x.fail(http.StatusServiceUnavailable, whisk.Errorf(whisk.Unavailable, "%d such requests are under way already", cap(places)))
	}
}

func (x *exchange) operate(id whisk.ContainerID, done string, work func(context.Context, agent.Caller, whisk.ContainerID) error) {
	if !known(id) {
		x.refuse(unknown(id))
		return
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), x.config.Patience)
	defer cancel()
	if err := work(ctx, x.caller, id); err != nil {
		x.refuse(err)
		return
	}
	if x.caller.Operator {
		x.logger.Info("container changed by an operator", "container", string(id), "change", done, "operator", x.caller.Name)
	}
	x.done()
}

func (x *exchange) log(id whisk.ContainerID) {
	if !known(id) {
		x.refuse(unknown(id))
		return
	}
	request, err := readQuery(x.r.URL.RawQuery)
	if err != nil {
		x.refuse(err)
		return
	}
	summary, err := x.agent.StoreLog(x.caller, id, request)
	switch {
	case err != nil:
		x.refuse(err)
	case summary.Missing:
		x.refuse(whisk.Errorf(whisk.Invalid, "the output does not show where the run ends: "+
			"a sentinel line did not come on both streams; what there was is stored, %d lines with a remark", summary.Lines))
	case x.wantsJSON():
		x.answer(http.StatusOK, summaryJSON{summary.Lines, int64(summary.Bytes), summary.Truncated})
	default:
		x.done()
	}
}

// maxID is longer than any container's id.
const maxID = 256

// known keeps what cannot be a container's id from going any further.
func known(id whisk.ContainerID) bool {
	for _, c := range []byte(id) {
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c == '-') {
			return false
		}
	}
	return id != "" && len(id) <= maxID
}

func unknown(id whisk.ContainerID) error {
	return whisk.Errorf(whisk.NotFound, "there is no container %.64q: ids are letters, digits, _ and -", string(id))
}
