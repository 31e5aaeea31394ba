// SPDX-License-Identifier: Apache-2.0

package runtimetest

// Actions are the same small programs in one language. A zero Code means that
// the language has no such thing, and leaves out the checks that need it.
type Actions struct {
	Echo        Code // prints "hello stdout" and "hello stderr" and returns its parameters
	Silent      Code // returns its parameters
	Environment Code // returns {"env": {...}} of the variables in the parameter "names", null for a missing one
	OtherMain   Code // returns {"niam": true} from an entry point called niam
	AppError    Code // returns {"error": "sorry"}
	Throws      Code // fails with the text "nooooo"
	BadResult   Code // returns a string
	Null        Code // returns null
	Broken      Code // is not of the language
	NoEntry     Code // lacks its entry point
	Exits       Code // ends the process in a run
	Chatty      Code // prints the 5000 lines "line 0" and so on to stdout and returns {}
	Slow        Code // prints "begin", takes a while, prints "end", returns {}
	Archive     Code // returns {"text": ...} of its file data/text.txt, by a library of its own
	Escape      Code // an archive with a file outside

	ThrowsStatus int  // of the answer to a run of Throws: 200 where it counts as the application's own error
	Concurrent   Code // answers {} once parameter "n" of them run at the same time; the zero Code if that is impossible
}

// chattyLines is how many lines Chatty prints.
const chattyLines = 5000

// NodeJS returns the actions of the nodejs runtimes.
func NodeJS() Actions {
	return Actions{
		Echo: Code{Code: `function main(args) {
  console.log('hello stdout');
  console.error('hello stderr');
  return args;
}`},
		Silent:      Code{Code: `const main = (args) => args; // the end`},
		Environment: Code{Code: `function main({names}) { return {env: Object.fromEntries(names.map((n) => [n, process.env[n] ?? null]))} }`},
		OtherMain:   Code{Code: `function niam() { return {niam: true} }`, Main: "niam"},
		AppError:    Code{Code: `function main() { return {error: 'sorry'} }`},
		Throws:      Code{Code: `function main() { throw new Error('nooooo') }`},
		BadResult:   Code{Code: `function main() { return 'not a json object' }`},
		Null:        Code{Code: `function main() { return null }`},
		Broken:      Code{Code: "10 PRINT \"Hello!\"\n20 GOTO 10\n"},
		NoEntry:     Code{Code: `function other() { return {} }`},
		Exits:       Code{Code: `function main() { process.exit(3) }`},
		Chatty:      Code{Code: `function main() { for (let i = 0; i < 5000; i++) console.log('line', i); return {} }`},
		Slow: Code{Code: `function main() {
  console.log('begin');
  return new Promise((done) => setTimeout(() => { console.log('end'); done({}) }, 300));
}`},
		Archive: ArchiveCode(
			Entry{Name: "package.json", Content: `{"name": "test", "main": "lib/start.js"}`},
			Entry{Name: "lib/start.js", Content: `const lib = require('lib'); exports.main = () => ({text: lib.read('data/text.txt')});`, Stored: true},
			Entry{Name: "node_modules/lib/index.js", Content: `exports.read = (name) => require('fs').readFileSync(name, 'utf8');`},
			Entry{Name: "data/text.txt", Content: archiveText},
		),
		Escape: ArchiveCode(
			Entry{Name: "index.js", Content: `exports.main = () => ({})`},
			Entry{Name: "../evil.js", Content: `evil`},
		),
		ThrowsStatus: 502,
		Concurrent: Code{Code: `const waiting = [];
function main({n}) {
  return new Promise((done) => {
    waiting.push(done);
    if (waiting.length === n) waiting.forEach((done) => done({}));
  });
}`},
	}
}

// archiveText is what the action Archive returns.
const archiveText = "this is a test, with snow: ☃\n"

// Python returns the actions of the python runtimes.
func Python() Actions {
	return Actions{
		Echo: Code{Code: `import sys
def main(args):
    print('hello stdout')
    print('hello stderr', file=sys.stderr)
    return args
`},
		Silent: Code{Code: `main = lambda args: args`},
		Environment: Code{Code: `import os
def main(args):
    return {"env": {name: os.environ.get(name) for name in args["names"]}}
`},
		OtherMain: Code{Code: "def niam(args):\n    return {'niam': True}\n", Main: "niam"},
		AppError:  Code{Code: "def main(args):\n    return {'error': 'sorry'}\n"},
		Throws:    Code{Code: "def main(args):\n    raise ValueError('nooooo')\n"},
		BadResult: Code{Code: "def main(args):\n    return 'not a json object'\n"},
		Null:      Code{Code: "def main(args):\n    pass\n"},
		Broken:    Code{Code: "10 PRINT \"Hello!\"\n20 GOTO 10\n"},
		NoEntry:   Code{Code: "def other(args):\n    return {}\n"},
		Exits:     Code{Code: "import os\ndef main(args):\n    os._exit(3)\n"},
		Chatty:    Code{Code: "def main(args):\n    for i in range(5000):\n        print('line', i)\n    return {}\n"},
		Slow: Code{Code: `import time
def main(args):
    print('begin')
    time.sleep(0.3)
    print('end')
    return {}
`},
		Archive: ArchiveCode(
			Entry{Name: "__main__.py", Content: "from lib.reader import read\ndef main(args):\n    return {'text': read('data/text.txt')}\n", Stored: true},
			Entry{Name: "lib/__init__.py"},
			Entry{Name: "lib/reader.py", Content: "def read(name):\n    with open(name, encoding='utf-8') as f:\n        return f.read()\n"},
			Entry{Name: "data/text.txt", Content: archiveText},
		),
		Escape: ArchiveCode(
			Entry{Name: "__main__.py", Content: "def main(args):\n    return {}\n"},
			Entry{Name: "../evil.py", Content: `evil`},
		),
		ThrowsStatus: 200,
	}
}

// Native returns the actions of the kind native:default, as shell scripts.
func Native() Actions {
	return Actions{
		Echo:   Code{Code: "#!/bin/sh\necho hello stdout\necho hello stderr >&2\ncat\n"},
		Silent: Code{Code: "#!/bin/sh\ncat\n"},
		Environment: Code{Code: `#!/bin/sh
names=$(echo "$1" | tr -c 'A-Za-z0-9_' '\n' | grep -v names)
printf '{"env": {'
for name in $names; do
  if value=$(printenv "$name"); then printf '%s"%s": "%s"' "$comma" "$name" "$value"; else printf '%s"%s": null' "$comma" "$name"; fi
  comma=', '
done
printf '}}'
`},
		AppError:  Code{Code: "#!/bin/sh\necho '{\"error\": \"sorry\"}'\n"},
		Throws:    Code{Code: "#!/bin/sh\necho nooooo >&2\nexit 1\n"},
		BadResult: Code{Code: "#!/bin/sh\necho '\"not a json object\"'\n"},
		Null:      Code{Code: "#!/bin/sh\necho null\n"},
		Broken:    Code{Code: "10 PRINT \"Hello!\"\n20 GOTO 10\n"},
		Chatty:    Code{Code: "#!/bin/sh\ni=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done\necho '{}'\n"},
		Slow:      Code{Code: "#!/bin/sh\necho begin\nsleep 0.3\necho end\necho '{}'\n"},
		Archive: ArchiveCode(
			Entry{Name: "exec", Content: "#!/bin/sh\n. ./lib/reader.sh\nread_text data/text.txt\n", Mode: 0o755, Stored: true},
			Entry{Name: "lib/reader.sh", Content: "read_text() { printf '{\"text\": \"%s\\\\n\"}\\n' \"$(cat \"$1\")\"; }\n"},
			Entry{Name: "data/text.txt", Content: archiveText},
		),
		Escape: ArchiveCode(
			Entry{Name: "exec", Content: "#!/bin/sh\necho '{}'\n", Mode: 0o755},
			Entry{Name: "../evil", Content: `evil`},
		),
		ThrowsStatus: 502,
	}
}
