// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/whisk"
)

// imagePlatform is a platform whose nodes run images of users.
func imagePlatform(t *testing.T, configure ...func(*controller.Config)) *platform {
	t.Helper()
	return newPlatformWith(t, func(deps *controller.Deps) {
		deps.Images = true
		deps.Manifest.Blackboxes = []string{"openwhisk/dockerskeleton:latest"}
	}, configure...)
}

func TestBlackboxActions(t *testing.T) {
	p := imagePlatform(t)
	const frame = `{"namespace":"guest","name":"x","version":"<any>","publish":false,"updated":"<any>","parameters":[],
		"annotations":[{"key":"provide-api-key","value":false},{"key":"exec","value":"blackbox"}],
		"limits":{"timeout":60000,"memory":256,"logs":10,"concurrency":1},"exec":`
	for _, row := range []struct{ name, exec, want, withoutCode string }{
		{"an image alone",
			`{"kind":"blackbox","image":"me/img"}`,
			`{"kind":"blackbox","image":"me/img","binary":false}`, ""},
		{"as wsk sends it with --docker",
			`{"kind":"BlackBox ","image":"registry.example:5000/a/b/img:1.0","code":""}`,
			`{"kind":"blackbox","image":"registry.example:5000/a/b/img:1.0","binary":false}`, ""},
		{"blank code is none",
			`{"kind":"blackbox","image":"img","code":" \n","binary":true}`,
			`{"kind":"blackbox","image":"img","binary":false}`, ""},
		{"code and an entry point, as with --native",
			`{"kind":"blackbox","image":"openwhisk/dockerskeleton","code":"#!/bin/sh\necho {}","main":"go"}`,
			`{"kind":"blackbox","image":"openwhisk/dockerskeleton","code":"#!/bin/sh\necho {}","main":"go","binary":false}`,
			`{"kind":"blackbox","image":"openwhisk/dockerskeleton","main":"go","binary":false}`},
		{"an archive",
			`{"kind":"blackbox","image":"img:latest","code":"UEsDBA=="}`,
			`{"kind":"blackbox","image":"img:latest","code":"UEsDBA==","binary":true}`,
			`{"kind":"blackbox","image":"img:latest","binary":true}`},
		{"a digest",
			`{"kind":"blackbox","image":"img@sha256:` + strings.Repeat("a", 64) + `"}`,
			`{"kind":"blackbox","image":"img@sha256:` + strings.Repeat("a", 64) + `","binary":false}`, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			p.t = t
			without := row.withoutCode
			if without == "" {
				without = row.want
			}
			sameJSON(t, p.must(200, "PUT", guest+"/actions/x?overwrite=true", `{"exec":`+row.exec+`}`).body, frame+row.want+"}")
			sameJSON(t, p.must(200, "GET", guest+"/actions/x", "").body, frame+row.want+"}")
			sameJSON(t, p.must(200, "GET", guest+"/actions/x?code=false", "").body, frame+without+"}")
			sameJSON(t, p.must(200, "PUT", guest+"/actions/x?overwrite=true", `{}`).body, frame+row.want+"}")
		})
	}
	sameJSON(t, p.must(200, "DELETE", guest+"/actions/x", "").body, frame+`{"kind":"blackbox","image":"img@sha256:`+strings.Repeat("a", 64)+`","binary":false}}`)
}

func TestBlackboxRefusals(t *testing.T) {
	p := imagePlatform(t, func(c *controller.Config) { c.Limits.Code = 20 })
	const malformed = "The request content was malformed:\n"
	for _, row := range []struct {
		exec   string
		status int
		text   string
	}{
		{`{"kind":"blackbox"}`, 400, malformed + "'image' must be a string defined in 'exec' for 'blackbox' actions"},
		{`{"kind":"blackbox","image":null}`, 400, malformed + "'image' must be a string defined in 'exec' for 'blackbox' actions"},
		{`{"kind":"blackbox","image":7}`, 400, malformed + "'image' must be a string defined in 'exec' for 'blackbox' actions"},
		{`{"kind":"blackbox","image":""}`, 400, malformed + "could not parse image name"},
		{`{"kind":"blackbox","image":"Me/Img"}`, 400, malformed + "could not parse image name"},
		{`{"kind":"blackbox","image":"a b"}`, 400, malformed + "could not parse image name"},
		{`{"kind":"blackbox","image":"img:"}`, 400, malformed + "could not parse image name"},
		{`{"kind":"blackbox","image":"/img"}`, 400, malformed + "could not parse image name"},
		{`{"kind":"blackbox","image":"img@sha256:abc"}`, 400, malformed + "could not parse image name"},
		{`{"kind":"blackbox","image":"sha256:` + strings.Repeat("a", 200) + `"}`, 400, malformed + "could not parse image name"},
		{`{"kind":"blackbox","image":"img","code":7}`, 400, malformed + "'code' must be a string defined in 'exec' for 'blackbox' actions"},
		{`{"kind":"blackbox","image":"img","main":7}`, 400, malformed + "if defined, 'main' be a string in 'exec' for 'blackbox' actions"},
		{`{"kind":"blackbox","image":"a-name-of-21-letters/x"}`, 413, "exec larger than allowed: 22 > 20 bytes."},
		{`{"kind":"cobol","code":"x"}`, 400, malformed + "The specified runtime 'cobol' is not supported by this platform. Valid values are: 'blackbox', 'java:8', 'nodejs:18', 'nodejs:20', 'sequence'."},
	} {
		got := p.do("PUT", guest+"/actions/x", `{"exec":`+row.exec+`}`)
		if text := got.decode(t)["error"]; got.status != row.status || text != row.text {
			t.Errorf("PUT %.60s = %d %q, want %d %q", row.exec, got.status, text, row.status, row.text)
		}
	}
	// Where no node runs images it is a kind as unknown as any.
	got := newPlatform(t).do("PUT", guest+"/actions/x", `{"exec":{"kind":"blackbox","image":"img"}}`)
	if text := got.decode(t)["error"]; got.status != 400 || text != malformed+"The specified runtime 'blackbox' is not supported by this platform. Valid values are: 'java:8', 'nodejs:18', 'nodejs:20', 'sequence'." {
		t.Errorf("without images: %d %q", got.status, text)
	}
}

// What a container is made from and what it is told: /init comes without code,
// too, and only images that the manifest lists owe sentinels.
func TestBlackboxInvocation(t *testing.T) {
	p := imagePlatform(t)
	p.run()
	for _, row := range []struct {
		exec string
		want whisk.ContainerSpec
		init string
		owes bool
	}{
		{`{"kind":"blackbox","image":"me/img:1"}`,
			whisk.ContainerSpec{Kind: "blackbox", Image: "me/img:1", Memory: 256 * whisk.MB},
			`{"name":"x","main":"main","binary":false,"env":"<any>"}`, false},
		{`{"kind":"blackbox","image":"openwhisk/dockerskeleton","code":"UEsDBA==","main":"go"}`,
			whisk.ContainerSpec{Kind: "blackbox", Image: "openwhisk/dockerskeleton", Memory: 256 * whisk.MB},
			`{"name":"x","main":"go","binary":true,"code":"UEsDBA==","env":"<any>"}`, true},
	} {
		p.must(200, "PUT", guest+"/actions/x?overwrite=true", `{"exec":`+row.exec+`}`)
		p.balancer.Run = func(ctx context.Context, inv *whisk.Invocation, _ controllertest.RunBody) whisk.Outcome {
			body, err := inv.InitBody(ctx, time.Now())
			var init struct{ Value json.RawMessage }
			if err == nil {
				err = json.Unmarshal(body, &init)
			}
			if err != nil || inv.Spec != row.want || inv.Sentinels != row.owes {
				t.Errorf("%s: made from %+v, sentinels %t, %v", row.exec, inv.Spec, inv.Sentinels, err)
			}
			sameEnvelope(t, init.Value, row.init)
			return controllertest.Outcome(inv, whisk.Response{Result: json.RawMessage(`{}`)})
		}
		got := p.must(200, "POST", guest+"/actions/x?blocking=true", "").decode(t)
		if annotations := got["annotations"].([]any); annotations[2].(map[string]any)["value"] != "blackbox" {
			t.Errorf("the record says %v", annotations)
		}
	}
}

// sameEnvelope is sameJSON that leaves the environment aside, but wants one.
func sameEnvelope(t *testing.T, got json.RawMessage, want string) {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal(got, &fields); err != nil {
		t.Fatal(err)
	}
	if env, ok := fields["env"].(map[string]any); !ok || env["__OW_ACTION_NAME"] != "/guest/x" {
		t.Errorf("the environment is %v", fields["env"])
	}
	fields["env"] = "any"
	text, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	sameJSON(t, string(text), want)
}
