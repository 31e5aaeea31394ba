// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/apijson"
	"github.com/whirl-faas/whirl/whisk"
)

func (x *exchange) serveTrigger(name whisk.FullName) {
	if x.r.Method == http.MethodPost && !x.passes(x.api.AdmitFire(x.caller)) || !x.owns(name) {
		return
	}
	switch x.r.Method {
	case http.MethodPut:
		x.put(func(body []byte, overwrite bool) {
			x.answerTrigger(x.api.PutTrigger(x.r.Context(), x.caller, name, body, overwrite))
		})
	case http.MethodGet:
		x.answerTrigger(x.api.Trigger(x.r.Context(), x.caller, name))
	case http.MethodDelete:
		x.answerTrigger(x.api.DeleteTrigger(x.r.Context(), x.caller, name))
	case http.MethodPost:
		x.fireTrigger(name)
	}
}

func (x *exchange) answerTrigger(trigger whisk.Trigger, err error) {
	x.answerEntity(err, func(dst []byte) []byte { return apijson.AppendTrigger(dst, trigger) })
}

// fireTrigger fires a trigger. Without an active rule there is nothing to tell.
func (x *exchange) fireTrigger(name whisk.FullName) {
	buffer := x.buffers.get()
	defer x.buffers.put(buffer)
	if !x.readPayload(buffer, x.api.LimitsOf(x.caller).Payload) {
		return
	}
	if len(*buffer) > 0 && !x.isJSON() {
		x.unsupportedMediaType()
		return
	}
	id, err := x.api.Fire(x.r.Context(), controller.FireCall{
		Caller: x.caller, Trigger: name, Payload: *buffer, Headers: appendHeaders(nil, x.r), Transaction: x.transaction, Traced: x.traced,
	})
	if err == nil && id == "" {
		x.answered = true
		x.w.WriteHeader(http.StatusNoContent)
		return
	}
	x.answerAccepted(id, err)
}

// withheldHeaders are not handed to actions: what belongs to the body or to the
// connection, and the caller's secret, which is nothing for the actions of others.
var withheldHeaders = []string{"Authorization", "Content-Length", "Content-Type", "Connection"}

// appendHeaders appends a request's headers as an object of lower-case names.
// Of a header that comes more than once the last counts.
func appendHeaders(dst []byte, r *http.Request) []byte {
	dst = apijson.AppendString(append(dst, `{"host":`...), r.Host)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		values := r.Header[name]
		if len(values) == 0 || slices.Contains(withheldHeaders, name) {
			continue
		}
		dst = append(apijson.AppendString(append(dst, ','), strings.ToLower(name)), ':')
		dst = apijson.AppendString(dst, values[len(values)-1])
	}
	return append(dst, '}')
}
