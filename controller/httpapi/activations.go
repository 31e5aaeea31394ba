// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"net/http"

	"github.com/whirl-faas/whirl/controller/apijson"
	"github.com/whirl-faas/whirl/whisk"
)

func (x *exchange) listActivations(namespace string) {
	q := x.query()
	page := q.page("activations", x.api.Limits())
	count := q.boolean("count", false)
	docs := q.boolean("docs", false)
	filter := q.filter()
	if q.err == nil && count && docs {
		q.err = whisk.Errorf(whisk.Invalid, "The parameter 'docs' is not permitted with 'count'.")
	}
	if q.err != nil {
		x.refuse(q.err)
		return
	}
	if count {
		n, err := x.api.CountActivations(x.r.Context(), x.caller, namespace, filter, page.Skip)
		x.answerCount("activations", n, err)
		return
	}
	records, err := x.api.Activations(x.r.Context(), x.caller, namespace, filter, page, docs)
	if err != nil {
		x.refuse(err)
		return
	}
	appendRecord := apijson.AppendActivationSummary
	if docs {
		appendRecord = apijson.AppendActivation
	}
	x.answerBuilt(http.StatusOK, func(dst []byte) []byte {
		dst = append(dst, '[')
		for i := range records {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendRecord(dst, &records[i])
		}
		return append(dst, ']')
	})
}

// getActivation serves a record, or the part of it that the path names: "result"
// or "logs", "" for the whole.
func (x *exchange) getActivation(namespace string, id whisk.ActivationID, part string) {
	read := x.api.ActivationWithLogs
	if part == "result" {
		read = x.api.Activation
	}
	record, err := read(x.r.Context(), x.caller, namespace, id)
	if err != nil {
		x.refuse(err)
		return
	}
	x.answerBuilt(http.StatusOK, func(dst []byte) []byte {
		switch part {
		case "result":
			return apijson.AppendResponse(dst, record.Response)
		case "logs":
			return apijson.AppendLogs(dst, record.Logs)
		}
		return apijson.AppendActivation(dst, &record)
	})
}
