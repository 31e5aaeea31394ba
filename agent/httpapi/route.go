// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"context"
	"net/http"
	"strings"

	"github.com/whirl-faas/whirl/agent"
	"github.com/whirl-faas/whirl/surface"
	"github.com/whirl-faas/whirl/whisk"
)

// ServeHTTP implements [http.Handler].
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := exchange{API: a, Exchange: surface.Exchange{W: w, R: r, Write: a.config.Write, Logger: a.logger}}
	caller, err := a.authorize(r)
	switch {
	case err != nil:
		x.Turnaway("whirl agent", err)
	case r.Method != http.MethodGet:
		x.Only(http.MethodGet)
	default:
		x.caller = caller
		x.route()
	}
}

// exchange is one request of a known caller and its answer.
type exchange struct {
	*API
	surface.Exchange
	caller agent.Caller
}

func (x *exchange) route() {
	name, rest, deeper := strings.Cut(strings.TrimPrefix(x.R.URL.Path, "/"), "/")
	id := whisk.ContainerID(rest)
	switch {
	case name == "health" && !deeper:
		x.Within(x.requests, x.health)
	case name == "suspend" && deeper:
		x.Within(x.requests, func() { x.operate(id, "suspended", x.agent.Suspend) })
	case name == "resume" && deeper:
		x.Within(x.requests, func() { x.operate(id, "resumed", x.agent.Resume) })
	case name == "log" && deeper:
		x.Within(x.logs, func() { x.log(id) })
	default:
		x.Fail(http.StatusNotFound, whisk.Errorf(whisk.NotFound,
			"there is no %.64q, only /health, /suspend/{container}, /resume/{container} and /log/{container}", x.R.URL.Path))
	}
}

func (x *exchange) operate(id whisk.ContainerID, done string, work func(context.Context, agent.Caller, whisk.ContainerID) error) {
	if !known(id) {
		x.Refuse(unknown(id))
		return
	}
	ctx, cancel := context.WithTimeout(x.R.Context(), x.config.Patience)
	defer cancel()
	if err := work(ctx, x.caller, id); err != nil {
		x.Refuse(err)
		return
	}
	if x.caller.Operator {
		x.logger.Info("container changed by an operator", "container", string(id), "change", done, "operator", x.caller.Name)
	}
	x.Done()
}

func (x *exchange) log(id whisk.ContainerID) {
	if !known(id) {
		x.Refuse(unknown(id))
		return
	}
	request, err := readQuery(x.R.URL.RawQuery)
	if err != nil {
		x.Refuse(err)
		return
	}
	summary, err := x.agent.StoreLog(x.caller, id, request)
	switch {
	case err != nil:
		x.Refuse(err)
	case summary.Missing:
		x.Refuse(whisk.Errorf(whisk.Invalid, "the output does not show where the run ends: "+
			"a sentinel line did not come on both streams; what there was is stored, %d lines with a remark", summary.Lines))
	case x.wantsJSON():
		x.Answer(http.StatusOK, summaryJSON{summary.Lines, int64(summary.Bytes), summary.Truncated})
	default:
		x.Done()
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
