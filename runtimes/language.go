// SPDX-License-Identifier: Apache-2.0

package runtimes

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// language is what the families of interpreted runtimes differ in.
type language struct {
	name     string // of the family, and of the proxy's folder
	command  string // by which the interpreter goes
	proxy    string // the action proxy's main file
	oldest   release
	describe []string             // arguments that make the interpreter print a description
	kind     func(release) string // of a release
	stemCell whisk.StemCell       // of the default kind
	mend     string               // how to get it
}

// claims reports whether the file at path goes by the name of the language's
// interpreter, such as python3.12.
func (l language) claims(path string) bool {
	return strings.HasPrefix(filepath.Base(path), strings.TrimSuffix(l.command, "3"))
}

// release is the part of a version that makes a kind.
type release struct{ major, minor int }

func (r release) compare(other release) int {
	return cmp.Or(cmp.Compare(r.major, other.major), cmp.Compare(r.minor, other.minor))
}

func (r release) String() string { return fmt.Sprintf("%d.%d", r.major, r.minor) }

// Both scripts print a description. The interpreter itself knows best where it
// is, behind all links and shims, and which files it has mapped. Neither names its
// whole prefix: that may be the user's home. A node's libraries are what NODE_PATH
// names and npm installs for all: OpenWhisk's images come with packages, too.
const (
	describeNode = `const fs = require("fs"), path = require("path"), exe = fs.realpathSync(process.execPath);
const libraries = [
  ...(process.env.NODE_PATH || "").split(path.delimiter),
  path.join(path.dirname(path.dirname(exe)), "lib", "node_modules"),
  "/usr/local/lib/node_modules",
].filter((dir, i, all) => path.isAbsolute(dir) && all.indexOf(dir) === i && fs.existsSync(dir));
console.log(JSON.stringify({
  version: process.versions.node, executable: exe,
  directories: libraries, environment: {NODE_PATH: libraries.join(path.delimiter)},
  maps: fs.readFileSync("/proc/self/maps", "utf8"),
}));`
	describePython = `import json, os, platform, sys, sysconfig
exe = os.path.realpath(sys.executable)
paths = sysconfig.get_paths()
needed = {os.path.dirname(os.__file__), *(paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))}
for prefix in (sys.base_prefix, sys.base_exec_prefix):
  needed.update(os.path.join(prefix, name) for name in ("lib", "lib64", "share/zoneinfo"))
try:
  import ssl
  certificates = ssl.get_default_verify_paths()
  needed.update((certificates.openssl_cafile, certificates.openssl_capath))
except ImportError:
  pass
print(json.dumps({
  "version": platform.python_version(), "executable": exe,
  "directories": sorted(needed),
  "maps": open("/proc/self/maps").read(),
}))`
)

func nodejs() language {
	return language{
		name:     "nodejs",
		command:  "node",
		proxy:    "proxy.js",
		oldest:   release{18, 0},
		describe: []string{"-e", describeNode},
		kind:     func(r release) string { return fmt.Sprintf("nodejs:%d", r.major) },
		stemCell: whisk.StemCell{
			Count:  2,
			Memory: 256 * whisk.MB,
			Reactive: &whisk.ReactiveStemCell{
				Min: 1, Max: 4, TTL: 2 * time.Minute, Threshold: 1, Increment: 1,
			},
		},
		mend: "apt-get install nodejs",
	}
}

func python() language {
	return language{
		name:     "python",
		command:  "python3",
		proxy:    "proxy.py",
		oldest:   release{3, 8},
		describe: []string{"-c", describePython},
		kind:     func(r release) string { return fmt.Sprintf("python:%d.%d", r.major, r.minor) },
		stemCell: whisk.StemCell{Count: 1, Memory: 256 * whisk.MB},
		mend:     "apt-get install python3",
	}
}
