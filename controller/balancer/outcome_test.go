// SPDX-License-Identifier: Apache-2.0

package balancer_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller/balancer"
	"github.com/whirl-faas/whirl/whisk"
)

// TestRunOutcomes holds every way in which /run can end against what the
// activation becomes and what becomes of the container.
func TestRunOutcomes(t *testing.T) {
	long := `{"text":"` + strings.Repeat("x", 100) + `"}`
	for _, test := range []struct {
		name   string
		answer answer
		status whisk.Status
		result string
		size   int
		keeps  bool // the container
	}{
		{"object", ok(`{"a":1}`), whisk.Success, `{"a":1}`, 7, true},
		{"empty object", ok(`{}`), whisk.Success, `{}`, 2, true},
		{"array", ok(`[1,"two"]`), whisk.Success, `[1,"two"]`, 9, true},
		{"white space is cut off", ok("\n {\"a\": 1.00} \n"), whisk.Success, `{"a": 1.00}`, 15, true},
		{"size counts characters", ok(`{"a":"äöü"}`), whisk.Success, `{"a":"äöü"}`, 11, true},
		{"nested error is none", ok(`{"a":{"error":1}}`), whisk.Success, `{"a":{"error":1}}`, 17, true},
		{"error in an array is none", ok(`[{"error":1}]`), whisk.Success, `[{"error":1}]`, 13, true},
		{"application error", ok(`{"error":"bad","more":1}`), whisk.ApplicationError, `{"error":"bad"}`, 24, true},
		{"application error of any type", ok(`{"error":{"code":[4]}}`), whisk.ApplicationError, `{"error":{"code":[4]}}`, 22, true},
		{"application error null", ok(`{"error":null}`), whisk.ApplicationError, `{"error":null}`, 14, true},
		{"the last of two errors", ok(`{"error":1,"error":2}`), whisk.ApplicationError, `{"error":2}`, 21, true},
		{"escaped key", ok(`{"\u0065rror":1}`), whisk.ApplicationError, `{"error":1}`, 16, true},
		{"too long", ok(long), whisk.ApplicationError,
			`{"error":"The action produced a response that exceeded the allowed length: 111 > 50 bytes. The truncated response was: {\"text\":\"` + strings.Repeat("x", 41) + `"}`, 111, true},
		{"developer error with a text", status(502, `{"error":"no dictionary"}`), whisk.DeveloperError, `{"error":"no dictionary"}`, 25, false},
		{"developer error without", status(500, `{"a":1}`), whisk.DeveloperError,
			`{"error":"The action did not produce a valid JSON or JSON Array response: {\"a\":1}"}`, 7, false},
		{"developer error, no body", status(500, ``), whisk.DeveloperError,
			`{"error":"The action did not produce a valid JSON or JSON Array response."}`, 0, false},
		{"scalar", ok(`42`), whisk.DeveloperError, `{"error":"The action did not produce a valid JSON or JSON Array response: 42"}`, 2, false},
		{"text", ok(`hello`), whisk.DeveloperError, `{"error":"The action did not produce a valid JSON or JSON Array response: hello"}`, 5, false},
		{"broken JSON", ok(`{"a":`), whisk.DeveloperError, `{"error":"The action did not produce a valid JSON or JSON Array response: {\"a\":"}`, 5, false},
		{"empty", ok(``), whisk.DeveloperError, `{"error":"The action did not produce a valid JSON or JSON Array response."}`, 0, false},
		{"no content", answer{raw: "HTTP/1.1 204 No Content\r\n\r\n"}, whisk.DeveloperError,
			`{"error":"The action did not produce a valid JSON or JSON Array response."}`, 0, false},
		{"chunked", answer{raw: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"a\"\r\n3\r\n:1}\r\n0\r\n\r\n"},
			whisk.Success, `{"a":1}`, 7, true},
		{"until close", answer{raw: "HTTP/1.1 200 OK\r\n\r\n{\"a\":1}", drop: true}, whisk.Success, `{"a":1}`, 7, true},
		{"after 100 Continue", answer{raw: "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"}, whisk.Success, `{}`, 2, true},
		{"broken off at once", answer{drop: true}, whisk.DeveloperError,
			`{"error":"The action did not produce a valid response and exited unexpectedly."}`, -1, false},
		{"broken off in the body", answer{raw: "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", drop: true}, whisk.DeveloperError,
			`{"error":"The action did not produce a valid response and exited unexpectedly."}`, -1, false},
		{"not HTTP", answer{raw: "garbage garbage garbage\r\n\r\n", drop: true}, whisk.DeveloperError,
			`{"error":"The action did not produce a valid response and exited unexpectedly."}`, -1, false},
		{"too late", answer{hang: true}, whisk.DeveloperError, `{"error":"The action exceeded its time limits of 60000 milliseconds."}`, -1, false},
		{"too late in the body", answer{raw: "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", hang: true}, whisk.DeveloperError,
			`{"error":"The action exceeded its time limits of 60000 milliseconds."}`, -1, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.handle = func(_ *box, path string, _ []byte) answer {
					if path == "/init" {
						return ok("")
					}
					return test.answer
				}
				w.start()
				begin := time.Now()
				outcome := w.invoke(func(inv *whisk.Invocation) { inv.ResultLimit = 50 })
				w.expect(outcome, test.status, test.result)
				if test.size >= 0 && outcome.Response.Size != test.size {
					t.Errorf("size %d, want %d", outcome.Response.Size, test.size)
				}
				if late := strings.HasPrefix(test.name, "too late"); outcome.TimedOut != late || late && outcome.Run != time.Minute {
					t.Errorf("timed out %v after %v", outcome.TimedOut, time.Since(begin))
				}
				if !json.Valid(outcome.Response.Result) {
					t.Errorf("result is no JSON: %s", outcome.Response.Result)
				}
				if test.keeps {
					w.expectReleases()
				} else {
					w.expectReleases(whisk.ReleaseFailed)
				}
				expectLogRequest(t, w, !test.keeps)
			})
		})
	}
}

func expectLogRequest(t *testing.T, w *world, failed bool) {
	t.Helper()
	time.Sleep(company)
	synctest.Wait()
	g := w.agent("n1")
	g.mu.Lock()
	defer g.mu.Unlock()
	var got []whisk.LogRequest
	for _, r := range g.requests {
		if r.Op == whisk.CollectLogs {
			got = append(got, r.Logs)
		}
	}
	want := whisk.LogRequest{Activation: "0123456789abcdef0123456789abcdef", Namespace: "guest", Run: 1, Limit: 10 * whisk.MB, Sentinels: true, Failed: failed}
	if len(got) != 1 || got[0] != want {
		t.Errorf("log requests %+v, want %+v", got, want)
	}
}

// Where nobody wants the output, the agent is told so once, and again after many
// runs or when one failed. Nobody waits for anything.
func TestOutputThatNobodyWants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		silent := func(inv *whisk.Invocation) { inv.Limits.Logs = 0 }
		for run := range 258 {
			if outcome := w.invoke(silent); (outcome.AfterLogs == nil) != (run%256 != 0) {
				t.Errorf("run %d: is there something to wait for: %v", run+1, outcome.AfterLogs != nil)
			}
		}
		w.handle = func(*box, string, []byte) answer { return answer{drop: true} }
		if outcome := w.invoke(silent); outcome.AfterLogs == nil {
			t.Error("the output of a failed run was not asked for")
		}
		time.Sleep(company)
		synctest.Wait()
		var runs []uint64
		g := w.agent("n1")
		g.mu.Lock()
		defer g.mu.Unlock()
		for _, r := range g.requests {
			if r.Op == whisk.CollectLogs {
				runs = append(runs, r.Logs.Run)
			}
		}
		if !slices.Equal(runs, []uint64{1, 257, 259}) {
			t.Errorf("asked for the output of runs %v", runs)
		}
	})
}

// TestInitOutcomes is the same for /init.
func TestInitOutcomes(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer answer
		result string
		after  time.Duration // that init took
	}{
		{"with a text", status(502, `{"error":"syntax error","x":1}`), `{"error":"syntax error"}`, 0},
		{"without", status(500, `oops`), `{"error":"The action failed during initialization: oops"}`, 0},
		{"no body", status(500, ``), `{"error":"The action failed during initialization."}`, 0},
		{"crash", answer{drop: true}, `{"error":"The action did not initialize and exited unexpectedly."}`, 0},
		{"too late", answer{hang: true}, `{"error":"The action exceeded its time limits of 60000 milliseconds during initialization."}`, time.Minute},
		{"slow but wrong", answer{raw: status(403, `{"error":"no"}`).raw, after: 5 * time.Second}, `{"error":"no"}`, 5 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.handle = func(*box, string, []byte) answer { return test.answer }
				w.start()
				outcome := w.invoke()
				w.expect(outcome, whisk.DeveloperError, test.result)
				if !outcome.Cold || outcome.Init != test.after || outcome.Run != 0 || outcome.TimedOut != (test.name == "too late") {
					t.Errorf("%+v", outcome)
				}
				w.expectReleases(whisk.ReleaseFailed)
				expectLogRequest(t, w, true)
			})
		})
	}
}

func TestInitAnswerTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.handle = func(*box, string, []byte) answer { return ok(strings.Repeat("y", 2<<20)) }
		w.start()
		outcome := w.invoke()
		want := fmt.Sprintf(`{"error":"The action produced a response that exceeded the allowed length: %d > %d bytes. The truncated response was: y`, 2<<20, 1<<20)
		if outcome.Response.Status != whisk.DeveloperError || !strings.HasPrefix(string(outcome.Response.Result), want) {
			t.Errorf("got %v %.200s", outcome.Response.Status, outcome.Response.Result)
		}
	})
}

func TestOutOfMemory(t *testing.T) {
	for _, path := range []string{"/init", "/run"} {
		t.Run(path, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.handle = func(x *box, p string, _ []byte) answer {
					if p != path {
						return ok("{}")
					}
					x.mu.Lock()
					x.exit = &whisk.Exit{Code: -9, OutOfMemory: true}
					x.mu.Unlock()
					return answer{drop: true}
				}
				w.start()
				w.expect(w.invoke(), whisk.DeveloperError, `{"error":"The action exhausted its memory and was aborted."}`)
				w.expectReleases(whisk.ReleaseFailed)
			})
		})
	}
}

// TestTheNewsIsFasterThanTheBreak has the scheduler tell of a crash before its
// connection is found broken: the action is to blame as ever.
func TestTheNewsIsFasterThanTheBreak(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.handle = slowRuns
		w.start()
		running := w.background()
		x := w.box("box1")
		x.mu.Lock()
		x.exit = &whisk.Exit{Code: 3}
		x.mu.Unlock()
		w.send(whisk.Lost{Container: "box1", Reason: "it ended with code 3"})
		synctest.Wait()
		x.kill()
		w.expect(<-running, whisk.DeveloperError, `{"error":"The action did not produce a valid response and exited unexpectedly."}`)
	})
}

// The action is not to blame for a connection that breaks if its container was removed, or if its
// agent, which would know, is away.
func TestWhoIsToBlame(t *testing.T) {
	for _, path := range []string{"/init", "/run"} {
		for name, happens := range map[string]func(w *world, x *box){
			"removed": func(_ *world, x *box) {
				x.mu.Lock()
				defer x.mu.Unlock()
				x.inspectErr = whisk.Errorf(whisk.NotFound, "container %s was removed", x.ID)
			},
			"agent away": func(w *world, _ *box) {
				g := w.agent("n1")
				g.mu.Lock()
				g.down = true
				g.mu.Unlock()
				g.hangUp()
			},
			"agent slow": func(w *world, _ *box) {
				g := w.agent("n1")
				g.mu.Lock()
				defer g.mu.Unlock()
				g.slow = 5 * time.Second
			},
		} {
			t.Run(name+" "+path, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					w := newWorld(t)
					w.handle = func(x *box, p string, _ []byte) answer {
						if p != path {
							return ok("{}")
						}
						happens(w, x)
						return answer{drop: true}
					}
					w.start()
					begun := time.Now()
					w.expect(w.invoke(), whisk.WhiskError, `{"error":"The platform lost the container that ran the activation."}`)
					if waited := time.Since(begun); waited > balancer.Default().ExitPatience {
						t.Errorf("it took %v", waited)
					}
				})
			})
		}
	}
}

// An endless answer costs no more than its limit.
func TestEndlessAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.handle = func(_ *box, path string, _ []byte) answer {
			if path == "/init" {
				return ok("")
			}
			return answer{raw: "HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("z", 3<<20)}
		}
		w.start()
		outcome := w.invoke()
		if outcome.Response.Status != whisk.ApplicationError || len(outcome.Response.Result) > 1<<20+200 {
			t.Errorf("got %v, %d bytes", outcome.Response.Status, len(outcome.Response.Result))
		}
	})
}

func TestBigResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := `{"text":"` + strings.Repeat("x", 1<<20-11) + `"}`
		w := newWorld(t)
		w.handle = func(_ *box, path string, _ []byte) answer {
			if path == "/init" {
				return ok("")
			}
			return ok(body)
		}
		w.start()
		for range 2 {
			w.expect(w.invoke(), whisk.Success, body)
		}
		if x := w.box("box1"); x.dials.Load() != 1 {
			t.Errorf("%d connections, want 1", x.dials.Load())
		}
	})
}
