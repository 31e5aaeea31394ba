// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"net/http"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/apijson"
	"github.com/whirl-faas/whirl/whisk"
)

// invokeAction runs an action. The checks come in OpenWhisk's order: who may,
// how large, with which parameters, of which type, and only then whether the
// action is there. Before all but the first comes whether there is time for a call
// that waits for its answer. A long body is read even so: who is cut off in the
// middle of sending one never sees the answer.
func (x *exchange) invokeAction(name whisk.FullName) {
	q := x.query()
	blocking := q.boolean("blocking", false)
	if blocking && x.isShort() && !x.passes(x.api.MayWait(x.r.Context(), x.caller, name)) {
		return
	}
	limits := x.api.LimitsOf(x.caller)
	buffer := x.buffers.get()
	defer x.buffers.put(buffer)
	if !x.readPayload(buffer, limits.Payload) {
		return
	}
	resultOnly := q.boolean("result", false)
	wait := q.timeout(limits.BlockingWait)
	if q.err != nil {
		x.refuse(q.err)
		return
	}
	if len(*buffer) > 0 && !x.isJSON() {
		x.unsupportedMediaType()
		return
	}
	call := controller.Call{Caller: x.caller, Action: name, Payload: *buffer, Transaction: x.transaction, Traced: x.traced, Begun: x.begun, Timed: x.timed}
	if !blocking {
		id, err := x.api.Submit(x.r.Context(), call)
		x.answerAccepted(id, err)
		return
	}
	answer, err := x.api.Invoke(x.r.Context(), call, wait)
	if err != nil || answer.Record == nil {
		x.answerAccepted(answer.Activation, err)
		return
	}
	x.tellStages(answer.Stages)
	x.answerOutcome(answer.Record, resultOnly)
}

// answerAccepted answers a call whose activation has not ended yet.
func (x *exchange) answerAccepted(id whisk.ActivationID, err error) {
	if err != nil {
		x.refuse(err)
		return
	}
	x.w.Header()[headerActivation] = []string{string(id)}
	x.answerBuilt(http.StatusAccepted, func(dst []byte) []byte {
		dst = append(append(dst, `{"activationId":"`...), id...)
		return append(dst, `"}`...)
	})
}

// answerOutcome answers a blocking call whose activation has ended. An array
// is answered bare, also where a record was asked for, as OpenWhisk does.
func (x *exchange) answerOutcome(record *whisk.Activation, resultOnly bool) {
	x.w.Header()[headerActivation] = []string{string(record.ID)}
	status := outcomeStatus(record.Response.Status)
	result := record.Response.Result
	switch {
	case result != nil && (resultOnly || apijson.IsArray(result)):
		x.answer(status, result)
	case resultOnly:
		x.answer(status, []byte("{}"))
	default:
		x.answerBuilt(status, func(dst []byte) []byte { return apijson.AppendActivation(dst, record) })
	}
}

// outcomeStatus is the HTTP status of an activation that ended like that.
func outcomeStatus(status whisk.Status) int {
	switch status {
	case whisk.Success:
		return http.StatusOK
	case whisk.WhiskError:
		return http.StatusInternalServerError
	}
	return http.StatusBadGateway
}
