// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"net/http"

	"github.com/whirl-faas/whirl/controller/apijson"
	"github.com/whirl-faas/whirl/whisk"
)

// authenticate learns who calls; false after it answered that nobody does.
func (x *exchange) authenticate() bool {
	caller, err := x.api.Authenticate(x.r.Context(), x.r.Header.Get("Authorization"))
	if err != nil {
		x.refuse(err)
		return false
	}
	x.caller, x.namespace = caller, caller.Namespace
	return true
}

func (x *exchange) listNamespaces() {
	x.answerBuilt(http.StatusOK, func(dst []byte) []byte {
		return append(apijson.AppendString(append(dst, '['), x.caller.Namespace), ']')
	})
}

func (x *exchange) getAction(name whisk.FullName) {
	q := x.query()
	withCode := q.boolean("code", true)
	if q.err != nil {
		x.refuse(q.err)
		return
	}
	action, err := x.api.Action(x.r.Context(), x.caller, name, withCode)
	x.answerEntity(err, func(dst []byte) []byte {
		return apijson.AppendAction(dst, action.Action, action.Code, action.Binding)
	})
}

func (x *exchange) putAction(name whisk.FullName) {
	x.put(func(body []byte, overwrite bool) {
		x.answerAction(x.api.PutAction(x.r.Context(), x.caller, name, body, overwrite))
	})
}

func (x *exchange) deleteAction(name whisk.FullName) {
	x.answerAction(x.api.DeleteAction(x.r.Context(), x.caller, name))
}

func (x *exchange) answerAction(action whisk.Action, code []byte, err error) {
	x.answerEntity(err, func(dst []byte) []byte { return apijson.AppendAction(dst, action, code, whisk.FullName{}) })
}

func (x *exchange) getLimits(namespace string) {
	if x.owns(whisk.FullName{Namespace: namespace}) {
		x.answer(http.StatusOK, limitsDocument(x.api.LimitsOf(x.caller)))
	}
}
