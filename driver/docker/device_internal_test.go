// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"bufio"
	"encoding/json"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

func TestOutsideServers(t *testing.T) {
	for _, tt := range []struct {
		text, want string
		found      bool
	}{
		{"nameserver 10.0.0.53\nsearch example.org\n", "nameserver 10.0.0.53\nsearch example.org\n", true},
		{"nameserver 127.0.0.53\noptions edns0", "options edns0\n", false},
		{"nameserver 127.0.0.1\nnameserver 10.0.0.53\n", "nameserver 10.0.0.53\n", true},
		{"nameserver fd00::53\nnameserver fe80::1%eth0\n", "", false},
		{"# nameserver 10.0.0.53\n", "# nameserver 10.0.0.53\n", false},
		{"", "", false},
	} {
		if got, found := outsideServers(tt.text); got != tt.want || found != tt.found {
			t.Errorf("outsideServers(%q) = %q, %v, want %q, %v", tt.text, got, found, tt.want, tt.found)
		}
	}
}

func TestOptionsThatNeedTheEnginesNetwork(t *testing.T) {
	for options, want := range map[string]bool{
		``:                                false,
		`{"CapAdd": ["CHOWN"]}`:           false,
		`{"Runtime": "runsc"}`:            true,
		`{"Dns": ["10.0.0.53"]}`:          true,
		`{"ExtraHosts": ["db:10.0.0.7"]}`: true,
		`{"Binds": ["/srv:/srv"]}`:        true,
		`{"Sysctls": {"net.core.somaxconn": "64"}}`: true,
	} {
		config := Default()
		config.Options = json.RawMessage(options)
		if got := config.choosesNetwork(); got != want {
			t.Errorf("choosesNetwork with %s = %v, want %v", options, got, want)
		}
	}
}

func TestNamespacesAreCompared(t *testing.T) {
	for _, kind := range []string{"pid", "net"} {
		if err := sharesNamespace(os.Getpid(), kind); err != nil {
			t.Errorf("this process and itself: %v", err)
		}
	}
	if err := nearby("tcp://127.0.0.1:2375", t.TempDir()); err == nil {
		t.Error("an engine by TCP is nearby")
	}
}

// TestDirectoriesAreCompared has processes in mount namespaces of their own: with the same
// files, as those of a protected unit, and with another directory in the place of ours.
func TestDirectoriesAreCompared(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	if err := sharesDirectory(os.Getpid(), dir); err != nil {
		t.Errorf("this process and itself: %v", err)
	}
	for script, same := range map[string]bool{"true": true, `mount -t tmpfs tmpfs "$0"`: false} {
		other := exec.Command("unshare", "--mount", "sh", "-c", script+" && echo ready && read line", dir)
		stdin, err := other.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		stdout, err := other.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := other.Start(); err != nil {
			t.Fatal(err)
		}
		if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "ready\n" {
			t.Errorf("%s: %q, %v", script, line, err)
		}
		if sharesNamespace(other.Process.Pid, "mnt") == nil {
			t.Errorf("%s: it has no mount namespace of its own", script)
		}
		if err := sharesDirectory(other.Process.Pid, dir); (err == nil) != same {
			t.Errorf("%s: %v", script, err)
		}
		stdin.Close()
		_ = other.Wait() // it ends with an error, as nobody wrote a line
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("namespaces need root")
	}
	t.Skip("namespaces need root")
}

func TestAddressInLabels(t *testing.T) {
	if ip, err := addressIn(nil); ip.IsValid() || err != nil {
		t.Errorf("the engine's container: %v, %v", ip, err)
	}
	for _, text := range []string{"nonsense", "fd00::1", "192.0.2.77"} { // the last has no device
		if ip, err := addressIn(map[string]string{labelAddress: text}); err == nil {
			t.Errorf("%q = %v, want an error", text, ip)
		}
	}
	if got := deviceOf(netip.MustParseAddr("255.255.255.255")); len(got) > 15 {
		t.Errorf("%s is too long for a device", got)
	}
}

// TestADeviceThatTheKernelTookAway drops one that has gone since it was looked up, as it may
// when the last holder of an address has just ended.
func TestADeviceThatTheKernelTookAway(t *testing.T) {
	needRoot(t)
	runtime.LockOSThread() // for ever: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: deviceOf(netip.MustParseAddr("192.0.2.77"))}, PeerName: "peer"}
	if err := netlink.LinkAdd(pair); err != nil {
		t.Fatal(err)
	}
	link, err := netlink.LinkByName(pair.Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := drop(link); err != nil {
		t.Errorf("drop of what is there = %v", err)
	}
	if err := drop(link); err != nil {
		t.Errorf("drop of what has gone = %v", err)
	}
}
