// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/whirl-faas/whirl/driver/process"
	"github.com/whirl-faas/whirl/runtimes/native"
)

// TestMain lets this test binary play the parts that whirl plays inside a
// sandbox, and that of the scheduler that it measures.
func TestMain(m *testing.M) {
	process.InitKeeper()
	if slices.Equal(os.Args[1:], []string{native.Argument}) {
		os.Exit(native.Main())
	}
	if len(os.Args) > 3 && slices.Equal(os.Args[1:4], []string{"bench", "scheduler", benchedCommand}) {
		main()
	}
	os.Exit(m.Run())
}

// run executes a command line with an environment and returns its exit status
// and what it wrote.
func run(t *testing.T, environment map[string]string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs screen
	p := program{
		args:   args,
		getenv: func(name string) (string, bool) { value, ok := environment[name]; return value, ok },
		stdout: &out,
		stderr: &errs,
	}
	status = p.exitStatus(p.Run(t.Context()))
	return status, out.text.String(), errs.text.String()
}

// screen takes what a program and its children write, at the same time, as a
// terminal does.
type screen struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements [io.Writer].
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(p)
}

func TestWrongUseIsRefused(t *testing.T) {
	config := filepath.Join(t.TempDir(), "whirl.yaml")
	if err := os.WriteFile(config, []byte("memry: 1g\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name        string
		environment map[string]string
		args        string
		want        []string // in the message
	}{
		{"unknown command", nil, "stand-alone", []string{`"stand-alone"`, "standalone", "admin", "bench", "version"}},
		{"unknown flag", nil, "standalone --lisen x", []string{"--lisen"}},
		{"help for an unknown command", nil, "help stand-alone", []string{`"stand-alone"`, "standalone", "admin", "bench", "version"}},
		{"help for an unknown command below", nil, "help admin usr", []string{`"usr"`, "user"}},
		{"missing argument", nil, "admin user delete", []string{"takes one argument, SUBJECT", "given 0"}},
		{"too many arguments", nil, "admin user delete you me", []string{"takes one argument, SUBJECT", "given 2"}},
		{"arguments", nil, "standalone now", []string{"takes no arguments", "now"}},
		{"no connections", nil, "standalone --max-connections 0", []string{"--max-connections", "1 or more", "0"}},
		{"memory unit", nil, "standalone --memory 1x", []string{"--memory", `"1x"`, "256m"}},
		{"memory too small", nil, "standalone --memory 1m", []string{"1 MB", "at least 256 MB"}},
		{"rivals", nil, "bench --rivals 4", []string{"--rivals", `"4"`, "4:40"}},
		{"driver", nil, "standalone --driver podman", []string{`"podman"`, "process or docker"}},
		{"docker's network", nil, "standalone --driver docker --sandbox-network host", []string{"--sandbox-network host", "outbound or none"}},
		{"denied networks", nil, "standalone --sandbox-denied 10.0.0.0/24,home", []string{"--sandbox-denied", "home", "10.0.0.0/24"}},
		{"denied networks not named", nil, "agent --scheduler 10.0.0.1:3240 --ca x --cert y --key z", []string{"--sandbox-denied", "10.0.0.0/29", `""`}},
		{"denied networks of the host's own", nil, "standalone --sandbox-network host --sandbox-denied 10.0.0.0/24", []string{"--sandbox-denied", "outbound"}},
		{"published by name", nil, "agent --plain-loopback --publish node1", []string{"--publish", `"node1"`, "IP address"}},
		{"published everywhere", nil, "agent --plain-loopback --publish 0.0.0.0", []string{"--publish 0.0.0.0", "one address of this machine"}},
		{"published elsewhere", nil, "agent --plain-loopback --http= --listen 127.0.0.1:0 --publish 192.0.2.1 --data " + t.TempDir(), []string{"--publish 192.0.2.1", "no address 192.0.2.1"}},
		{"published ports", nil, "agent --plain-loopback --publish-ports 5", []string{`--publish-ports "5"`, "20000-24095"}},
		{"docker published without a network", nil, "agent --plain-loopback --driver docker --sandbox-network none --publish 10.0.0.1", []string{"--publish", "outbound, not none"}},
		{"pull policy", nil, "standalone --driver docker --docker-pull often", []string{"--docker-pull", `"often"`, `"never"`}},
		{"processors", nil, "standalone --driver docker --docker-cpus many", []string{"--docker-cpus", `"many"`, "1.5"}},
		{"negative processors", nil, "standalone --driver docker --docker-cpus -1", []string{"--docker-cpus", "-1", "0.01"}},
		{"no number of processors", nil, "standalone --driver docker --docker-cpus NaN", []string{"--docker-cpus", "NaN", "0.01"}},
		{"read-only root", nil, "standalone --driver docker --docker-read-only yes", []string{"--docker-read-only", `"yes"`, "labelled"}},
		{"freezer", nil, "standalone --driver docker --docker-freezer ice", []string{"--docker-freezer", `"ice"`, "cgroup-v2"}},
		{"docker's flags without docker", nil, "standalone --docker-cpus 1", []string{"--docker-cpus needs --driver docker"}},
		{"docker's settings without docker", map[string]string{"WHIRL_DOCKER_CPUS": "2"}, "standalone", []string{"--docker-cpus needs --driver docker"}},
		{"runtimes without images", nil, "standalone --runtimes x.json", []string{"--runtimes needs --driver docker"}},
		{"runtimes", nil, "standalone --driver docker --runtimes /nosuch.json", []string{"--runtimes", "/nosuch.json"}},
		{"credentials", nil, "standalone --driver docker --docker-credentials /nosuch.json", []string{"--docker-credentials", "/nosuch.json"}},
		{"options", nil, "standalone --driver docker --docker-options /nosuch.json", []string{"--docker-options", "/nosuch.json"}},
		{"network", nil, "standalone --sandbox-network bridge", []string{`"bridge"`, "outbound, none or host"}},
		{"concurrency", nil, "standalone --max-concurrency 0", []string{"--max-concurrency 0", "1 to 1000"}},
		{"sequences", nil, "standalone --concurrent-sequences 0", []string{"--concurrent-sequences 0", "1 to 19999"}},
		{"too many sequences", nil, "controller --plain-loopback --concurrent-sequences 20000", []string{"--concurrent-sequences 20000", "1 to 19999"}},
		{"listen", nil, "standalone --listen 3233", []string{`"3233"`, "HOST:PORT"}},
		{"public url", nil, "standalone --public-url whirl.example.org", []string{"--public-url", "whirl.example.org", "a scheme and a host"}},
		{"vanity host", nil, "standalone --vanity-host https://example.org", []string{"--vanity-host", "https://example.org", "without scheme"}},
		{"auth", nil, "standalone --auth me", []string{"--auth", "UUID:KEY"}},
		{"log level", nil, "standalone --log-level loud", []string{`"loud"`, "debug, info, warn or error"}},
		{"records", nil, "standalone --record-blocking some", []string{"--record-blocking", `"some"`, "all failures faults"}},
		{"keys of parameters", nil, "standalone --parameter-encryption aes-512", []string{"--parameter-encryption", `"aes-512"`, "aes-256"}},
		{"negative time", nil, "standalone --drain -1s", []string{"--drain", "negative"}},
		{"bad time", nil, "standalone --drain soon", []string{"--drain", "soon"}},
		{"guest key for everybody", nil, "standalone --listen 0.0.0.0:0", []string{"--auth", "--expose-guest"}},
		{"guest key by an empty host", nil, "standalone --listen :0", []string{"--auth", "--expose-guest"}},
		{"environment", map[string]string{"WHIRL_DRAIN": "soon"}, "standalone", []string{"WHIRL_DRAIN", "soon"}},
		{"missing file", nil, "standalone --config /does/not/exist", []string{"/does/not/exist"}},
		{"key of the file", nil, "standalone --config " + config, []string{`"memry"`, "memory", "listen"}},
		{"bench concurrency", nil, "bench --concurrency 0", []string{"concurrency 0", "1 to"}},
		{"bench hop", nil, "bench --hop", []string{"--hop needs --direct"}},
		{"bench growth", nil, "bench growth --dimensions beards", []string{`"beards"`}},
		{"bench growth passes", nil, "bench growth --passes 0", []string{"--passes 0", "1 to 100"}},
		{"bench kind", nil, "bench --kinds cobol", []string{"cobol", "nodejs"}},
		{"admin command", nil, "admin usr", []string{`"usr"`, "user"}},
		{"admin arguments", nil, "admin user get", []string{"SUBJECT", "given 0"}},
		{"no source", nil, "admin import", []string{"takes one argument, SOURCE", "given 0"}},
		{"a source that is nothing", nil, "admin import /nosuch", []string{"/nosuch", "neither the URL of a CouchDB nor a directory"}},
		{"a source with a password", nil, "admin import http://me:pw@h:5984", []string{"URL must not have a user or password"}},
		{"a source of another scheme", nil, "admin import ftp://h", []string{"like https://db.example.org:6984"}},
		{"a user without a password", nil, "admin import http://h --couchdb-user me", []string{"--couchdb-password-file", "COUCHDB_PASSWORD"}},
		{"a password without a user", map[string]string{"COUCHDB_PASSWORD": "pw"}, "admin import http://h", []string{"--couchdb-user"}},
		{"no file with a password", nil, "admin import http://h --couchdb-user me --couchdb-password-file /nosuch", []string{"--couchdb-password-file", "/nosuch"}},
		{"no certificates", nil, "admin import https://h --couchdb-ca /dev/null", []string{"--couchdb-ca", "no certificate"}},
		{"records of the future", nil, "admin import . --retention -1h", []string{"--retention -1h", "negative"}},
		{"admin agent command", nil, "admin agent empty", []string{`"empty"`, "drain", "undrain"}},
		{"no node", nil, "admin agent drain", []string{"takes one argument, NODE", "given 0"}},
		{"status of something", nil, "admin status n1", []string{"takes no arguments", "n1"}},
		{"no proof", nil, "admin status", []string{"--ca, --cert and --key of an operator", "--secret"}},
		{"two proofs", nil, "admin status --secret x --ca y", []string{"either --secret, or --ca"}},
		{"secret for everybody", nil, "admin status --secret x --scheduler-http 10.0.0.1:3241", []string{"10.0.0.1:3241", "this machine only"}},
		{"scheduler's address", nil, "admin status --secret x --scheduler-http 3241", []string{"--scheduler-http", `"3241"`, "HOST:PORT"}},
		{"operator's certificate", nil, "admin status --ca /nosuch --cert /nosuch --key /nosuch", []string{"/nosuch"}},
		{"no sessions", nil, "scheduler --plain-loopback --max-sessions 0", []string{"--max-sessions", "1 or more", "0"}},
		{"scheduler's HTTP", nil, "scheduler --plain-loopback --http 3241", []string{"--http", `"3241"`, "HOST:PORT"}},
		{"plain HTTP for everybody", nil, "scheduler --plain-loopback --http 0.0.0.0:3241", []string{"--http 0.0.0.0:3241", "loopback"}},
		{"standalone's plain HTTP for everybody", nil, "standalone --http 0.0.0.0:3241", []string{"--http 0.0.0.0:3241", "loopback"}},
		{"plain sessions for everybody", nil, "scheduler --plain-loopback --listen 0.0.0.0:3240", []string{"--listen 0.0.0.0:3240", "loopback"}},
		{"plain sessions by name", nil, "agent --plain-loopback --listen node1:3242", []string{"--listen node1:3242", "loopback"}},
		{"a plain session elsewhere", nil, "agent --plain-loopback --scheduler 10.0.0.1:3240", []string{"--scheduler 10.0.0.1:3240", "loopback"}},
		{"found elsewhere in plain text", nil, "agent --plain-loopback --advertise 10.0.0.1:3242", []string{"--advertise 10.0.0.1:3242", "loopback"}},
		{"a plain scheduler elsewhere", nil, "controller --plain-loopback --scheduler sched1:3240", []string{"--scheduler sched1:3240", "loopback"}},
		{"plain forwards for everybody", nil, "controller --plain-loopback --peers 0.0.0.0:3235", []string{"--peers 0.0.0.0:3235", "loopback"}},
		{"forwards to nowhere", nil, "controller --ca a --cert b --key c --peers :3235", []string{"--peers :3235", "--peers-advertise"}},
		{"an address of nothing", nil, "controller --plain-loopback --peers-advertise host:3235", []string{"--peers-advertise", "--peers"}},
		{"short secret", nil, "scheduler --plain-loopback --http-secret x", []string{"--http-secret", "at least 16"}},
		{"log store's URL", nil, "agent --plain-loopback --logs postgres://me@h:port/logs", []string{"--logs", "postgres://USER@HOST", "port"}},
		{"log store's URL by the environment", map[string]string{"WHIRL_LOGS": "postgres://h/logs?sslmode=yes"}, "controller --plain-loopback", []string{"--logs", "sslmode"}},
		{"admin directory", nil, "admin user list --data /does/not/exist", []string{"/does/not/exist"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			status, _, stderr := run(t, row.environment, strings.Fields(row.args)...)
			if status != statusUsage {
				t.Errorf("exit status %d, want %d; stderr: %s", status, statusUsage, stderr)
			}
			for _, want := range row.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("the message lacks %q: %s", want, stderr)
				}
			}
		})
	}
}

// TestAMistakenURLKeepsItsPassword has one that cannot be understood.
func TestAMistakenURLKeepsItsPassword(t *testing.T) {
	for _, role := range []string{"agent --plain-loopback", "controller --plain-loopback", "standalone"} {
		environment := map[string]string{"WHIRL_LOGS": "postgres://me:hunter2%zz@h/logs"}
		status, stdout, stderr := run(t, environment, strings.Fields(role)...)
		if said := stdout + stderr; status != statusUsage || strings.Contains(said, "hunter2") || !strings.Contains(said, "--logs") {
			t.Errorf("%s: exit status %d, %s", role, status, said)
		}
	}
}

// TestPrecedence gives an impossible value at one place and a possible one at
// the place that beats it: which of them is complained about tells who won.
func TestPrecedence(t *testing.T) {
	file := func(text string) string {
		name := filepath.Join(t.TempDir(), "whirl.yaml")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	environment := map[string]string{"WHIRL_DRIVER": "environment"}
	for _, row := range []struct {
		name        string
		environment map[string]string
		args        []string
		want        string
	}{
		{"file beats default", nil, []string{"--config", file("driver: file")}, `"file"`},
		{"environment beats file", environment, []string{"--config", file("driver: file")}, `"environment"`},
		{"flag beats environment", environment, []string{"--driver", "flag", "--config", file("driver: file")}, `"flag"`},
		{"the file by environment", map[string]string{"WHIRL_CONFIG": file("driver: file")}, nil, `"file"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			status, _, stderr := run(t, row.environment, append([]string{"standalone"}, row.args...)...)
			if status != statusUsage || !strings.Contains(stderr, "--driver "+row.want) {
				t.Errorf("exit status %d, %s; want a complaint about %s", status, stderr, row.want)
			}
		})
	}
}

func TestHelpAndVersion(t *testing.T) {
	for _, row := range []struct {
		args string
		want []string
	}{
		{"", []string{"standalone", "WHIRL_SANDBOX_NETWORK"}},
		{"help", []string{"standalone"}},
		{"standalone --help", []string{"--listen HOST:PORT", "127.0.0.1:3233", "--sandbox-network", "SIGTERM"}},
		{"bench --help", []string{"--direct"}},
		{"bench growth --help", []string{"--passes", "controllers", "records stored"}},
		{"bench scheduler --help", []string{"--creations", "--in-memory"}},
		{"admin user create --help", []string{"--namespace", "--revoke"}},
		{"scheduler --help", []string{"--http HOST:PORT", "127.0.0.1:3241", "--http-secret", "--pprof"}},
		{"admin status --help", []string{"--scheduler-http HOST:PORT", "--json", "--secret"}},
		{"admin agent drain --help", []string{"does not wait", "undrain"}},
		{"version", []string{"whirl " + version}},
	} {
		status, stdout, stderr := run(t, nil, strings.Fields(row.args)...)
		if status != statusOK || stderr != "" {
			t.Errorf("whirl %s: exit status %d, stderr %q", row.args, status, stderr)
		}
		for _, want := range row.want {
			if !strings.Contains(stdout, want) {
				t.Errorf("whirl %s lacks %q:\n%s", row.args, want, stdout)
			}
		}
	}
}
