// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/whirl-faas/whirl/whisk"
)

func TestInvokers(t *testing.T) {
	up := whisk.NodeStanding{Node: "a", State: whisk.NodeUp}
	mixed := []whisk.NodeStanding{
		up, {Node: "b", State: whisk.NodeUnhealthy}, {Node: "c", State: whisk.NodeUnresponsive},
		{Node: "d", State: whisk.NodeDown}, {Node: "e", State: whisk.NodeDraining}, {Node: "f", State: whisk.NodeDrained},
	}
	for _, row := range []struct {
		name         string
		method, path string
		nodes        []whisk.NodeStanding
		status       int
		body         string
	}{
		{"none", "GET", "/invokers", nil, 200, `{}`},
		{"with a slash", "GET", "/invokers/", []whisk.NodeStanding{up}, 200, `{"a":"up"}`},
		{"all states", "GET", "/invokers", mixed, 200,
			`{"a":"up","b":"unhealthy","c":"unresponsive","d":"down","e":"down","f":"down"}`},
		{"count of none", "GET", "/invokers/healthy/count", nil, 200, `0`},
		{"count", "GET", "/invokers/healthy/count", mixed, 200, `1`},
		{"ready without any", "GET", "/invokers/ready", nil, 500, `{"unhealthy":"0/0"}`},
		{"ready", "GET", "/invokers/ready", []whisk.NodeStanding{up}, 200, `{"healthy":"1/1"}`},
		{"not ready", "GET", "/invokers/ready", mixed, 500, `{"unhealthy":"3/4"}`},
		{"ready beside a drained one", "GET", "/invokers/ready", []whisk.NodeStanding{up, {Node: "f", State: whisk.NodeDrained}}, 200, `{"healthy":"1/1"}`},
		{"another method", "POST", "/invokers", nil, 405, ""},
		{"another path", "GET", "/invokers/a", nil, 404, ""},
		{"another word", "GET", "/invokersx", nil, 404, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			p := newPlatform(t)
			p.balancer.Nodes = row.nodes
			w := httptest.NewRecorder()
			p.handler.ServeHTTP(w, httptest.NewRequest(row.method, row.path, http.NoBody))
			if w.Code != row.status || row.body != "" && w.Body.String() != row.body {
				t.Errorf("%d %s, want %d %s", w.Code, w.Body, row.status, row.body)
			}
		})
	}
}
