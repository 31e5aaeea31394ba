// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"net/http"
	"strconv"

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
	x.caller = caller
	return true
}

func (x *exchange) listNamespaces() {
	x.answerBuilt(http.StatusOK, func(dst []byte) []byte {
		return append(apijson.AppendString(append(dst, '['), x.caller.Namespace), ']')
	})
}

// listActions serves the actions of a package, or of the whole namespace if pkg is "".
func (x *exchange) listActions(namespace, pkg string) {
	if !x.owns(whisk.FullName{Namespace: namespace, Package: pkg}) {
		return
	}
	q := x.query()
	page := q.page("actions", x.api.Limits())
	count := q.boolean("count", false)
	if q.err != nil {
		x.refuse(q.err)
		return
	}
	if count {
		n, err := x.api.CountActions(x.r.Context(), x.caller, namespace, pkg, page.Skip)
		x.answerCount("actions", n, err)
		return
	}
	summaries, err := x.api.Actions(x.r.Context(), x.caller, namespace, pkg, page)
	if err != nil {
		x.refuse(err)
		return
	}
	x.answerBuilt(http.StatusOK, func(dst []byte) []byte {
		dst = append(dst, '[')
		for i, summary := range summaries {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(dst, summary...)
		}
		return append(dst, ']')
	})
}

func (x *exchange) answerCount(collection string, n int, err error) {
	if err != nil {
		x.refuse(err)
		return
	}
	x.answer(http.StatusOK, []byte(`{"`+collection+`":`+strconv.Itoa(n)+`}`))
}

func (x *exchange) getAction(name whisk.FullName) {
	q := x.query()
	withCode := q.boolean("code", true)
	if q.err != nil {
		x.refuse(q.err)
		return
	}
	x.answerAction(x.api.Action(x.r.Context(), x.caller, name, withCode))
}

func (x *exchange) putAction(name whisk.FullName) {
	q := x.query()
	overwrite := q.boolean("overwrite", false)
	if q.err != nil {
		x.refuse(q.err)
		return
	}
	leave, ok := x.takeRoom()
	if !ok {
		return
	}
	defer leave()
	buffer := x.buffers.get()
	defer x.buffers.put(buffer)
	if !x.readBody(buffer, maxBody) {
		return
	}
	if !x.isJSON() {
		x.unsupportedMediaType()
		return
	}
	if len(*buffer) == 0 {
		x.fail(http.StatusBadRequest, "Request entity expected but not supplied")
		return
	}
	x.answerAction(x.api.PutAction(x.r.Context(), x.caller, name, *buffer, overwrite))
}

func (x *exchange) deleteAction(name whisk.FullName) {
	x.answerAction(x.api.DeleteAction(x.r.Context(), x.caller, name))
}

func (x *exchange) answerAction(action whisk.Action, code []byte, err error) {
	if err != nil {
		x.refuse(err)
		return
	}
	x.answerBuilt(http.StatusOK, func(dst []byte) []byte { return apijson.AppendAction(dst, action, code) })
}

func (x *exchange) getLimits(namespace string) {
	if x.owns(whisk.FullName{Namespace: namespace}) {
		x.answer(http.StatusOK, limitsDocument(x.api.Limits()))
	}
}
