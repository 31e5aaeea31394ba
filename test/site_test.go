// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package test

import (
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-systemd/v22/unit"

	"github.com/whirl-faas/whirl/client"
)

// deploy is the folder of units and settings that this suite starts clusters from.
const deploy = "../deploy"

// site is the hosts that deploy/README.md walks through, played by this machine.
// What the settings name is mapped: a file is one below the site's directory, and
// each address stands for a free one of the loopback device. All hosts share
// /var/lib, as roles on one host do; each has an /etc of its own.
type site struct {
	t         *testing.T
	root      string
	addresses map[string]string
}

// exampleAddress is HOST:PORT of the example.
var exampleAddress = regexp.MustCompile(`\b(10\.0\.0\.\d+|127\.0\.0\.1):\d+\b`)

func newSite(t *testing.T) *site {
	return &site{t: t, root: t.TempDir(), addresses: map[string]string{}}
}

// address returns what an address of the example stands for.
func (s *site) address(example string) string {
	s.t.Helper()
	if s.addresses[example] == "" {
		s.addresses[example] = freeAddress(s.t)
	}
	return s.addresses[example]
}

// data is the data directory of all roles.
func (s *site) data() string { return filepath.Join(s.root, "var/lib/whirl") }

// etc is where a host of the example has a file of /etc/whirl.
func (s *site) etc(host, name string) string { return filepath.Join(s.root, host, "etc/whirl", name) }

// give installs a role's certificate on a host, under the names that the
// settings have for it.
func (s *site) give(host, role, certs, pair string) {
	s.t.Helper()
	if err := os.MkdirAll(s.etc(host, ""), 0o755); err != nil {
		s.t.Fatal(err)
	}
	for from, to := range map[string]string{"ca.crt": "ca.crt", pair + ".crt": role + ".crt", pair + ".key": role + ".key"} {
		content, err := os.ReadFile(filepath.Join(certs, from))
		if err != nil {
			s.t.Fatal(err)
		}
		if err := os.WriteFile(s.etc(host, to), content, 0o600); err != nil {
			s.t.Fatal(err)
		}
	}
}

// start runs a role as its unit on a host does, with flags that beat the settings.
// Those are the example's, with the host's address in place of the one they are for.
func (s *site) start(role, host string, flags ...string) *platform {
	s.t.Helper()
	service := readUnit(s.t, role)
	words := strings.Fields(service["ExecStart"])
	if words[0] != "/usr/local/bin/whirl" {
		s.t.Fatalf("the unit of the %s starts %q", role, words)
	}
	settings := readSettings(s.t, filepath.Base(service["EnvironmentFile"]))
	example, _, err := net.SplitHostPort(settings["WHIRL_LISTEN"])
	if err != nil {
		s.t.Fatalf("the %s listens on no address: %v", role, err)
	}
	command := exec.Command(whirlBinary, append(words[1:], flags...)...)
	command.Env = os.Environ()
	for _, variable := range slices.Sorted(maps.Keys(settings)) {
		value := strings.ReplaceAll(settings[variable], example, host)
		command.Env = append(command.Env, variable+"="+s.local(host, value))
	}
	return launchBy(s.t, s.data(), command)
}

// local returns what a setting's value is on this machine.
func (s *site) local(host, value string) string {
	s.t.Helper()
	switch {
	case value == "UUID:KEY": // which an operator replaces by a key
		return guestKey
	case strings.HasPrefix(value, "/etc/whirl/"):
		return s.etc(host, strings.TrimPrefix(value, "/etc/whirl/"))
	case strings.HasPrefix(value, "/"):
		return filepath.Join(s.root, value)
	}
	return exampleAddress.ReplaceAllStringFunc(value, s.address)
}

// readUnit returns the options of a role's unit that tests look at.
func readUnit(t *testing.T, role string) map[string]string {
	t.Helper()
	file, err := os.Open(filepath.Join(deploy, "whirl-"+role+".service"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	options, err := unit.DeserializeOptions(file)
	if err != nil {
		t.Fatalf("%s: %v", file.Name(), err)
	}
	service := map[string]string{}
	for _, option := range options {
		if option.Section == "Service" {
			service[option.Name] = option.Value
		}
	}
	for _, name := range []string{"ExecStart", "EnvironmentFile"} {
		if service[name] == "" {
			t.Fatalf("%s has no %s", file.Name(), name)
		}
	}
	return service
}

// readSettings reads an environment file. It takes plain NAME=value lines alone,
// so that nobody needs to know how systemd reads quotes.
func readSettings(t *testing.T, name string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deploy, name))
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		variable, value, ok := strings.Cut(line, "=")
		if !ok || settings[variable] != "" || !strings.HasPrefix(variable, "WHIRL_") || strings.ContainsAny(value, `"'\ `) {
			t.Fatalf("%s: %q is no plain setting of its own", name, line)
		}
		settings[variable] = value
	}
	return settings
}

// TestDeployedStandalone runs an action on the standalone platform's unit.
func TestDeployedStandalone(t *testing.T) {
	s := newSite(t)
	p := s.start("standalone", "127.0.0.1", "--memory", "512m", "--sandbox-network", "host")
	p.connect(t, s.address("127.0.0.1:3233"))
	native().deploy(t, p, "there", "echo", client.LimitsSpec{Memory: 128})
	if record, err := p.Invoke(t.Context(), "there", nil, time.Minute); err != nil || !record.Response.Success {
		t.Errorf("got %+v, %v", record, err)
	}
}

// TestUnits has systemd itself read the units.
func TestUnits(t *testing.T) {
	need(t, "systemd-analyze")
	units, err := filepath.Glob(filepath.Join(deploy, "*.service"))
	if err != nil || len(units) == 0 {
		t.Fatalf("there are no units: %v", err)
	}
	args := []string{"verify", "--man=no"}
	dir := t.TempDir()
	for _, name := range units {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		here := strings.ReplaceAll(string(text), "/usr/local/bin/whirl", whirlBinary) // what it starts must exist
		copied := filepath.Join(dir, filepath.Base(name))
		if err := os.WriteFile(copied, []byte(here), 0o644); err != nil {
			t.Fatal(err)
		}
		args = append(args, copied)
	}
	// What it does not know it says, but does not fail for.
	if said, err := exec.Command("systemd-analyze", args...).CombinedOutput(); err != nil || len(said) > 0 {
		t.Errorf("systemd-analyze: %v\n%s", err, said)
	}
}
