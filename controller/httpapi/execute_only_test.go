// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"testing"

	"github.com/whirl-faas/whirl/controller"
)

func TestExecuteOnly(t *testing.T) {
	p := newPlatform(t, func(config *controller.Config) { config.ExecuteOnly = true })
	shared := root + "/namespaces/guest"
	for _, s := range []struct{ path, body, as string }{
		{"/packages/p", `{"publish":true}`, ""},
		{"/packages/private", `{}`, ""},
		{"/packages/own", `{"binding":{"namespace":"_","name":"p"}}`, ""},
		{"/actions/p/a", hello, ""},
		{"/packages/b", `{"binding":{"namespace":"guest","name":"p"}}`, asOther()},
		{"/packages/mine", `{}`, asOther()},
		{"/actions/mine/a", hello, asOther()},
	} {
		headers := []string{}
		if s.as != "" {
			headers = append(headers, s.as)
		}
		p.must(200, "PUT", guest+s.path, s.body, headers...)
	}
	others := []string{asOther()}
	p.walk(t, []step{
		{what: "a package", method: "GET", path: shared + "/packages/p", headers: others, status: 403, text: "GET not permitted for 'guest/p' since it's a shared package"},
		{what: "an action", method: "GET", path: shared + "/actions/p/a", headers: others, status: 403, text: "GET not permitted for 'guest/p' since it's an action in a shared package"},
		{what: "an action without code", method: "GET", path: shared + "/actions/p/a?code=false", headers: others, status: 403, text: "GET not permitted for 'guest/p' since it's an action in a shared package"},
		{what: "no action", method: "GET", path: shared + "/actions/p/none", headers: others, status: 403, text: "GET not permitted for 'guest/p' since it's an action in a shared package"},
		{what: "a binding", method: "GET", path: guest + "/packages/b", headers: others, status: 403, text: "GET not permitted since b is a binding of a shared package"},
		{what: "an action in a binding", method: "GET", path: guest + "/actions/b/a", headers: others, status: 403, text: "GET not permitted for 'other/b/a'. Resource does not exist or is an action in a shared package binding."},
		{what: "no action in a binding", method: "GET", path: guest + "/actions/b/none", headers: others, status: 403, text: "GET not permitted for 'other/b/none'. Resource does not exist or is an action in a shared package binding."},
		{what: "a private package", method: "GET", path: shared + "/packages/private", headers: others, status: 403, text: "The supplied authentication is not authorized to access 'guest/private'."},
		{what: "one's own", method: "GET", path: guest + "/packages/mine", headers: others, status: 200},
		{what: "one's own action", method: "GET", path: guest + "/actions/mine/a", headers: others, status: 200},
		{what: "the owner", method: "GET", path: guest + "/packages/p", status: 200},
		{what: "the owner's action", method: "GET", path: guest + "/actions/p/a", status: 200},
		{what: "a binding of one's own", method: "GET", path: guest + "/packages/own", status: 200},
		{what: "an action in it", method: "GET", path: guest + "/actions/own/a", status: 200},
		{what: "list", method: "GET", path: shared + "/packages", headers: others, status: 200},
		{what: "run", method: "POST", path: shared + "/actions/p/a?blocking=true", body: "{}", headers: others, status: 200},
		{what: "run by a binding", method: "POST", path: guest + "/actions/b/a?blocking=true", body: "{}", headers: others, status: 200},
	})
}
