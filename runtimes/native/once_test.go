// SPDX-License-Identifier: Apache-2.0

package native_test

import (
	"context"
	"encoding/base64"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/runtimes/runtimetest"
)

func script(lines string) runtimetest.Code {
	return runtimetest.Code{Code: "#!/bin/sh\n" + lines + "\n"}
}

// What native actions do beyond the contract of all.
func TestNativeActions(t *testing.T) {
	for _, test := range []struct {
		name   string
		code   runtimetest.Code
		status int
		want   string // the answer
		stdout string
	}{
		{"argument", script(`echo "{\"count\": $#, \"argument\": $1}"`), 200, `{"count": 1, "argument": {"a":"b c"}}`, ""},
		{"input", script(`echo "{\"input\": $(cat)}"`), 200, `{"input": {"a":"b c"}}`, ""},
		{"last line without an end", script(`echo log; printf '{"ok": 1}'`), 200, `{"ok": 1}`, "log\n"},
		{"last line with spaces", script(`echo log; echo '  {"ok": 1} '`), 200, `{"ok": 1}`, "log\n"},
		{"exit status does not matter", script(`echo '{"ok": 1}'; exit 3`), 200, `{"ok": 1}`, ""},
		{"array", script(`echo '[1, 2]'`), 200, `[1, 2]`, ""},
		{"no output", script(`true`), 502, "", "\n"},
		{"empty last line", script(`echo '{"ok": 1}'; echo`), 502, "", "{\"ok\": 1}\n\n"},
		{"no JSON", script(`echo first; echo '{"ok": 1'`), 502, "", "first\n{\"ok\": 1\n"},
		{"two values", script(`echo '{} {}'`), 502, "", "{} {}\n"},
		{"killed", script(`echo '{}'; echo half; kill -9 $$`), 502, "", "{}\nhalf\n"},
		{"no interpreter", runtimetest.Code{Code: "#!/no/such/interpreter\n"}, 502, "", "no such file"},
		{"closes its input", script(`exec <&-; echo '{"ok": 1}'`), 200, `{"ok": 1}`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			proxy := start(t, nil)
			proxy.MustInit(t, test.code, nil)
			reply := proxy.Run(t, map[string]any{"a": "b c"}, nil)
			if test.status == http.StatusBadGateway {
				test.want = `{"error":"The action did not return a dictionary or array."}`
			}
			if reply.Status != test.status || string(reply.Body) != test.want {
				t.Errorf("got %d %s (%v), want %d %s", reply.Status, reply.Body, reply.Err, test.status, test.want)
			}
			if got := proxy.Stdout.Activations(t, 1)[0]; got != test.stdout && (test.name != "no interpreter" || !strings.Contains(got, test.stdout)) {
				t.Errorf("stdout has %q, want %q", got, test.stdout)
			}
			proxy.Stderr.Activations(t, 1)
		})
	}
}

// Linux passes no argument of 128 KiB; longer parameters come on standard
// input alone.
func TestNativeParametersAroundTheLongestArgument(t *testing.T) {
	t.Parallel()
	proxy := start(t, nil)
	proxy.MustInit(t, script(`input=$(cat | wc -c); echo "{\"arguments\": $#, \"argument\": ${#1}, \"input\": $input}"`), nil)
	for _, test := range []struct {
		size int // of the JSON text
		want string
	}{
		{131071, `{"arguments": 1, "argument": 131071, "input": 131071}`},
		{131072, `{"arguments": 0, "argument": 0, "input": 131072}`},
		{1 << 20, `{"arguments": 0, "argument": 0, "input": 1048576}`},
	} {
		reply := proxy.Run(t, map[string]any{"a": strings.Repeat("x", test.size-len(`{"a":""}`))}, nil)
		if string(reply.Body) != test.want {
			t.Errorf("%d bytes: got %d %s, want %s", test.size, reply.Status, reply.Body, test.want)
		}
	}
}

// A program that reads nothing of a long input must not be waited for.
func TestNativeLongInputThatIsNotRead(t *testing.T) {
	t.Parallel()
	proxy := start(t, nil)
	proxy.MustInit(t, script(`echo '{"ok": 1}'`), nil)
	reply := proxy.Run(t, map[string]any{"a": strings.Repeat("x", 1<<20)}, nil)
	if string(reply.Body) != `{"ok": 1}` {
		t.Errorf("got %d %s (%v)", reply.Status, reply.Body, reply.Err)
	}
}

func TestNativeCode(t *testing.T) {
	binary, err := os.ReadFile("/bin/true")
	if err != nil {
		t.Fatal(err)
	}
	shell := runtimetest.Entry{Name: "exec", Content: "#!/bin/sh\n./bin/tool\n"} // exec need not be marked executable
	for _, test := range []struct {
		name string
		code runtimetest.Code
		want string // in the init's error; "" if it loads
	}{
		{"a binary", runtimetest.Code{Code: base64.StdEncoding.EncodeToString(binary), Binary: true}, ""},
		{"an archive with modes and links", runtimetest.ArchiveCode(shell,
			runtimetest.Entry{Name: "bin/", Mode: fs.ModeDir | 0o755},
			runtimetest.Entry{Name: "bin/tool", Content: "../lib/tool", Mode: fs.ModeSymlink | 0o777},
			runtimetest.Entry{Name: "lib/tool", Content: "#!/bin/sh\necho '{}'\n", Mode: 0o755}), ""},
		{"no program", runtimetest.ArchiveCode(runtimetest.Entry{Name: "a", Content: "b"}), `no file \"exec\"`},
		{"a directory for a program", runtimetest.ArchiveCode(runtimetest.Entry{Name: "exec/", Mode: fs.ModeDir | 0o755}), "exec is neither"},
		{"plain text", runtimetest.Code{Code: "echo hello"}, "begins with"},
		{"text of one letter", runtimetest.Code{Code: "x"}, "exec is neither"},
		{"no base64", runtimetest.Code{Code: "!!", Binary: true}, "not base64"},
		{"an absolute name", runtimetest.ArchiveCode(shell, runtimetest.Entry{Name: "/evil"}), "leads out of it"},
		{"a link that leaves", runtimetest.ArchiveCode(shell, runtimetest.Entry{Name: "out", Content: "../..", Mode: fs.ModeSymlink | 0o777}), "leads out of"},
		{"an absolute link", runtimetest.ArchiveCode(shell, runtimetest.Entry{Name: "out", Content: "/etc", Mode: fs.ModeSymlink | 0o777}), "leads out of"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			proxy := start(t, nil)
			reply := proxy.Init(t, test.code, nil)
			if test.want == "" {
				if reply.Status != http.StatusOK {
					t.Errorf("/init answered %d %s", reply.Status, reply.Body)
				}
				return
			}
			if reply.Status != http.StatusBadGateway || !strings.Contains(string(reply.Body), test.want) {
				t.Errorf("/init answered %d %s, want 502 with %s", reply.Status, reply.Body, test.want)
			}
			if !strings.HasPrefix(reply.Error(), "The action failed to generate or locate a binary. See logs for details.") {
				t.Errorf("the error is %q", reply.Error())
			}
		})
	}
}

// A client that gives up ends the program, so that nothing runs unseen.
func TestNativeRunEndsWithItsClient(t *testing.T) {
	t.Parallel()
	proxy := start(t, nil)
	pids := filepath.Join(t.TempDir(), "pids")
	proxy.MustInit(t, script("[ \"$1\" = '{}' ] || { sleep 1000 & echo $$ $! > "+pids+"; echo begin >&2; wait; }\necho '{}'"), nil)
	ctx, giveUp := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://action/run", strings.NewReader(`{"value":{"wait":1}}`))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := proxy.Client.Do(request); err == nil {
			t.Error("/run was answered")
		}
	})
	proxy.Stderr.Await(t, "begin\n")
	giveUp()
	wg.Wait()
	proxy.Stderr.Activations(t, 1) // the program is gone
	text, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	for pid := range strings.FieldsSeq(string(text)) {
		if !gone(pid) {
			t.Errorf("process %s of the program lives on", pid)
		}
	}
	reply := proxy.Run(t, map[string]any{}, nil)
	for range 1000 { // the proxy notes that a moment later
		if reply.Status != http.StatusForbidden {
			break
		}
		reply = proxy.Run(t, map[string]any{}, nil)
	}
	if string(reply.Body) != "{}" {
		t.Errorf("the next run got %d %s (%v)", reply.Status, reply.Body, reply.Err)
	}
}

// gone reports whether a process has ended, or soon does. One that waits for its
// parent to ask how it ended has.
func gone(pid string) bool {
	for range 1000 {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return true
		}
		time.Sleep(5 * time.Millisecond)
	}
	return false
}

func BenchmarkNativeScript(b *testing.B) {
	runtimetest.Benchmark(b, start(b, nil), script("echo '{}'"))
}
