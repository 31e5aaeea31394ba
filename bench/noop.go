// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
)

// families are the workloads in the order of reports.
var families = []string{"native", "nodejs", "python"}

// noop is an action that does nothing.
type noop struct {
	code   string
	binary bool // the code is a zip archive in base64
}

// noopOf returns the no-op of a family, and whether there is one.
func noopOf(family string) (noop, bool) {
	switch family {
	case "native":
		return noop{nativeLoop(), true}, true
	case "nodejs":
		return noop{code: "function main() { return { ok: true }; }\n"}, true
	case "python":
		return noop{code: "def main(args):\n    return {\"ok\": True}\n"}, true
	}
	return noop{}, false
}

// nativeLoop is a program that stays between activations and speaks OpenWhisk's
// ActionLoop protocol. A plain native executable is started anew for each
// activation, and starting it would be most of what is measured.
func nativeLoop() string {
	var archive bytes.Buffer
	w := zip.NewWriter(&archive)
	for _, file := range []struct{ name, content string }{
		{"exec", "#!/bin/sh\necho '{\"ok\":true}' >&3\nwhile read -r _; do echo '{\"ok\":true}' >&3; done\n"},
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
