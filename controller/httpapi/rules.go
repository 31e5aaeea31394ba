// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"net/http"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/apijson"
	"github.com/whirl-faas/whirl/whisk"
)

func (x *exchange) serveRule(name whisk.FullName) {
	if !x.owns(name) {
		return
	}
	switch x.r.Method {
	case http.MethodPut:
		x.put(func(body []byte, overwrite bool) {
			x.answerRule(x.api.PutRule(x.r.Context(), x.caller, name, body, overwrite))
		})
	case http.MethodGet:
		x.answerRule(x.api.Rule(x.r.Context(), x.caller, name))
	case http.MethodDelete:
		x.answerRule(x.api.DeleteRule(x.r.Context(), x.caller, name))
	case http.MethodPost:
		x.setRuleStatus(name)
	}
}

func (x *exchange) answerRule(rule controller.RuleView, err error) {
	x.answerEntity(err, func(dst []byte) []byte { return apijson.AppendRule(dst, rule.Rule, rule.Status) })
}

// setRuleStatus makes a rule active or inactive.
func (x *exchange) setRuleStatus(name whisk.FullName) {
	buffer := x.buffers.get()
	defer x.buffers.put(buffer)
	switch {
	case !x.readPayload(buffer, x.api.Limits().Payload):
		return
	case !x.isJSON():
		x.unsupportedMediaType()
		return
	case len(*buffer) == 0:
		x.fail(http.StatusBadRequest, textNoBody)
		return
	}
	if err := x.api.SetRuleStatus(x.r.Context(), x.caller, name, *buffer); err != nil {
		x.refuse(err)
		return
	}
	x.answerText(http.StatusOK, "OK")
}
