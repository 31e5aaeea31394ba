// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/whisk"
)

// allowed sets what all namespaces may do.
func allowed(calls, atOnce, fires int) func(*controller.Config) {
	return func(c *controller.Config) {
		c.Limits.InvocationsPerMinute, c.Limits.ConcurrentActions, c.Limits.FiresPerMinute = calls, atOnce, fires
	}
}

// refused sends a request that has to be answered with that status and text.
func (p *platform) refused(status int, text, method, path, body string, headers ...string) {
	p.t.Helper()
	got := p.do(method, path, body, headers...)
	if document := got.decode(p.t); got.status != status || document["error"] != text || document["code"] != "tid" {
		p.t.Errorf("%s %s = %d %s, want %d %s", method, path, got.status, got.body, status, text)
	}
}

func tooMany(count, most int) string {
	return fmt.Sprintf("Too many requests in the last minute (count: %d, allowed: %d).", count, most)
}

func tooManyAtOnce(count, most int) string {
	return fmt.Sprintf("Too many concurrent requests in flight (count: %d, allowed: %d).", count, most)
}

func TestCallsPerMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, allowed(3, 100, 0))
		defer runInBubble(t, p)()
		p.must(200, "PUT", guest+"/actions/hello", hello)
		call := guest + "/actions/hello?blocking=true"
		p.must(200, "POST", call, "")
		p.must(404, "POST", guest+"/actions/gone", "") // counts, too
		p.must(403, "POST", root+"/namespaces/other/actions/hello", "")
		p.refused(429, tooMany(4, 3), "POST", call, "")
		p.refused(429, tooMany(5, 3), "POST", guest+"/actions/gone", "") // before it is known that it is gone
		p.refused(429, tooMany(6, 3), "POST", root+"/namespaces/other/actions/hello", "")
		p.refused(429, tooMany(7, 3), "POST", call, strings.Repeat("x", 2<<20))
		p.must(200, "GET", guest+"/actions/hello", "")                                                               // other requests are not counted
		p.must(404, "POST", root+"/namespaces/_/actions/hello", "", "Authorization: "+basic("other-uuid", guestKey)) // nor are others' calls
	})
}

func TestTheNextMinuteIsAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, allowed(1, 100, 1))
		defer runInBubble(t, p)()
		p.must(200, "PUT", guest+"/actions/hello", hello)
		p.must(200, "PUT", guest+"/triggers/t", "{}")
		for range 3 {
			p.must(202, "POST", guest+"/actions/hello", "")
			p.refused(429, tooMany(2, 1), "POST", guest+"/actions/hello", "")
			p.must(204, "POST", guest+"/triggers/t", "") // counted apart
			p.refused(429, tooMany(2, 1), "POST", guest+"/triggers/t", "")
			p.refused(429, tooMany(3, 1), "POST", guest+"/triggers/gone", "")
			time.Sleep(time.Minute)
		}
	})
}

func TestActivationsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, allowed(1000, 2, 1000))
		defer runInBubble(t, p)()
		p.balancer.Run = func(_ context.Context, inv *whisk.Invocation, _ controllertest.RunBody) whisk.Outcome {
			time.Sleep(time.Second)
			return controllertest.Outcome(inv, whisk.Response{Result: []byte(`{}`)})
		}
		p.must(200, "PUT", guest+"/actions/slow", hello)
		p.must(200, "PUT", guest+"/actions/twice", `{"exec":{"kind":"sequence","components":["/_/slow","/_/slow"]}}`)
		for range 3 {
			p.must(202, "POST", guest+"/actions/slow", "")
			p.must(202, "POST", guest+"/actions/twice", "") // its components are no more
			p.refused(429, tooManyAtOnce(2, 2), "POST", guest+"/actions/slow?blocking=true", "")
			p.refused(429, tooManyAtOnce(2, 2), "POST", guest+"/actions/gone", "")
			time.Sleep(1500 * time.Millisecond)
			p.must(202, "POST", guest+"/actions/slow", "")
			p.refused(429, tooManyAtOnce(2, 2), "POST", guest+"/actions/slow", "")
			time.Sleep(3 * time.Second)
		}
		// What is refused later takes no place with it.
		p.balancer.Refuse = func(*whisk.Invocation) error { return whisk.Errorf(whisk.Unavailable, "no room") }
		for range 5 {
			p.must(503, "POST", guest+"/actions/slow", "")
			p.must(503, "POST", guest+"/actions/slow?blocking=true", "")
			p.must(404, "POST", guest+"/actions/gone", "")
			p.must(400, "POST", guest+"/actions/slow", "[]")
		}
		// It is said when to come again, where that is not the client's own affair.
		for _, row := range []struct {
			err         error
			status      int
			after, text string
		}{
			{whisk.Errorf(whisk.Unavailable, "no room"), 503, "1", "no room"},
			{whisk.Later(whisk.Unavailable, 2100*time.Millisecond, "too late"), 503, "3", "too late"},
			{whisk.Later(whisk.Throttled, time.Second, "bounded"), 429, "1", "bounded"},
			{whisk.Errorf(whisk.Throttled, "full"), 429, "", "full"},
		} {
			p.balancer.Refuse = func(*whisk.Invocation) error { return row.err }
			got := p.do("POST", guest+"/actions/slow?blocking=true", "")
			if got.status != row.status || got.header.Get("Retry-After") != row.after || !strings.Contains(got.body, row.text) {
				t.Errorf("%v: %d, Retry-After %q: %s", row.err, got.status, got.header.Get("Retry-After"), got.body)
			}
		}
		p.balancer.Refuse = nil
		p.must(200, "POST", guest+"/actions/slow?blocking=true", "")
	})
}

func TestRulesAreThrottled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, allowed(2, 100, 100))
		defer runInBubble(t, p)()
		p.must(200, "PUT", guest+"/actions/hello", hello)
		p.must(200, "PUT", guest+"/triggers/t", "{}")
		for _, rule := range []string{"a", "b", "c"} {
			p.must(200, "PUT", guest+"/rules/"+rule, `{"trigger":"/_/t","action":"/_/hello"}`)
		}
		id := p.must(202, "POST", guest+"/triggers/t", "").decode(t)["activationId"]
		logs := fmt.Sprint(p.must(200, "GET", guest+"/activations/"+fmt.Sprint(id)+"/logs", "").body)
		if strings.Count(logs, "activationId") != 2 || !strings.Contains(logs, tooMany(3, 2)) {
			t.Errorf("the trigger's record says %s", logs)
		}
	})
}

func TestWebActionsAreTheOwners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, allowed(2, 100, 100))
		defer runInBubble(t, p)()
		web := strings.Replace(hello, "{", `{"annotations":[{"key":"web-export","value":true}],`, 1)
		p.must(200, "PUT", guest+"/actions/page", web)
		path := root + "/web/guest/default/page.json"
		other := "Authorization: " + basic("other-uuid", guestKey)
		p.must(200, "GET", path, "", "Authorization:")
		p.must(200, "GET", path, "", other)
		p.must(429, "GET", path, "", other)
		p.must(404, "GET", root+"/web/guest/default/gone.json", "", "Authorization:")
	})
}

// TestControllersShare holds that each of several controllers lets in its part.
func TestControllersShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, allowed(10, 10, 10))
		defer runInBubble(t, p)()
		p.balancer.Others = 2
		p.must(200, "PUT", guest+"/actions/hello", hello)
		for range 4 {
			p.must(202, "POST", guest+"/actions/hello", "")
			synctest.Wait()
		}
		p.refused(429, tooMany(5, 4), "POST", guest+"/actions/hello", "")
		p.balancer.Others = 0 // they left
		p.must(202, "POST", guest+"/actions/hello", "")
	})
}

// TestNamespacesOfTheirOwn changes a namespace's limits while it is in use.
func TestNamespacesOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, allowed(1, 100, 1), func(c *controller.Config) {
			c.Namespaces = map[string]whisk.NamespaceLimits{"other": {InvocationsPerMinute: new(2)}}
		})
		defer runInBubble(t, p)()
		other := "Authorization: " + basic("other-uuid", guestKey)
		for _, who := range []string{"Authorization: " + basic(guestUUID, guestKey), other} {
			p.must(200, "PUT", root+"/namespaces/_/actions/hello", hello, who)
		}
		p.must(202, "POST", guest+"/actions/hello", "")
		p.must(429, "POST", guest+"/actions/hello", "")
		p.must(202, "POST", root+"/namespaces/_/actions/hello", "", other)
		p.must(202, "POST", root+"/namespaces/_/actions/hello", "", other)
		p.must(429, "POST", root+"/namespaces/_/actions/hello", "", other)

		subjects := controller.Subjects{Store: p.store}
		_, err := subjects.SetLimits(t.Context(), "guest", func(l *whisk.NamespaceLimits) error {
			*l = whisk.NamespaceLimits{
				InvocationsPerMinute: new(1000), AllowedKinds: []string{"java:8"}, StoreActivations: new(false),
				MaxActionMemory: new(int64(256)), MaxParameterSize: "10 B", MaxPayloadSize: "20 B",
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		limits := p.must(200, "GET", guest+"/limits", "").decode(t)
		if limits["invocationsPerMinute"] != 1000.0 || limits["maxActionMemory"] != 256.0 || limits["maxParameterSize"] != "10 B" ||
			limits["storeActivations"] != false || fmt.Sprint(limits["allowedKinds"]) != "[java:8]" {
			t.Errorf("the limits are %v", limits)
		}
		const noKind = "The supplied authentication is not authorized to access actions of kind 'nodejs:20'."
		p.refused(403, noKind, "POST", guest+"/actions/hello", "")
		p.refused(403, noKind, "PUT", guest+"/actions/hello?overwrite=true", hello)
		p.refused(413, "Request larger than allowed: 21 > 20 bytes.", "POST", guest+"/actions/hello", `{"a":"`+strings.Repeat("x", 13)+`"}`)
		p.refused(413, "parameters larger than allowed: 11 > 10 bytes.", "PUT", guest+"/triggers/t", `{"parameters":[{"key":"a","value":1234567890}]}`)
		p.refused(400, "memory size 512 MB exceeds allowed threshold of 256 MB", "PUT", guest+"/actions/hello?overwrite=true", `{"limits":{"memory":512}}`)

		if _, err := subjects.DeleteLimits(t.Context(), "guest"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		p.refused(429, tooMany(5, 1), "POST", guest+"/actions/hello", "")
	})
}

// TestUnrecordedActivations holds that a namespace that wants no records has none,
// and that nothing of them stays in the queue.
func TestUnrecordedActivations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, func(c *controller.Config) {
			c.Namespaces = map[string]whisk.NamespaceLimits{"guest": {StoreActivations: new(false)}}
		})
		defer runInBubble(t, p)()
		p.must(200, "PUT", guest+"/actions/hello", hello)
		p.must(200, "PUT", guest+"/actions/twice", `{"exec":{"kind":"sequence","components":["/_/hello","/_/hello"]}}`)
		p.must(200, "PUT", guest+"/triggers/t", "{}")
		p.must(200, "PUT", guest+"/rules/r", `{"trigger":"/_/t","action":"/_/hello"}`)
		for _, path := range []string{"/actions/hello", "/actions/twice", "/triggers/t"} {
			p.must(202, "POST", guest+path, "")
			if path != "/triggers/t" {
				p.must(200, "POST", guest+path+"?blocking=true", "")
			}
		}
		time.Sleep(time.Minute)
		if records := p.store.Records(); len(records) > 0 {
			t.Errorf("%d records are kept", len(records))
		}
		if queued := p.store.Queued(); len(queued) > 0 {
			t.Errorf("%d activations are left in the queue", len(queued))
		}
	})
}

// TestWebRequestsAreAsLongAsTheOwnerMay holds that a request to a web action is
// held to what its namespace is allowed, after it is known that it may be made.
func TestWebRequestsAreAsLongAsTheOwnerMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, allowed(4, 100, 100), func(c *controller.Config) {
			c.Namespaces = map[string]whisk.NamespaceLimits{"guest": {MaxPayloadSize: "20 B"}}
		})
		defer runInBubble(t, p)()
		p.must(200, "PUT", guest+"/actions/page", strings.Replace(hello, "{", `{"annotations":[{"key":"web-export","value":true}],`, 1))
		body := func(n int) string { return `{"a":"` + strings.Repeat("x", n-8) + `"}` }
		const page, gone = root + "/web/guest/default/page.json", root + "/web/guest/default/gone.json"
		const tooLong = "Request larger than allowed: 21 > 20 bytes."
		p.must(200, "POST", page, body(20), "Authorization:")
		p.refused(413, tooLong, "POST", page, body(21), "Authorization:")
		p.refused(413, tooLong, "OPTIONS", page, body(21), "Authorization:")
		p.must(404, "POST", gone, body(21), "Authorization:")
		p.must(200, "POST", page, body(8), "Authorization:")
		p.refused(429, tooMany(5, 4), "POST", page, body(21), "Authorization:")
	})
}

// TestControllersComeAndGo holds that within a minute each counts on, against the
// part that is its own just then, and that the next minute knows nothing of it.
func TestControllersComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, allowed(10, 100, 10))
		defer runInBubble(t, p)()
		p.must(200, "PUT", guest+"/actions/hello", hello)
		calls := func(n int) {
			t.Helper()
			for range n {
				p.must(202, "POST", guest+"/actions/hello", "")
			}
		}
		calls(7)
		p.balancer.Others = 1 // 6 for each
		p.refused(429, tooMany(8, 6), "POST", guest+"/actions/hello", "")
		p.balancer.Others = 0
		calls(2)
		p.refused(429, tooMany(11, 10), "POST", guest+"/actions/hello", "")
		time.Sleep(time.Minute)
		p.balancer.Others = 1
		calls(6)
		p.refused(429, tooMany(7, 6), "POST", guest+"/actions/hello", "")
	})
}

// TestLessThanRuns lowers what a namespace may have at once below what it has: that
// goes on, and a place is free when less runs than may.
func TestLessThanRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, allowed(1000, 4, 1000))
		defer runInBubble(t, p)()
		p.balancer.Run = func(_ context.Context, inv *whisk.Invocation, _ controllertest.RunBody) whisk.Outcome {
			time.Sleep(10 * time.Second)
			return controllertest.Outcome(inv, whisk.Response{Result: []byte(`{}`)})
		}
		p.must(200, "PUT", guest+"/actions/slow", hello)
		start := func() { p.must(202, "POST", guest+"/actions/slow", "") }
		atOnce := func(n int) {
			t.Helper()
			set := func(l *whisk.NamespaceLimits) error { l.ConcurrentInvocations = new(n); return nil }
			if _, err := (controller.Subjects{Store: p.store}).SetLimits(t.Context(), "guest", set); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		for range 3 {
			start()
		}
		time.Sleep(4 * time.Second)
		start()
		atOnce(1)
		p.refused(429, tooManyAtOnce(4, 1), "POST", guest+"/actions/slow", "")
		time.Sleep(6 * time.Second) // the first three have ended
		p.refused(429, tooManyAtOnce(1, 1), "POST", guest+"/actions/slow", "")
		atOnce(2)
		start()
		p.refused(429, tooManyAtOnce(2, 2), "POST", guest+"/actions/slow", "")
		atOnce(0)
		p.refused(429, tooManyAtOnce(2, 0), "POST", guest+"/actions/slow", "")
		time.Sleep(time.Minute)
		p.refused(429, tooManyAtOnce(0, 0), "POST", guest+"/actions/slow", "")
		atOnce(1)
		start()
	})
}

// TestAnEndFreesThePlace holds that who has the answer may call again, though the
// logs of the first call are not stored yet.
func TestAnEndFreesThePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t, allowed(1000, 1, 1000))
		defer runInBubble(t, p)()
		p.balancer.Run = func(_ context.Context, inv *whisk.Invocation, _ controllertest.RunBody) whisk.Outcome {
			outcome := controllertest.Outcome(inv, whisk.Response{Result: []byte(`{}`)})
			outcome.AfterLogs = func(func(whisk.LogSummary, error)) {} // they never come
			return outcome
		}
		p.must(200, "PUT", guest+"/actions/hello", hello)
		p.must(200, "PUT", guest+"/actions/twice", `{"exec":{"kind":"sequence","components":["/_/hello","/_/hello"]}}`)
		for range 10 {
			p.must(200, "POST", guest+"/actions/hello?blocking=true", "")
			p.must(200, "POST", guest+"/actions/twice?blocking=true", "")
		}
	})
}
