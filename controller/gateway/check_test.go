// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/whirl-faas/whirl/controller/gateway"
)

// sample is a document as a user writes it, with a path that has a parameter.
const sample = `{"swagger":"2.0","basePath":"/base","info":{"title":"T","version":"1"},
	"paths":{"/p/{id}":{"parameters":[{"name":"id","in":"path"}],"get":{"operationId":"op","x-openwhisk":{"namespace":"guest","package":"","action":"a","url":"https://h/api/v1/web/guest/default/a.http"}}}},
	"x-ibm-configuration":{"cors":{"enabled":true},"assembly":{"execute":[{"operation-switch":{"case":[
		{"operations":["op"],"execute":[{"invoke":{"target-url":"https://h/api/v1/web/guest/default/a.http$(request.path)","verb":"keep"}}]}]}}]}}}`

func TestCheck(t *testing.T) {
	gatewaySays := func(text string) string {
		return `Unable to configure the API Gateway (status code 400): {"status":400,"message":"Error: ` + text + `"}`
	}
	for _, test := range []struct{ what, old, new, want string }{
		{"nothing", "x", "x", ""},
		{"base path with a parameter", `"/base"`, `"/b/{x}"`, "The base path (/b/{x}) cannot have parameters. Only the relative path supports path parameters."},
		{"other type with a parameter", `a.http"}}`, `a.json"}}`, "The action must use a response type of '.http' in order to receive the path parameters."},
		{"action that does not get the path", "$(request.path)", "", "The target-url for operationId 'op' must end in '$(request.path)' in order for actions to receive the path parameters."},
		{"parameter that is not described", `"name":"id"`, `"name":"other"`, "The parameter 'id' defined in path '/p/{id}' does not match any of the parameters defined for the path in the swagger file."},
		{"no name", `"title":"T",`, ``, gatewaySays("Missing field 'name' in request body.")},
		{"base path with a quote", `"/base"`, `"/b'"`, gatewaySays(`basePath contains illegal character \"'\".`)},
		{"path with a quote", `/p/{id}`, `/p'/{id}`, gatewaySays(`resource path contains illegal character \"'\".`)},
		{"path without a slash", `"/p/{id}"`, `"p"`, gatewaySays("Resource path must begin with '/'.")},
		{"unknown verb", `"get":{`, `"fetch":{`, gatewaySays("Resource verb 'fetch' not supported.")},
		{"verb that is no object", `"get":{`, `"put":1,"get":{`, gatewaySays("The operation 'put' is not an object.")},
		{"no verb", `"get":{`, `"x-get":{`, gatewaySays("Missing or empty field 'operations' or in resource path object.")},
		{"part of a segment as parameter", `/p/{id}`, `/p/{id}/x{y}`, "The parameter 'y' defined in path '/p/{id}/x{y}' does not match any of the parameters defined for the path in the swagger file."},
		{"the same without any other", `"/p/{id}"`, `"/x{y}"`, gatewaySays("The path parameter in 'x{y}' is not the whole of what stands between two slashes.")},
		{"other place", `https://h/api/v1/web/guest/default/a.http$(`, `https://h/x.http$(`, gatewaySays("The target-url 'https://h/x.http$(request.path)' is not that of a web action: this gateway leads to nothing else.")},
		{"no action", `web/guest/default/a.http$(`, `web/guest/default/.http$(`, gatewaySays("The target-url 'https://h/api/v1/web/guest/default/.http$(request.path)' is not that of a web action: this gateway leads to nothing else.")},
		{"unknown backend verb", `"keep"`, `"steal"`, gatewaySays("backendMethod 'steal' not supported.")},
		{"keys of clients", `"swagger":"2.0"`, `"securityDefinitions":{"client_id":{"in":"header","name":"K","type":"apiKey"}}`, gatewaySays("This gateway cannot check clients' credentials: securityDefinitions and security are not supported.")},
		{"rate", `"swagger":"2.0"`, `"x-ibm-rate-limit":[{"rate":60,"unit":"hour","units":1}]`, ""},
		{"rate of nothing", `"swagger":"2.0"`, `"x-ibm-rate-limit":[{"rate":0,"unit":"hour","units":1}]`, gatewaySays("A rate limit needs a rate and units above 0.")},
		{"header", `[{"operation-switch"`, `[{"set-variable":{"actions":[{"set":"message.headers.X-A","value":"b"}]}},{"operation-switch"`, ""},
		{"long path", `"/p/{id}"`, `"/p` + strings.Repeat("/x", 31) + `"`, gatewaySays("The path '/base/p" + strings.Repeat("/x", 31) + "' has more than 32 segments.")},
		{"many headers", `[{"operation-switch"`, `[{"set-variable":{"actions":[` + strings.Repeat(`{"set":"message.query.q","value":"b"},`, 32) + `{"set":"message.query.q","value":"b"}]}},{"operation-switch"`, gatewaySays("An operation can set 32 headers and parameters, no more.")},
		{"header without a value", `[{"operation-switch"`, `[{"set-variable":{"actions":[{"set":"message.headers.X-A"}]}},{"operation-switch"`, ""},
		{"part of the body", `[{"operation-switch"`, `[{"set-variable":{"actions":[{"set":"message.body.a","value":"b"}]}},{"operation-switch"`, gatewaySays("set-variable cannot set 'message.body.a': it sets message.headers.NAME and message.query.NAME to a text of one line.")},
		{"header of two lines", `[{"operation-switch"`, `[{"set-variable":{"actions":[{"set":"message.headers.X-A","value":"b\r\nc: d"}]}},{"operation-switch"`, gatewaySays("set-variable cannot set 'message.headers.X-A': it sets message.headers.NAME and message.query.NAME to a text of one line.")},
	} {
		text := strings.ReplaceAll(sample, test.old, test.new)
		d, err := gateway.Parse([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", test.what, err)
			continue
		}
		got := ""
		if err := d.Check("guest"); err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s:\ngot  %s\nwant %s", test.what, got, test.want)
		}
	}
	many := gateway.New("/", "")
	for i := range 501 {
		put(t, many, endpoint("get", fmt.Sprintf("/%d", i), "one", ""))
	}
	if err := many.Check("guest"); err == nil || err.Error() != gatewaySays("An API can have 500 operations, no more.") {
		t.Errorf("with many operations: %v", err)
	}
	if err := gateway.New("/", "").Check("guest"); err == nil || err.Error() != gatewaySays("Empty resources object.") {
		t.Errorf("without paths: %v", err)
	}
}
