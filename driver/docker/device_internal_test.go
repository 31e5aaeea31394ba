// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"bufio"
	"encoding/json"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
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

// TestANewBridge has the bridge of a connected container go, and another one come in its place:
// the container's device leads there, isolated, and it does not send to the old one any more.
func TestANewBridge(t *testing.T) {
	needRoot(t)
	runtime.LockOSThread() // for ever: the thread ends with the test
	inside := newNamespace(t)
	newNamespace(t)
	v := &devices{bridge: "bridge", subnet: netip.MustParsePrefix("192.0.2.0/24"), router: netip.MustParseAddr("192.0.2.1")}
	ip := netip.MustParseAddr("192.0.2.77")
	if !v.bridgeMissing() || connectAll(v.bridge, nil) == nil {
		t.Error("there seems to be a bridge")
	}
	old := makeBridge(t, v, 1)
	if err := v.plugInto(inside, ip); err != nil {
		t.Fatal(err)
	}
	there, err := netlink.NewHandleAt(inside)
	if err != nil {
		t.Fatal(err)
	}
	defer there.Close()
	eth0, err := there.LinkByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	known := &netlink.Neigh{LinkIndex: eth0.Attrs().Index, IP: v.router.AsSlice(), HardwareAddr: old.Attrs().HardwareAddr, State: netlink.NUD_REACHABLE}
	if err := there.NeighSet(known); err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkDel(old); err != nil || !v.bridgeMissing() {
		t.Fatalf("LinkDel = %v", err)
	}

	bridge := makeBridge(t, v, 2)
	for range 2 { // the second time there is nothing to do
		if err := connectAll(v.bridge, []netip.Addr{ip, ip.Next()}); err != nil { // the latter has no device
			t.Fatal(err)
		}
	}
	device, err := netlink.LinkByName(deviceOf(ip))
	if err != nil || device.Attrs().MasterIndex != bridge.Attrs().Index || device.Attrs().Flags&net.FlagUp == 0 {
		t.Errorf("the device is %+v, %v", device, err)
	}
	if port, err := netlink.LinkGetProtinfo(device); err != nil || !port.Isolated {
		t.Errorf("the device is not isolated, %v", err)
	}
	// It has learned the new one's address, or it will ask for it.
	stale := func(n netlink.Neigh) bool { return n.HardwareAddr.String() == old.Attrs().HardwareAddr.String() }
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		neighbours, err := there.NeighList(eth0.Attrs().Index, netlink.FAMILY_V4)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(neighbours, stale) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the container still knows %v, not %v", neighbours, bridge.Attrs().HardwareAddr)
		}
	}
}

// newNamespace has this thread in a network namespace of its own.
func newNamespace(t *testing.T) netns.NsHandle {
	t.Helper()
	made, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { made.Close() })
	return made
}

// makeBridge does what the engine does, which gives each bridge an address of its own.
func makeBridge(t *testing.T, v *devices, last byte) netlink.Link {
	t.Helper()
	attrs := netlink.LinkAttrs{Name: v.bridge, HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, last}}
	if err := netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}); err != nil {
		t.Fatal(err)
	}
	bridge, err := netlink.LinkByName(v.bridge)
	if err != nil {
		t.Fatal(err)
	}
	address := &net.IPNet{IP: v.router.AsSlice(), Mask: net.CIDRMask(v.subnet.Bits(), 32)}
	if err := netlink.AddrAdd(bridge, &netlink.Addr{IPNet: address}); err != nil {
		t.Fatal(err)
	}
	if err := netlink.LinkSetUp(bridge); err != nil {
		t.Fatal(err)
	}
	return bridge
}
