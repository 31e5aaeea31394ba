// SPDX-License-Identifier: Apache-2.0

//go:build docker

package docker_test

import (
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"
	"golang.org/x/sys/unix"

	"github.com/whirl-faas/whirl/driver/docker"
	"github.com/whirl-faas/whirl/runtimes/runtimetest"
	"github.com/whirl-faas/whirl/whisk"
)

// probe is an action that looks around in its container.
const probe = `const fs = require('fs'), net = require('net'), http = require('http');
const actions = {
  dial: ({host, port}) => new Promise((done) => {
    const socket = net.connect({host, port});
    const end = (result) => { socket.destroy(); done({result}) };
    socket.setTimeout(1500, () => end('silence')).on('connect', () => end('connected')).on('error', (e) => end(e.code));
  }),
  get: ({url}) => new Promise((done) => http.get(url, (r) => {
    let result = '';
    r.on('data', (d) => result += d).on('end', () => done({result}));
  }).on('error', (e) => done({result: e.code}))),
  read: ({path}) => ({result: fs.readFileSync(path, 'utf8')}),
  write: ({path}) => { try { fs.writeFileSync(path, 'x'); return {result: 'written'} } catch (e) { return {result: e.code} } },
  env: ({name}) => ({result: process.env[name] || ''}),
};
function main(args) { return actions[args.do](args) }`

type values map[string]any

func (b *box) probe(t *testing.T, what string, args values) string {
	t.Helper()
	args["do"] = what
	reply := b.Run(t, args, nil)
	var answer struct{ Result string }
	if reply.Status != 200 || json.Unmarshal(reply.Body, &answer) != nil {
		t.Fatalf("%s answered %d %s (%v)", what, reply.Status, reply.Body, reply.Err)
	}
	return answer.Result
}

func (b *box) dial(t *testing.T, address string) string {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return b.probe(t, "dial", values{"host": host, "port": port})
}

func newProbe(t *testing.T, driver whisk.Driver) *box {
	b := newBox(t, driver, whisk.CreateSandbox{Spec: nodejsSpec, Env: map[string]string{"COLOUR": "light blue"}})
	b.MustInit(t, runtimetest.Code{Code: probe}, nil)
	return b
}

// world is the network outside of this machine, as far as the test needs one: a
// namespace behind a device of its own.
type world struct{ name string }

func newWorld(t *testing.T) world {
	t.Helper()
	if os.Getenv("WHIRL_PRIVATE_NETWORK") == "" {
		t.Fatal("this test changes the network: run it by scripts/docker-engine run")
	}
	w := world{"world"}
	for _, line := range []string{
		"mkdir -p /run/netns", // in our own mount namespace
		"ip netns add world",
		"ip link add uplink type veth peer name outside netns world",
		"ip addr add 203.0.113.1/24 dev uplink",
		"ip link set uplink up",
		"ip route add 169.254.169.254 via 203.0.113.2",
		"ip route add 168.63.129.16 via 203.0.113.2",
		"ip -n world addr add 203.0.113.2/24 dev outside",
		"ip -n world addr add 169.254.169.254/32 dev outside",
		"ip -n world addr add 168.63.129.16/32 dev outside",
		"ip -n world link set outside up",
		"ip -n world route add default via 203.0.113.1",
	} {
		words := strings.Fields(line)
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", line, err, out)
		}
	}
	t.Cleanup(func() {
		// The link first: with its namespace it ends some time later.
		for _, what := range [][]string{{"link", "del", "uplink"}, {"netns", "del", "world"}} {
			if out, err := exec.Command("ip", what...).CombinedOutput(); err != nil {
				t.Errorf("remove the world: %v: %s", err, out)
			}
		}
	})
	return w
}

// do calls a function out there.
func (w world) do(t *testing.T, what func() error) error {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with this goroutine
		namespace, err := os.Open("/run/netns/" + w.name)
		if err == nil {
			err = unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET)
		}
		if err == nil {
			err = what()
		}
		done <- err
	}()
	return <-done
}

func (w world) serve(t *testing.T, address string) {
	t.Helper()
	var listener net.Listener
	err := w.do(t, func() (err error) {
		listener, err = net.Listen("tcp", address)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
}

// TestNetwork holds what a container reaches and what reaches it.
func TestNetwork(t *testing.T) {
	t.Parallel()
	world := newWorld(t)
	world.serve(t, "203.0.113.2:80")
	world.serve(t, "169.254.169.254:80")
	world.serve(t, "168.63.129.16:80")
	here, err := net.Listen("tcp", "0.0.0.0:0") // a service of this machine, such as an agent's port
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	_, port, _ := net.SplitHostPort(here.Addr().String())

	config := testConfig(t)
	driver := openDriver(t, config)
	one, other := newProbe(t, driver), newProbe(t, driver)
	gateway := gatewayOf(t, config)
	for _, tt := range []struct{ what, address, want string }{
		{"the world", "203.0.113.2:80", "connected"},
		{"a metadata service", "169.254.169.254:80", "silence"},
		{"one at an address that is not link-local", "168.63.129.16:80", "silence"},
		{"this machine by the bridge", net.JoinHostPort(gateway, port), "silence"},
		{"this machine by another address", net.JoinHostPort("203.0.113.1", port), "silence"},
		{"another container", other.Address().Address, "silence"},
	} {
		if got := one.dial(t, tt.address); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.what, got, tt.want)
		}
	}
	err = world.do(t, func() error {
		conn, err := net.DialTimeout("tcp", one.Address().Address, 1500*time.Millisecond)
		if err == nil {
			conn.Close()
		}
		return err
	})
	if err == nil {
		t.Error("the world reaches a container")
	}

	config = testConfig(t)
	config.Network = docker.None
	if got := newProbe(t, openDriver(t, config)).dial(t, "203.0.113.2:80"); got == "connected" {
		t.Error("the network none reaches the world")
	}
	config = testConfig(t)
	config.Denied = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	if got := newProbe(t, openDriver(t, config)).dial(t, "203.0.113.2:80"); got != "silence" {
		t.Errorf("a denied network: %s, want silence", got)
	}
}

// gatewayOf is this machine's address on the bridge.
func gatewayOf(t *testing.T, config docker.Config) string {
	t.Helper()
	found, err := newEngine(t).NetworkInspect(t.Context(), "whirl_"+config.Instance+"_outbound", client.NetworkInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return found.Network.IPAM.Config[0].Gateway.String()
}

// TestCage reads the bounds of a container from inside.
func TestCage(t *testing.T) {
	t.Parallel()
	config := testConfig(t)
	config.CPUs = 1.5
	config.Options = []byte(`{"Dns": ["203.0.113.53"], "Sysctls": {"net.core.somaxconn": "77"}}`)
	driver := openDriver(t, config)
	b := newProbe(t, driver)
	status := b.probe(t, "read", values{"path": "/proc/self/status"})
	for _, want := range []string{
		"CapInh:\t0000000000000000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000",
		"NoNewPrivs:\t1", "Seccomp:\t2",
	} {
		if !strings.Contains(status, want+"\n") {
			t.Errorf("its status lacks %q:\n%s", want, status)
		}
	}
	limits := strings.Join(strings.Fields(b.probe(t, "read", values{"path": "/proc/self/limits"})), " ")
	for _, want := range []string{"Max open files 4096 4096", "Max core file size 0 0"} {
		if !strings.Contains(limits, want) {
			t.Errorf("its limits lack %q: %s", want, limits)
		}
	}
	for path, want := range map[string]string{"/etc/x": "EROFS", "/whirl/proxy.js": "EROFS", "/tmp/x": "written"} {
		if got := b.probe(t, "write", values{"path": path}); got != want {
			t.Errorf("writing %s: %s, want %s", path, got, want)
		}
	}
	if got := b.probe(t, "env", values{"name": "COLOUR"}); got != "light blue" {
		t.Errorf("its environment has %q", got)
	}
	if got := strings.TrimSpace(b.probe(t, "read", values{"path": "/proc/sys/net/core/somaxconn"})); got != "77" {
		t.Errorf("the operator's sysctl is %s", got)
	}
	found := inspect(t, config, b)
	pids, host := found.HostConfig.PidsLimit, found.HostConfig
	if host.Memory != int64(nodejsSpec.Memory) || host.MemorySwap != host.Memory || host.NanoCPUs != 1.5e9 || pids == nil || *pids != 1024 || host.CPUShares != 1024 {
		t.Errorf("its limits are %+v", host.Resources)
	}
	if check := found.Config.Healthcheck; check == nil || !slices.Equal(check.Test, []string{"NONE"}) {
		t.Errorf("an image's health check would run: %+v", check)
	}
	if found.Config.Labels["whirl.kind"] != nodejsSpec.Kind || found.Config.Labels["whirl.container"] != string(b.ID()) {
		t.Errorf("its labels are %v", found.Config.Labels)
	}
}

func TestCapabilitiesTellWhatWasMeasured(t *testing.T) {
	t.Parallel()
	config := testConfig(t)
	config.Trial = true
	driver := openDriver(t, config)
	caps := driver.Capabilities()
	text := strings.Join(caps.Isolation, "\n")
	t.Log(text, "\nweak: ", strings.Join(caps.Weak, "\n"))
	if caps.Name != "docker" || !caps.Suspend || !caps.Recovers || !caps.Images || !strings.Contains(text, "suspend and resume took: ") || !strings.Contains(text, "runtime ") || !strings.Contains(text, "engine ") {
		t.Errorf("Capabilities = %+v", caps)
	}
	wantContainers(t, newEngine(t), config.Instance, 0)
}
