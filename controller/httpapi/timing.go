// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"net/http"
	"strings"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/apijson"
)

// Who asks by headerTiming is told in headerServerTiming, which browsers show, where
// the time of the call went; the activation's record tells it, too.
const (
	headerTiming       = "X-Whirl-Timing"
	headerServerTiming = "Server-Timing"
)

// takeSwitch reports whether a request's header says "on", and removes it: it is
// not for actions.
func takeSwitch(r *http.Request, header string) bool {
	values := r.Header[header]
	if len(values) == 0 {
		return false
	}
	delete(r.Header, header)
	return strings.EqualFold(values[0], "on")
}

// tellStages says where the time of a call went, if that was asked for. The total
// is until now.
func (x *exchange) tellStages(stages *controller.Stages) {
	if !x.timed || stages == nil {
		return
	}
	value := make([]byte, 0, 160)
	for name, took := range stages.All() {
		value = append(append(value, name...), ";dur="...)
		value = append(apijson.AppendMilliseconds(value, took), ", "...)
	}
	value = apijson.AppendMilliseconds(append(value, "total;dur="...), time.Since(x.begun))
	x.w.Header()[headerServerTiming] = []string{string(value)}
}
