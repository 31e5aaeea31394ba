// SPDX-License-Identifier: Apache-2.0

package native

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/whirl-faas/whirl/runtimes/runtimetest"
)

// Whatever an archive holds, nothing of it may land outside its directory, and
// no link may lead there.
func FuzzUnpack(f *testing.F) {
	link := fs.ModeSymlink | 0o777
	for _, entries := range [][]runtimetest.Entry{
		{{Name: "exec", Content: "#!/bin/sh\n", Mode: 0o755}, {Name: "a/b/c", Content: "text", Stored: true}},
		{{Name: "../evil", Content: "x"}},
		{{Name: "/evil", Content: "x"}},
		{{Name: "a/../../evil", Content: "x"}},
		{{Name: "out", Content: "..", Mode: link}, {Name: "out/evil", Content: "x"}},
		{{Name: "in", Content: "a", Mode: link}, {Name: "a/", Mode: fs.ModeDir | 0o755}},
		{{Name: "a", Content: "b", Mode: link}, {Name: "b/c", Content: "../../evil", Mode: link}},
		{{Name: "d/e", Content: "..", Mode: link}, {Name: "d/e/out", Content: "../../evil", Mode: link}},
		{{Name: "a", Content: "x"}, {Name: "a/b", Content: "y"}},
	} {
		f.Add(runtimetest.Archive(entries...))
	}
	f.Add([]byte("PK"))
	f.Fuzz(func(t *testing.T, archive []byte) {
		outer := t.TempDir()
		dir := filepath.Join(outer, "action")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		unpack(root, archive) // what it refuses is as good as what it takes
		left, err := os.ReadDir(outer)
		if err != nil || len(left) != 1 {
			t.Errorf("beside the archive's directory there is %v (%v)", left, err)
		}
		checkLinks(t, dir)
	})
}

func checkLinks(t *testing.T, dir string) {
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type()&fs.ModeSymlink == 0 {
			return err
		}
		target, err := os.Readlink(path)
		if err != nil {
			return err
		}
		there, err := filepath.Rel(dir, filepath.Join(filepath.Dir(path), target))
		if filepath.IsAbs(target) || err != nil || !filepath.IsLocal(there) {
			t.Errorf("%s is a link to %q", path, target)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// Whatever /run brings, a program gets valid JSON on one line, or nothing.
func FuzzRunMessage(f *testing.F) {
	for _, body := range []string{
		"", "null", "{}", "[]", `{"value":1}`, `{"value":null,"deadline":7}`, `{"value":"text"}`,
		"{\n\"value\":\n{\"a\":\n\"\\n\"}\n}", `{"value":[1,2],"api_key":"a:b","activation_id":"\u0000"}`,
		`{"value":{"a":1},"value":[]}`, `{"value":{}} {}`, "{\"value\":{\"a\":\"\xff\"}}",
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		message, err := newRunMessage(body)
		if err != nil {
			if refused, ok := errors.AsType[*refusal](err); !ok || refused.status < 400 {
				t.Errorf("the error is %v, want a refusal", err)
			}
			return
		}
		for _, line := range [][]byte{message.value, message.whole} {
			if !json.Valid(line) || bytes.ContainsRune(line, '\n') {
				t.Errorf("%q became %q", body, line)
			}
		}
		if !isDictionaryOrArray(message.value) {
			t.Errorf("%q has the value %q", body, message.value)
		}
		for _, variable := range (environment{}).with(message.fields()).list() {
			if !strings.HasPrefix(variable, "__OW_") || strings.ContainsRune(variable, 0) {
				t.Errorf("%q sets %q", body, variable)
			}
		}
	})
}
