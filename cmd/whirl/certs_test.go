// SPDX-License-Identifier: Apache-2.0

package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/whirl-faas/whirl/rpc/certs"
)

func TestCertsAreMadeOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "certs")
	status, stdout, stderr := run(t, nil, "certs", "ca", "--dir", dir)
	if status != statusOK || !strings.Contains(stdout, filepath.Join(dir, "ca.crt")) || stderr != "" {
		t.Fatalf("exit status %d\n%s%s", status, stdout, stderr)
	}
	issue := []string{"certs", "issue", "--dir", dir, "--role", "agent", "--name", "node1", "--host", "10.0.0.1,node1.example.com"}
	status, stdout, stderr = run(t, nil, issue...)
	if status != statusOK || stderr != "" {
		t.Fatalf("exit status %d\n%s%s", status, stdout, stderr)
	}
	files := certs.Files{
		CA:   filepath.Join(dir, "ca.crt"),
		Cert: filepath.Join(dir, "agent-node1.crt"),
		Key:  filepath.Join(dir, "agent-node1.key"),
	}
	for _, name := range []string{files.CA, files.Cert, files.Key} {
		if !strings.Contains(stdout, name+"\n") {
			t.Errorf("the output does not name %s:\n%s", name, stdout)
		}
	}
	source, err := certs.Open(files, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if got := source.Identity().String(); got != "agent node1" {
		t.Errorf("the certificate is for %q", got)
	}

	before, err := os.ReadFile(files.Key)
	if err != nil {
		t.Fatal(err)
	}
	for _, again := range [][]string{{"certs", "ca", "--dir", dir}, issue} {
		if status, _, stderr := run(t, nil, again...); status != statusFailed || !strings.Contains(stderr, "never replaced") {
			t.Errorf("%v again: exit status %d, %s", again, status, stderr)
		}
	}
	if after, err := os.ReadFile(files.Key); err != nil || string(after) != string(before) {
		t.Error("the key was replaced")
	}
	other := filepath.Join(t.TempDir(), "renewed")
	if status, _, stderr := run(t, nil, append(issue, "--out", other)...); status != statusOK {
		t.Errorf("renewing into another directory: exit status %d, %s", status, stderr)
	}
}

func TestCertsWrongUse(t *testing.T) {
	dir := t.TempDir()
	if status, _, stderr := run(t, nil, "certs", "ca", "--dir", dir); status != statusOK {
		t.Fatal(stderr)
	}
	for _, row := range []struct {
		args string
		want []string // in the message
	}{
		{"certs ca", []string{"needs --dir"}},
		{"certs make", []string{`"make"`, "ca", "issue"}},
		{"certs ca now --dir x", []string{"takes no arguments"}},
		{"certs issue --dir " + dir, []string{`no role ""`, "controller", "scheduler", "agent", "operator"}},
		{"certs issue --dir " + dir + " --role invoker --name n", []string{`no role "invoker"`, "agent"}},
		{"certs issue --dir " + dir + " --role agent", []string{`bad name ""`, "1 to 64"}},
		{"certs issue --dir " + dir + " --role agent --name a/b", []string{`bad name "a/b"`, "letters"}},
		{"certs issue --dir " + dir + " --role agent --name n --host 10.0.0.1:80", []string{`"10.0.0.1:80"`, "without a port"}},
		{"certs issue --dir " + dir + " --role agent --name n --lifetime -1h", []string{"--lifetime", "positive"}},
	} {
		status, _, stderr := run(t, nil, strings.Fields(row.args)...)
		if status != statusUsage {
			t.Errorf("whirl %s: exit status %d", row.args, status)
		}
		for _, want := range row.want {
			if !strings.Contains(stderr, want) {
				t.Errorf("whirl %s: the message lacks %q: %s", row.args, want, stderr)
			}
		}
	}
	nowhere := filepath.Join(dir, "nowhere")
	status, _, stderr := run(t, nil, "certs", "issue", "--dir", nowhere, "--role", "agent", "--name", "n")
	if status != statusFailed || !strings.Contains(stderr, "holds no certificate authority") {
		t.Errorf("without an authority: exit status %d, %s", status, stderr)
	}
}
