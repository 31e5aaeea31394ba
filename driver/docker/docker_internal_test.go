// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/whirl-faas/whirl/whisk"
)

func TestAddressesRest(t *testing.T) {
	a := newAddresses(netip.MustParsePrefix("10.0.0.9/29"), netip.MustParseAddr("10.0.0.9")) // .8 to .15
	var all []string
	for range 5 {
		all = append(all, a.take().String())
	}
	if got, want := strings.Join(all, " "), "10.0.0.10 10.0.0.11 10.0.0.12 10.0.0.13 10.0.0.14"; got != want {
		t.Fatalf("took %s, want %s", got, want)
	}
	if got := a.take(); got.IsValid() {
		t.Errorf("took %s of a full subnet", got)
	}
	for _, back := range []string{"10.0.0.13", "10.0.0.11"} {
		a.giveBack(netip.MustParseAddr(back))
	}
	if got := a.take().String(); got != "10.0.0.11" {
		t.Errorf("took %s, want the one that comes next", got)
	}
	a.giveBack(netip.MustParseAddr("10.0.0.11"))
	if got := a.take().String(); got != "10.0.0.13" {
		t.Errorf("took %s, want the one that rested longest", got)
	}
	a.hold(netip.MustParseAddr("10.0.0.11"))
	if got := a.take(); got.IsValid() {
		t.Errorf("took %s, which somebody holds", got)
	}
}

func TestPositionGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, err := openStateDir(filepath.Join(t.TempDir(), "s"))
		if err != nil {
			t.Fatal(err)
		}
		defer dir.close()
		p, err := dir.openPosition("a", false)
		if err != nil {
			t.Fatal(err)
		}
		p.advance([2][]byte{[]byte("one\n"), []byte("uno\n")})
		if since, skip := p.resume(); !since.IsZero() || skip != [2]uint64{4, 4} {
			t.Errorf("resume = %v, %v: without a pause all of the journal counts", since, skip)
		}
		before := time.Now()
		time.Sleep(10 * time.Second)
		p.advance([2][]byte{[]byte("two\n"), nil})
		p.close()

		again, err := dir.openPosition("a", true)
		if err != nil {
			t.Fatal(err)
		}
		defer again.close()
		since, skip := again.resume()
		if skip != [2]uint64{4, 0} || !since.After(before.Add(time.Second)) || !since.Before(time.Now().Add(-time.Second)) {
			t.Errorf("resume = %v, %v: after a pause only what came later counts", since, skip)
		}
		for range 17 {
			again.advance([2][]byte{make([]byte, 1<<20), nil})
		}
		if since, skip := again.resume(); skip != [2]uint64{} || !since.Equal(time.Now()) {
			t.Errorf("resume = %v, %v: a journal that may be cut is read by time", since, skip)
		}
		dir.retainPositions(map[whisk.ContainerID]bool{"b": true})
		fresh, err := dir.openPosition("a", true)
		if err != nil {
			t.Fatal(err)
		}
		defer fresh.close()
		if since, skip := fresh.resume(); !since.IsZero() || skip != [2]uint64{} {
			t.Errorf("resume = %v, %v of a sandbox that nobody knows", since, skip)
		}
	})
}

func TestNamesAreTheEngines(t *testing.T) {
	if got := containerName("x", "wsk_1_guest_hello", "guest_hello"); got != "whirl_x_wsk_1_guest_hello" {
		t.Errorf("a label that the id has is said twice: %s", got)
	}
	for label, want := range map[string]string{
		"":                        "whirl_x_id",
		"guest/hello world":       "whirl_x_id_guest-hello-world",
		"prewarm nodejs:20":       "whirl_x_id_prewarm-nodejs-20",
		"ünï\x00":                 "whirl_x_id_-n--",
		strings.Repeat("a", 1000): "whirl_x_id_" + strings.Repeat("a", 60),
	} {
		if got := containerName("x", "id", label); got != want || !engineName(got) {
			t.Errorf("containerName(%q) = %q, want %q", label, got, want)
		}
	}
}

func FuzzContainerName(f *testing.F) {
	f.Add("guest/hello world")
	f.Fuzz(func(t *testing.T, label string) {
		if name := containerName("x", "id", label); !engineName(name) {
			t.Errorf("the engine does not take %q", name)
		}
	})
}

func TestConfigIsChecked(t *testing.T) {
	for want, change := range map[string]func(*Config){
		"":               func(*Config) {},
		"instance":       func(c *Config) { c.Instance = "-a" },
		"processes":      func(c *Config) { c.PIDs = 0 },
		"open files":     func(c *Config) { c.OpenFiles = 1 },
		"-1 CPUs":        func(c *Config) { c.CPUs = -1 },
		"0.001 CPUs":     func(c *Config) { c.CPUs = 0.001 },
		"NaN CPUs":       func(c *Config) { c.CPUs = math.NaN() },
		"+Inf CPUs":      func(c *Config) { c.CPUs = math.Inf(1) },
		"pull policy":    func(c *Config) { c.Pull = "often" },
		"network":        func(c *Config) { c.Network = "host" },
		"read-only root": func(c *Config) { c.ReadOnly = "" },
		"freezer":        func(c *Config) { c.Freezer = "fridge" },
		"API":            func(c *Config) { c.API = "here" },
		"unknown field":  func(c *Config) { c.Options = []byte(`{"Memroy": 1}`) },
		"HostConfig":     func(c *Config) { c.Options = []byte(`[]`) },
		"AutoRemove is":  func(c *Config) { c.Options = []byte(`{"AutoRemove": true}`) },
		"NetworkMode is": func(c *Config) { c.Options = []byte(`{"NetworkMode": "host"}`) },
		"grace":          func(c *Config) { c.Grace = 0 },
	} {
		config := Default()
		change(&config)
		err := config.Validate()
		if want == "" {
			if err != nil {
				t.Errorf("the default: %v", err)
			}
			continue
		}
		if whisk.KindOf(err) != whisk.Invalid || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("Validate = %v, want %q in it", err, want)
		}
	}
}

func TestOptionsReplaceOurs(t *testing.T) {
	config := Default()
	config.Options = []byte(`{"CapAdd": ["NET_BIND_SERVICE"], "PidsLimit": 7, "Dns": ["10.0.0.1"]}`)
	d := &Driver{config: config}
	host, err := d.hostConfig(whisk.ContainerSpec{Memory: 512 * whisk.MB}, picture{readOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	if *host.PidsLimit != 7 || host.CapAdd[0] != "NET_BIND_SERVICE" || host.CapDrop[0] != "ALL" || host.DNS[0].String() != "10.0.0.1" {
		t.Errorf("the options came to %+v", host)
	}
	if host.CPUShares != 2048 || host.Tmpfs["/tmp"] == "" || host.SecurityOpt[0] != "no-new-privileges" {
		t.Errorf("what the driver sets is lost: %+v", host)
	}
}

func TestCredentials(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"auths": {"https://index.docker.io/v1/": {"auth": "YTpiOmM="}, "ghcr.io": {"username": "u", "password": "p"}, "r.example:5000": {"identitytoken": "t"}}, "credsStore": "x"}`)
	got, err := ReadCredentials(path)
	if err != nil || got["docker.io"] != (Credentials{Username: "a", Password: "b:c"}) || got["ghcr.io"].Password != "p" || got["r.example:5000"].IdentityToken != "t" {
		t.Errorf("ReadCredentials = %v, %v", got, err)
	}
	for _, bad := range []string{`{`, `{"auths": {"a": {"auth": "!"}}}`, `{"auths": {"a": {"auth": "YQ=="}}}`} {
		write(bad)
		if _, err := ReadCredentials(path); whisk.KindOf(err) != whisk.Invalid {
			t.Errorf("ReadCredentials of %s = %v", bad, err)
		}
	}
}

// TestFaultsAreBlamedRight has the texts of engines and registries.
func TestFaultsAreBlamedRight(t *testing.T) {
	for text, user := range map[string]bool{
		"manifest for a/b:c not found: manifest unknown: manifest unknown":                              true,
		"pull access denied for a/b, repository does not exist or may require 'docker login'":           true,
		"no matching manifest for linux/amd64 in the manifest list entries":                             true,
		"Get \"https://registry-1.docker.io/v2/\": dial tcp: lookup registry-1.docker.io: no such host": false,
		"toomanyrequests: You have reached your pull rate limit.":                                       false,
		"failed to register layer: write /usr/lib/x: no space left on device":                           false,
		"received unexpected HTTP status: 500 Internal Server Error":                                    false,
		"Get \"https://r.example/v2/\": net/http: request canceled while waiting for connection":        false,
	} {
		_, blamed := errors.AsType[*whisk.CreateError](pullFault("image", errors.New(text)))
		if blamed != user {
			t.Errorf("pull: %q blames the user: %t", text, blamed)
		}
	}
	const oci = "OCI runtime create failed: runc create failed: unable to start container process: "
	for text, user := range map[string]bool{
		oci + `exec: "foo": executable file not found in $PATH: unknown`:    true,
		oci + `exec: "/foo": stat /foo: no such file or directory: unknown`: true,
		oci + `exec: "/foo": permission denied: unknown`:                    true,
		oci + `exec /foo: exec format error: unknown`:                       true,
		"unable to find user ghost: no matching entries in passwd file":     true,
		"No command specified": true,
		oci + "error during container init: error mounting: permission denied: unknown": false,
		"mkdir /var/lib/docker/overlay2/x: no space left on device":                     false,
		"unknown or invalid runtime name: runsc":                                        false,
		"Address already in use":                                                        false,
	} {
		_, blamed := errors.AsType[*whisk.CreateError](createFault("image", errors.New(text)))
		if blamed != user {
			t.Errorf("start: %q blames the user: %t", text, blamed)
		}
	}
	if _, blamed := errors.AsType[*whisk.CreateError](createFault("image", fmt.Errorf("executable file not found: %w", context.Canceled))); blamed {
		t.Error("who gave up is blamed")
	}
}

func TestTheFastestFreezerIsTaken(t *testing.T) {
	ms := func(n time.Duration) time.Duration { return n * time.Millisecond }
	for _, tt := range []struct {
		took map[Freezer]time.Duration
		want Freezer
	}{
		{nil, FreezeAuto},
		{map[Freezer]time.Duration{FreezeUnified: ms(2), FreezeLegacy: ms(1), FreezeEngine: ms(50)}, FreezeUnified},
		{map[Freezer]time.Duration{FreezeUnified: ms(20), FreezeLegacy: ms(1), FreezeEngine: ms(50)}, FreezeLegacy},
		{map[Freezer]time.Duration{FreezeLegacy: ms(1), FreezeEngine: ms(50)}, FreezeLegacy},
		{map[Freezer]time.Duration{FreezeRuntime: ms(30), FreezeEngine: ms(50)}, FreezeRuntime},
		{map[Freezer]time.Duration{FreezeEngine: ms(50)}, FreezeEngine},
	} {
		if got := (findings{Took: tt.took}).fastest(); got != tt.want {
			t.Errorf("of %v it takes %s, want %s", tt.took, got, tt.want)
		}
	}
}

// TestUnsent: what never reached the engine leaves things as they were.
func TestUnsent(t *testing.T) {
	engine, err := client.New(client.WithHost("unix://" + t.TempDir() + "/no.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	_, err = engine.ContainerUnpause(t.Context(), "x", client.ContainerUnpauseOptions{})
	if !isUnsent(err) || !isSettled(err) {
		t.Errorf("without an engine: %v is not taken for unsent", err)
	}
	for _, err := range []error{context.DeadlineExceeded, io.EOF, &net.OpError{Op: "read"}, errors.New("x")} {
		if isSettled(err) {
			t.Errorf("%v is taken for settled", err)
		}
	}
}

func TestStatusesAndSignals(t *testing.T) {
	for status, want := range map[int]int{0: 0, 3: 3, 128: 128, 137: -9, 143: -15, 255: 255} {
		if got := exitCode(status); got != want {
			t.Errorf("exitCode(%d) = %d, want %d", status, got, want)
		}
	}
	if isOver(nil) || isOver(&container.State{Status: container.StateCreated}) || !isOver(&container.State{Status: container.StateExited}) {
		t.Error("isOver errs")
	}
}
