// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package test

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"testing"

	"github.com/whirl-faas/whirl/client"
)

// language is a kind of action, with the same small programs in each.
type language struct {
	name  string // of the family
	needs []string
	code  map[string]string // sources, by what they do

	archive map[string]string // files of a zip that answers {"zipped": <a module's word>}
}

// What the programs do, by name:
//
//	echo     logs "to stdout" and "to stderr" and answers its parameters
//	one, two answer {"version": 1} and {"version": 2}
//	fail     answers {"error": "no luck"} and something else
//	scalar   answers 5
//	array    answers [1, 2]
//	sleep    sleeps for its parameter ms and answers {"slept": true}
//	env      answers variables of its environment
//	memory   takes more memory than it may
//	exit     ends its process in the middle of a run
//	chatter  logs without end
//	stuck    never ends
//	stuckinit never ends its initialisation
func languages() []language {
	return []language{nodejs(), python(), native()}
}

func nodejs() language {
	return language{
		name: "nodejs", needs: []string{"node"},
		code: map[string]string{
			"echo":      `function main(p) { console.log("to stdout"); console.error("to stderr"); return p }`,
			"one":       `function main() { return { version: 1 } }`,
			"two":       `function main() { return { version: 2 } }`,
			"fail":      `function main() { return { error: "no luck", other: 1 } }`,
			"scalar":    `function main() { return 5 }`,
			"array":     `function main() { return [1, 2] }`,
			"sleep":     `function main(p) { return new Promise(done => setTimeout(() => done({ slept: true }), p.ms)) }`,
			"env":       `function main() { const e = {}; for (const n in process.env) if (n.startsWith("__OW_")) e[n] = process.env[n]; return e }`,
			"memory":    `function main() { const all = []; for (;;) all.push(Buffer.alloc(8 << 20, 1)) }`,
			"exit":      `function main() { process.exit(3) }`,
			"chatter":   `async function main() { const line = "x".repeat(1000); for (;;) { console.log(line); await new Promise(setImmediate) } }`,
			"stuck":     `function main() { for (;;); }`,
			"stuckinit": `for (;;); function main() { return {} }`,
		},
		archive: map[string]string{
			"package.json": `{"main": "lib/start.js"}`,
			"lib/start.js": `const word = require("./word"); exports.main = () => ({ zipped: word })`,
			"lib/word.js":  `module.exports = "inner"`,
		},
	}
}

func python() language {
	return language{
		name: "python", needs: []string{"python3"},
		code: map[string]string{
			"echo":      "import sys\ndef main(p):\n    print('to stdout')\n    print('to stderr', file=sys.stderr)\n    return p\n",
			"one":       "def main(p):\n    return {'version': 1}\n",
			"two":       "def main(p):\n    return {'version': 2}\n",
			"fail":      "def main(p):\n    return {'error': 'no luck', 'other': 1}\n",
			"scalar":    "def main(p):\n    return 5\n",
			"array":     "def main(p):\n    return [1, 2]\n",
			"sleep":     "import time\ndef main(p):\n    time.sleep(p['ms'] / 1000)\n    return {'slept': True}\n",
			"env":       "import os\ndef main(p):\n    return {n: v for n, v in os.environ.items() if n.startswith('__OW_')}\n",
			"memory":    "def main(p):\n    all = []\n    while True:\n        all.append(bytearray(b'1') * (8 << 20))\n",
			"exit":      "import os\ndef main(p):\n    os._exit(3)\n",
			"chatter":   "def main(p):\n    while True:\n        print('x' * 1000, flush=True)\n",
			"stuck":     "def main(p):\n    while True:\n        pass\n",
			"stuckinit": "while True:\n    pass\ndef main(p):\n    return {}\n",
		},
		archive: map[string]string{
			"__main__.py": "from word import word\ndef main(p):\n    return {'zipped': word}\n",
			"word.py":     "word = 'inner'\n",
		},
	}
}

// native programs take their parameters as an argument; the last line of their
// output is the result.
func native() language {
	const shell = "#!/bin/sh\n"
	return language{
		name: "native",
		code: map[string]string{
			"echo":    shell + "echo to stdout\necho to stderr >&2\nprintf '%s\\n' \"$1\"\n",
			"one":     shell + "echo '{\"version\": 1}'\n",
			"two":     shell + "echo '{\"version\": 2}'\n",
			"fail":    shell + "echo '{\"error\": \"no luck\", \"other\": 1}'\n",
			"scalar":  shell + "echo 5\n",
			"array":   shell + "echo '[1, 2]'\n",
			"sleep":   shell + "ms=${1##*:}\nms=${ms%\\}}\nsleep \"$(echo \"$ms\" | sed 's/...$/.&/;s/^ *\\./0./')\"\necho '{\"slept\": true}'\n",
			"env":     shell + "printf '{'\nenv | grep '^__OW_' | sed 's/\\([^=]*\\)=\\(.*\\)/\"\\1\": \"\\2\",/' | tr -d '\\n'\nprintf '\"end\": \"\"}\\n'\n",
			"exit":    shell + "exit 3\n",
			"chatter": shell + "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx; done\n",
			"stuck":   shell + "while :; do :; done\n",
		},
		archive: map[string]string{
			"exec": shell + "printf '{\"zipped\": \"%s\"}\\n' \"$(cat word)\"\n",
			"word": "inner",
		},
	}
}

// deploy makes an action of one of the language's programs and deletes it when
// the test ends.
func (l language) deploy(t *testing.T, p *platform, name, program string, limits client.LimitsSpec) {
	t.Helper()
	code, ok := l.code[program]
	if !ok {
		t.Skipf("%s has no program %q", l.name, program)
	}
	p.create(t, name, client.ActionSpec{Exec: &client.Exec{Kind: l.name + ":default", Code: code}, Limits: &limits})
}

// create makes an action and deletes it when the test ends.
func (p *platform) create(t *testing.T, name string, spec client.ActionSpec) client.Action {
	t.Helper()
	action, err := p.CreateAction(t.Context(), name, spec)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !p.hasEnded() {
			p.remove(t, name)
		}
	})
	return action
}

// zipped packs files into a zip archive in base64.
func zipped(t *testing.T, files map[string]string) string {
	t.Helper()
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	for name, content := range files {
		entry, err := w.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := entry.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(archive.Bytes())
}
