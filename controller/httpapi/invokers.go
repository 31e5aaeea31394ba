// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/whirl-faas/whirl/whisk"
)

// What OpenWhisk calls invokers are the nodes of the cluster here, each with its
// agent. Everybody may ask for them, as in OpenWhisk.

// routeInvokers serves /invokers and what is below, and reports false if path is
// none of it.
func (x *exchange) routeInvokers(path string) bool {
	switch path {
	case "/invokers", "/invokers/":
		x.get(x.listInvokers)
	case "/invokers/healthy/count":
		x.get(func() {
			healthy, _ := x.countInvokers()
			x.answer(http.StatusOK, strconv.AppendInt(nil, int64(healthy), 10))
		})
	case "/invokers/ready":
		x.get(x.invokersReady)
	default:
		return false
	}
	return true
}

func (x *exchange) listInvokers() {
	states := map[whisk.NodeID]string{}
	for _, node := range x.api.Invokers() {
		states[node.Node] = node.State.Invoker()
	}
	body, err := json.Marshal(states)
	if err != nil {
		panic(err) // strings always encode
	}
	x.answer(http.StatusOK, body)
}

// countInvokers leaves those out that an operator has emptied: nothing is wrong
// with them.
func (x *exchange) countInvokers() (healthy, all int) {
	for _, node := range x.api.Invokers() {
		switch node.State {
		case whisk.NodeDraining, whisk.NodeDrained:
			continue
		case whisk.NodeUp:
			healthy++
		}
		all++
	}
	return healthy, all
}

// invokersReady is 200 if all invokers are up, and there is one. OpenWhisk's
// division of integers has the same effect, whatever its readiness fraction says.
func (x *exchange) invokersReady() {
	healthy, all := x.countInvokers()
	if all > 0 && healthy == all {
		x.answer(http.StatusOK, fmt.Appendf(nil, `{"healthy":"%d/%d"}`, healthy, all))
		return
	}
	x.answer(http.StatusInternalServerError, fmt.Appendf(nil, `{"unhealthy":"%d/%d"}`, all-healthy, all))
}
