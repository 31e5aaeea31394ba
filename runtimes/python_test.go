// SPDX-License-Identifier: Apache-2.0

package runtimes_test

import (
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/whirl-faas/whirl/runtimes/runtimetest"
)

// What the python runtimes do beyond the contract of all.
func TestPythonActions(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, code string
		status     int
		want       string // is in the answer
	}{
		{"exception", "def main(args):\n    return {'n': 5 / 0}\n", 200, `{"error": "division by zero"}`},
		{"exit", "import sys\ndef main(args):\n    sys.exit(1)\n", 400, `{"error": "command exited"}`},
		{"tuple", "def main(args):\n    return (1, 2)\n", 200, `[1, 2]`},
		{"not serialisable", "def main(args):\n    return {'a': {1}}\n", 502, "did not return a dictionary"},
		{"not a number", "def main(args):\n    return {'a': float('nan')}\n", 502, "did not return a dictionary"},
		{"coroutine", "async def main(args):\n    return {}\n", 502, "did not return a dictionary"},
		{"main module", "ok = 1\nif __name__ == '__main__':\n    ok = 0\ndef main(args):\n    return {'ok': ok}\n", 200, `{"ok": 1}`},
		{"names of the proxy's modules", "try:\n    import server\nexcept ImportError:\n    server = None\ndef main(args):\n    return {'ok': server is None}\n", 200, `{"ok": true}`},
		{"main thread", "import signal\ndef main(args):\n    signal.signal(signal.SIGUSR1, lambda *_: None)\n    return {}\n", 200, `{}`},
		{"asyncio", "import asyncio\nasync def f():\n    return {'ok': 1}\ndef main(args):\n    return asyncio.run(f())\n", 200, `{"ok": 1}`},
		{"subprocess", "import subprocess\ndef main(args):\n    return {'out': subprocess.check_output(['echo', 'hi'], text=True)}\n", 200, `{"out": "hi\n"}`},
		{"replaced streams", "import sys\ndef main(args):\n    sys.stdout = None\n    sys.stderr = None\n    return {}\n", 200, `{}`},
		{"pickled class", "import pickle\nclass A:\n    pass\ndef main(args):\n    return {'ok': isinstance(pickle.loads(pickle.dumps(A())), A)}\n", 200, `{"ok": true}`},
		{"encoding line", "# encoding: utf-8\ndef main(args):\n    print('☃')\n    return {'a': '☃'}\n", 200, `{"a": "☃"}`},
		{"valid executable", "import subprocess, sys\ndef main(args):\n    return {'code': subprocess.call([sys.executable, '-c', 'pass'])}\n", 200, `{"code": 0}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			proxy := start(t, "python", nil)
			proxy.MustInit(t, runtimetest.Code{Code: test.code}, nil)
			reply := proxy.Run(t, map[string]any{}, nil)
			if reply.Status != test.status || !strings.Contains(string(reply.Body), strings.ReplaceAll(test.want, "\n", `\n`)) {
				t.Errorf("got %d %s (%v), want %d with %s", reply.Status, reply.Body, reply.Err, test.status, test.want)
			}
			proxy.Stdout.Activations(t, 1)
			proxy.Stderr.Activations(t, 1)
		})
	}
}

func TestPythonLoads(t *testing.T) {
	t.Parallel()
	const packages = "virtualenv/lib/python3.99/site-packages/"
	main := runtimetest.Entry{Name: "__main__.py", Content: "import dep\ndef main(args):\n    return {'dep': dep.name}\n"}
	for _, test := range []struct {
		name   string
		code   runtimetest.Code
		status int
		want   string // is in the answer
		logged string // is on stderr
	}{
		{"a missing module", runtimetest.Code{Code: "import nosuchmodule\n"}, 502, "No module named 'nosuchmodule'", "Traceback"},
		{"a syntax error", runtimetest.Code{Code: "def main(:\n"}, 502, "SyntaxError", "__main__.py\", line 1"},
		{"an exit", runtimetest.Code{Code: "import sys\nsys.exit(1)\n"}, 502, "Cannot start action. Check logs for details.", "Command exited abruptly during initialization."},
		{"no main file", runtimetest.ArchiveCode(runtimetest.Entry{Name: "a.py"}), 502, "Cannot start action.", "Zip file does not include __main__.py"},
		{"no archive", runtimetest.Code{Code: "bm90IGEgemlw", Binary: true}, 502, "not a zip file", "not a zip file"},
		{"no base64", runtimetest.Code{Code: "!", Binary: true}, 502, "action archive", ""},
		{"a virtualenv", runtimetest.ArchiveCode(main, runtimetest.Entry{Name: packages + "dep.py", Content: "name = 'venv'\n"}), 200, `{"dep": "venv"}`, ""},
		{"a virtualenv with a script", runtimetest.ArchiveCode(main,
			runtimetest.Entry{Name: "virtualenv/bin/activate_this.py", Content: "import os, sys\nsys.path.insert(0, os.path.join(os.path.dirname(__file__), 'here'))\n"},
			runtimetest.Entry{Name: "virtualenv/bin/here/dep.py", Content: "name = 'script'\n"},
		), 200, `{"dep": "script"}`, ""},
		{"a damaged virtualenv", runtimetest.ArchiveCode(main, runtimetest.Entry{Name: "virtualenv/readme.md"}), 502, "Invalid virtualenv", "does not include 'activate_this.py'"},
	} {
		t.Run(test.name, func(t *testing.T) {
			proxy := start(t, "python", nil)
			reply := proxy.Init(t, test.code, nil)
			if reply.Status == http.StatusOK {
				reply = proxy.Run(t, map[string]any{}, nil)
			}
			if reply.Status != test.status || !strings.Contains(string(reply.Body), test.want) {
				t.Errorf("got %d %s (%v), want %d with %s", reply.Status, reply.Body, reply.Err, test.status, test.want)
			}
			proxy.Stdout.Activations(t, 1)
			if logged := proxy.Stderr.Activations(t, 1)[0]; !strings.Contains(logged, test.logged) {
				t.Errorf("stderr has %q, want %q in it", logged, test.logged)
			}
		})
	}
}

// Tracebacks must show the user's own lines, and nothing of the proxy.
func TestPythonTracebacks(t *testing.T) {
	t.Parallel()
	proxy := start(t, "python", nil)
	proxy.MustInit(t, runtimetest.Code{Code: "def main(args):\n    raise ValueError('oh no')\n"}, nil)
	proxy.Run(t, map[string]any{}, nil)
	logged := proxy.Stderr.Activations(t, 1)[0]
	if !strings.Contains(logged, "line 2, in main\n    raise ValueError('oh no')") || strings.Contains(logged, "proxy.py") {
		t.Errorf("stderr has %q", logged)
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkPythonRun(b *testing.B) {
	runtimetest.Benchmark(b, start(b, "python", nil), runtimetest.Code{Code: "def main(args):\n    return {}\n"})
}
