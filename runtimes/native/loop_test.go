// SPDX-License-Identifier: Apache-2.0

package native_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/whirl-faas/whirl/runtimes/runtimetest"
)

// loopAction is an archive as OpenWhisk's action-loop compilers make it.
func loopAction(lines string) runtimetest.Code {
	return runtimetest.ArchiveCode(
		runtimetest.Entry{Name: "exec", Content: "#!/bin/sh\n" + lines + "\n", Mode: 0o755},
		runtimetest.Entry{Name: "exec.env", Content: "openwhisk/action-golang-v1.20\n"},
	)
}

const ack = `[ -z "$__OW_WAIT_FOR_ACK" ] || echo '{"ok": true}' >&3
`

func TestLoopActionStaysBetweenActivations(t *testing.T) {
	t.Parallel()
	proxy := start(t, nil)
	proxy.MustInit(t, loopAction(ack+`n=0
while read -r line; do
  n=$((n+1)); echo "hello stdout"; echo "hello stderr" >&2
  echo "{\"n\": $n, \"line\": $line, \"colour\": \"$COLOUR\", \"kind\": \"$__OW_EXECUTION_ENV\"}" >&3
done`), map[string]string{"COLOUR": "blue"})
	for n, want := range []string{
		`{"n": 1, "line": {"value":{"a":1},"activation_id":"x"}, "colour": "blue", "kind": "openwhisk/action-golang-v1.20"}`,
		`{"n": 2, "line": {"value":{"a":1},"activation_id":"x"}, "colour": "blue", "kind": "openwhisk/action-golang-v1.20"}`,
	} {
		reply := proxy.Post(t, "/run", []byte("{\"value\":{\"a\":\n1},\n\"activation_id\":\"x\"}"))
		if reply.Status != http.StatusOK || string(reply.Body) != want {
			t.Errorf("activation %d got %d %s, want %s", n, reply.Status, reply.Body, want)
		}
	}
	for n := range 2 {
		if got := proxy.Stdout.Activations(t, 2)[n]; got != "hello stdout\n" {
			t.Errorf("activation %d: stdout has %q", n, got)
		}
		if got := proxy.Stderr.Activations(t, 2)[n]; got != "hello stderr\n" {
			t.Errorf("activation %d: stderr has %q", n, got)
		}
	}
}

func TestLoopActionTakesMegabytes(t *testing.T) {
	t.Parallel()
	proxy := start(t, nil)
	proxy.MustInit(t, loopAction(ack+`exec cat >&3`), nil)
	text := `{"value":{"text":"` + strings.Repeat("x", 3<<20) + `"}}`
	if reply := proxy.Post(t, "/run", []byte(text)); string(reply.Body) != text {
		t.Errorf("got %d with %d bytes, want %d", reply.Status, len(reply.Body), len(text))
	}
}

func TestLoopActionThatEndsIsReported(t *testing.T) {
	t.Parallel()
	proxy := start(t, nil)
	proxy.MustInit(t, loopAction(ack+`read -r line; echo bye; exit 1`), nil)
	if reply := proxy.Run(t, nil, nil); reply.Status != http.StatusBadRequest || reply.Error() != "command exited" {
		t.Errorf("got %d %s, want 400 and that the command exited", reply.Status, reply.Body)
	}
	if got := proxy.Stdout.Activations(t, 1)[0]; got != "bye\n" {
		t.Errorf("stdout has %q", got)
	}
	if reply := proxy.Run(t, nil, nil); reply.Status != http.StatusForbidden {
		t.Errorf("the next run got %d %s, want 403", reply.Status, reply.Body)
	}
}

func TestLoopActionWithBadResults(t *testing.T) {
	t.Parallel()
	proxy := start(t, nil)
	proxy.MustInit(t, loopAction(ack+`while read -r line; do echo '"text"' >&3; done`), nil)
	for range 2 {
		reply := proxy.Run(t, nil, nil)
		if reply.Status != http.StatusBadGateway || reply.Error() != "The action did not return a dictionary or array." {
			t.Errorf("got %d %s", reply.Status, reply.Body)
		}
	}
}

func TestLoopActionThatDoesNotStart(t *testing.T) {
	for _, test := range []struct{ name, lines, want string }{
		{"ends", "exit 0", "Command exited abruptly during initialization."},
		{"says no", `echo '{"ok": false}' >&3; read line`, "The action did not initialize properly."},
		{"says something else", `echo ready >&3; read line`, "no acknowledgement"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			proxy := start(t, nil)
			reply := proxy.Init(t, loopAction(test.lines), nil)
			if reply.Status != http.StatusBadGateway || !strings.Contains(reply.Error(), test.want) {
				t.Errorf("/init answered %d %s, want 502 with %s", reply.Status, reply.Body, test.want)
			}
			proxy.Stdout.Activations(t, 1)
			if logged := proxy.Stderr.Activations(t, 1)[0]; !strings.Contains(logged, test.want) {
				t.Errorf("stderr has %q", logged)
			}
		})
	}
}

func BenchmarkNativeLoop(b *testing.B) {
	runtimetest.Benchmark(b, start(b, nil), loopAction(ack+"exec cat >&3"))
}
