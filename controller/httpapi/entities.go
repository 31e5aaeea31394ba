// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"net/http"
	"strconv"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/apijson"
)

// list serves a list of entities, or their number.
func (x *exchange) list(listing controller.Listing) {
	if err := x.api.MayList(x.r.Context(), x.caller, listing); err != nil {
		x.refuse(err)
		return
	}
	collection := string(listing.Collection)
	q := x.query()
	page := q.page(collection, x.api.Limits())
	count := q.boolean("count", false)
	if q.err != nil {
		x.refuse(q.err)
		return
	}
	if count {
		n, err := x.api.Count(x.r.Context(), x.caller, listing, page.Skip)
		x.answerCount(collection, n, err)
		return
	}
	summaries, err := x.api.List(x.r.Context(), x.caller, listing, page)
	x.answerEntity(err, func(dst []byte) []byte { return apijson.AppendArray(dst, summaries) })
}

func (x *exchange) answerCount(collection string, n int, err error) {
	if err != nil {
		x.refuse(err)
		return
	}
	x.answer(http.StatusOK, []byte(`{"`+collection+`":`+strconv.Itoa(n)+`}`))
}

// put reads the body of a PUT and hands it on. The body is only valid until that returns.
func (x *exchange) put(serve func(body []byte, overwrite bool)) {
	q := x.query()
	overwrite := q.boolean("overwrite", false)
	if q.err != nil {
		x.refuse(q.err)
		return
	}
	leave, ok := x.takeRoom(x.rooms.bodies, roomForBodies, maxBody, roomPatience)
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
		x.fail(http.StatusBadRequest, textNoBody)
		return
	}
	serve(*buffer, overwrite)
}

const textNoBody = "Request entity expected but not supplied"

// answerEntity sends the JSON that build appends, unless there was an error.
func (x *exchange) answerEntity(err error, build func(dst []byte) []byte) {
	if err != nil {
		x.refuse(err)
		return
	}
	x.answerBuilt(http.StatusOK, build)
}
