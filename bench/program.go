// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
)

// families are the kinds that actions are written for, in the order of reports.
var families = []string{"native", "nodejs", "python"}

// program is the code of an action.
type program struct {
	code   string
	binary bool // the code is a zip archive in base64
}

// programOf returns what an action of a task ("noop", "echo", "cpu" or "sleep")
// runs in a family, and whether there is such a program. "start" is the no-op
// that starts soonest, for cold starts. Tasks take what they need from their
// parameters. The native programs are scripts that need no more than a shell,
// which neither reads JSON of any size nor knows how much CPU time it has used.
func programOf(task, family string) (program, bool) {
	if task == "start" && family != "native" {
		task = "noop"
	}
	switch family {
	case "native":
		script, known := shellTasks[task]
		if !known {
			return program{}, false
		}
		return program{actionLoop(script), true}, true
	case "nodejs":
		code, known := nodeTasks[task]
		return program{code: code}, known
	case "python":
		code, known := pythonTasks[task]
		return program{code: code}, known
	}
	return program{}, false
}

// shellTasks are native programs that stay between activations and speak
// OpenWhisk's ActionLoop protocol: a line of input is an activation, and a line
// on descriptor 3 its result. One more line says at the start that they are ready.
//
// A shell reads its input byte by byte, a system call for each. Where there is
// perl the no-op is left to that: what is measured is to be the platform.
var shellTasks = map[string]string{
	"noop": `command -v perl >/dev/null 2>&1 && exec perl -e '
	open(my $results, ">&=", 3) or die;
	syswrite($results, qq({"ok":true}\n));
	while (sysread(STDIN, my $piece, 65536)) { syswrite($results, qq({"ok":true}\n)) if $piece =~ /\n/ }'
` + shellLoop(":"),
	"start": shellLoop(":"),
	"sleep": shellLoop(`ms=${line#*\"ms\":}; ms=${ms# }; ms=${ms%%[!0-9]*}
	sleep "$(printf '%d.%03d' $((ms / 1000)) $((ms % 1000)))"`),
}

// shellLoop does a task for each line of input.
func shellLoop(task string) string {
	const answer = "echo '{\"ok\":true}' >&3\n"
	return answer + "while read -r line; do\n\t" + task + "\n\t" + answer + "done\n"
}

var nodeTasks = map[string]string{
	"noop":  "function main() { return { ok: true }; }\n",
	"echo":  "function main(args) { return { payload: args.payload }; }\n",
	"sleep": "function main(args) { return new Promise(done => setTimeout(() => done({ ok: true }), args.ms)); }\n",
	"cpu": `function main(args) {
  const start = process.cpuUsage();
  for (;;) {
    for (let i = 0; i < 1000; i++) Math.sqrt(i);
    const used = process.cpuUsage(start);
    if (used.user + used.system >= args.ms * 1000) return { ok: true };
  }
}
`,
}

var pythonTasks = map[string]string{
	"noop":  "def main(args):\n    return {\"ok\": True}\n",
	"echo":  "def main(args):\n    return {\"payload\": args[\"payload\"]}\n",
	"sleep": "import time\n\ndef main(args):\n    time.sleep(args[\"ms\"] / 1000)\n    return {\"ok\": True}\n",
	"cpu": `import time

def main(args):
    end = time.process_time() + args["ms"] / 1000
    while time.process_time() < end:
        for i in range(100):
            i * i
    return {"ok": True}
`,
}

// actionLoop packs a shell script. A plain native executable is started anew for
// each activation, and starting it would be most of what is measured.
func actionLoop(script string) string {
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	for _, file := range []struct{ name, content string }{
		{"exec", "#!/bin/sh\n" + script},
		{"exec.env", "native:default\n"},
	} {
		// Writing to memory does not fail.
		entry, err := w.Create(file.name)
		if err == nil {
			_, err = entry.Write([]byte(file.content))
		}
		if err != nil {
			panic(err)
		}
	}
	if err := w.Close(); err != nil {
		panic(err)
	}
	return base64.StdEncoding.EncodeToString(archive.Bytes())
}
