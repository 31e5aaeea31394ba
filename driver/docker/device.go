// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/mount"
	"github.com/moby/moby/api/types/system"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/whirl-faas/whirl/whisk"
)

// devices gives new containers their network devices. The engine would start
// itself anew three times for that, and iptables for each rule of a name server
// of its own: most of what a container costs. So ours are made without a network
// (see launch.create), and get one end of a pair of devices, whose other end is
// on the bridge of the instance's network. That stays the engine's, with its
// subnet, its translation of addresses and its rules, so that both kinds of
// containers can be there.
//
// A container has its device a moment after it has begun to run.
type devices struct {
	state  *stateDir // has the files that containers mount
	bridge string
	subnet netip.Prefix
	router netip.Addr // not valid if containers reach nothing outside
}

// openDevices returns nil if containers have to get their network from the engine,
// and why.
func (d *Driver) openDevices(info system.Info, subnet netip.Prefix) (*devices, error) {
	has := func(option string) bool {
		return slices.ContainsFunc(info.SecurityOptions, func(o string) bool { return strings.HasPrefix(o, "name="+option) })
	}
	switch {
	case d.config.Ports != nil:
		return nil, errors.New("only the engine publishes ports")
	case has("rootless") || has("userns") || has("selinux"):
		return nil, fmt.Errorf("the engine's security options are %q", info.SecurityOptions)
	case !d.walled:
		return nil, errors.New("there is no firewall")
	case d.config.choosesNetwork():
		return nil, errors.New("the container options need the engine's")
	case !slices.Contains([]string{"runc", "crun", "io.containerd.runc.v2"}, info.DefaultRuntime):
		return nil, fmt.Errorf("the runtime %s may not see devices that come late", info.DefaultRuntime)
	}
	if err := nearby(d.engine.DaemonHost(), d.state.path); err != nil {
		return nil, err
	}
	v := &devices{state: d.state, bridge: bridgeOf(d.config.Instance, d.config.Network), subnet: subnet}
	if d.config.Network == Outbound {
		v.router = d.gateway
	}
	if _, err := net.InterfaceByName(v.bridge); err != nil {
		return nil, fmt.Errorf("find the bridge %s: %w", v.bridge, err)
	}
	return v, v.writeResolver()
}

// choosesNetwork reports whether the operator's options say what only a network of
// the engine's obeys, or what goes wrong with a device that comes late: gVisor
// looks at those that there are when it starts.
func (c Config) choosesNetwork() bool {
	var host container.HostConfig
	if c.applyOptions(&host) != nil {
		return true
	}
	return host.Runtime != "" || len(host.DNS)+len(host.DNSOptions)+len(host.DNSSearch)+len(host.ExtraHosts)+len(host.Links) > 0 ||
		len(host.Binds)+len(host.Mounts)+len(host.VolumesFrom)+len(host.Sysctls) > 0 || host.UsernsMode != "" || host.UTSMode != ""
}

// nearby reports an error unless the engine has the same processes and network devices
// before it as we have, and that directory.
func nearby(host, dir string) error {
	path, local := strings.CutPrefix(host, "unix://")
	if !local {
		return fmt.Errorf("the engine at %s may be elsewhere", host)
	}
	conn, err := net.Dial("unix", path)
	if err != nil {
		return err
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return err
	}
	var peer *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		peer, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil || failed != nil {
		return errors.Join(err, failed)
	}
	for _, kind := range []string{"pid", "net"} {
		if err := sharesNamespace(int(peer.Pid), kind); err != nil {
			return err
		}
	}
	return sharesDirectory(int(peer.Pid), dir)
}

// sharesNamespace reports an error unless a process has the namespace that we have. It
// looks at all its threads: some of an engine's are in its containers' for a while.
func sharesNamespace(pid int, kind string) error {
	ours, err := os.Readlink("/proc/thread-self/ns/" + kind)
	if err != nil {
		return fmt.Errorf("look for our namespaces: %w", err)
	}
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/ns/%s", pid, kind)) // the pattern is right
	for _, thread := range threads {
		if theirs, err := os.Readlink(thread); err == nil && theirs == ours {
			return nil
		}
	}
	return fmt.Errorf("the engine has another %s namespace", kind)
}

// sharesDirectory reports an error unless a process finds ours where it is for us. Its mount
// namespace may be another one: a unit of systemd that is protected from changing the
// system has one of its own, with the same files in it.
func sharesDirectory(pid int, dir string) error {
	dir, err := filepath.EvalSymlinks(dir) // of links there, those here would be followed
	if err != nil {
		return err
	}
	ours, err := os.Stat(dir)
	if err != nil {
		return err
	}
	roots, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/root", pid)) // the pattern is right
	for _, root := range roots {
		if theirs, err := os.Stat(root + dir); err == nil && os.SameFile(ours, theirs) {
			return nil
		}
	}
	return fmt.Errorf("the engine does not see %s", dir)
}

// resolver is where hosts with systemd's own name server on their loopback device
// keep the servers that it asks.
const resolver = "/run/systemd/resolve/resolv.conf"

// writeResolver writes the file by which containers find name servers: those of
// the host, which have to be reachable from elsewhere.
func (v *devices) writeResolver() error {
	if !v.router.IsValid() {
		return os.WriteFile(v.state.resolvConf(), nil, 0o644)
	}
	for _, source := range []string{"/etc/resolv.conf", resolver} {
		text, err := os.ReadFile(source)
		if err != nil {
			continue
		}
		if usable, found := outsideServers(string(text)); found {
			return os.WriteFile(v.state.resolvConf(), []byte(usable), 0o644)
		}
	}
	return errors.New("the host's name servers are out of the containers' reach")
}

// outsideServers returns a resolv.conf without the servers that containers cannot
// reach, and whether any is left.
func outsideServers(text string) (usable string, found bool) {
	var kept strings.Builder
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) > 1 && fields[0] == "nameserver" {
			at, err := netip.ParseAddr(fields[1])
			if err != nil || !at.Is4() || at.IsLoopback() || at.IsUnspecified() {
				continue
			}
			found = true
		}
		kept.WriteString(strings.TrimRight(line, "\n") + "\n")
	}
	return kept.String(), found
}

// prepare makes a container's configuration one that does without the engine's
// network, and writes what it is to mount.
func (v *devices) prepare(ip netip.Addr, config *container.Config, host *container.HostConfig) error {
	config.NetworkDisabled = true
	config.Hostname = "ip-" + strings.ReplaceAll(ip.String(), ".", "-")
	config.Labels[labelAddress] = ip.String()
	host.NetworkMode = "none"
	if _, err := os.Stat("/proc/sys/net/ipv6/conf"); err == nil {
		host.Sysctls = map[string]string{"net.ipv6.conf.all.disable_ipv6": "1", "net.ipv6.conf.default.disable_ipv6": "1"}
	}
	if err := os.MkdirAll(filepath.Dir(v.state.hosts(ip)), 0o700); err != nil {
		return err
	}
	text := fmt.Sprintf("127.0.0.1\tlocalhost\n%s\t%s\n", ip, config.Hostname)
	if err := os.WriteFile(v.state.hosts(ip), []byte(text), 0o644); err != nil {
		return err
	}
	for target, source := range map[string]string{"/etc/hosts": v.state.hosts(ip), "/etc/resolv.conf": v.state.resolvConf()} {
		host.Mounts = append(host.Mounts, mount.Mount{Type: mount.TypeBind, Source: source, Target: target, ReadOnly: true})
	}
	return nil
}

// deviceOf names our end of a pair. The address is the container's alone.
func deviceOf(ip netip.Addr) string { return fmt.Sprintf("wc%x", ip.AsSlice()) }

// plug gives a running container its device.
func (v *devices) plug(pid int, ip netip.Addr) error {
	inside, err := netns.GetFromPid(pid)
	if err != nil {
		return fmt.Errorf("find the network of process %d: %w", pid, err)
	}
	defer inside.Close()
	return v.plugInto(inside, ip)
}

func (v *devices) plugInto(inside netns.NsHandle, ip netip.Addr) error {
	bridge, err := netlink.LinkByName(v.bridge)
	if err != nil {
		return fmt.Errorf("find the bridge %s: %w", v.bridge, err)
	}
	pair := &netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: deviceOf(ip), MasterIndex: bridge.Attrs().Index, TxQLen: -1},
		PeerName:      "eth0",
		PeerNamespace: netlink.NsFd(inside),
		// From the address, as engines have it: neighbours that remember its last holder's are right.
		PeerHardwareAddr: append(net.HardwareAddr{0x02, 0x42}, ip.AsSlice()...),
	}
	err = netlink.LinkAdd(pair)
	if errors.Is(err, unix.EEXIST) { // of a container whose network the kernel has not taken down yet
		if err = v.unplug(ip); err == nil {
			err = netlink.LinkAdd(pair)
		}
	}
	if err != nil {
		return fmt.Errorf("make a network device: %w", err)
	}
	// Containers on the same bridge see nothing of each other, whatever their rules are.
	if err := netlink.LinkSetIsolated(pair, true); err != nil {
		return fmt.Errorf("isolate the network device: %w", err)
	}
	if err := v.address(inside, ip); err != nil {
		return fmt.Errorf("give the container its address: %w", err)
	}
	// Up is the last: by that our successor knows that all was done, see addressIn.
	if err := netlink.LinkSetUp(pair); err != nil {
		return fmt.Errorf("connect the network device: %w", err)
	}
	return nil
}

// address does the part inside of a container.
func (v *devices) address(inside netns.NsHandle, ip netip.Addr) error {
	there, err := netlink.NewHandleAt(inside, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer there.Close()
	device, err := there.LinkByName("eth0")
	if err != nil {
		return err
	}
	subnet := &net.IPNet{IP: ip.AsSlice(), Mask: net.CIDRMask(v.subnet.Bits(), 32)}
	if err := errors.Join(there.AddrAdd(device, &netlink.Addr{IPNet: subnet}), there.LinkSetUp(device)); err != nil {
		return err
	}
	if !v.router.IsValid() {
		return nil
	}
	return there.RouteAdd(&netlink.Route{LinkIndex: device.Attrs().Index, Gw: v.router.AsSlice()})
}

// bridgeMissing reports whether there certainly is no bridge.
func (v *devices) bridgeMissing() bool {
	_, err := netlink.LinkByName(v.bridge)
	_, missing := errors.AsType[netlink.LinkNotFoundError](err)
	return missing
}

// connectAll sees to it that the devices of those addresses lead to the bridge, which may
// have been made anew. Some may have none yet, or none any more.
func connectAll(name string, ips []netip.Addr) error {
	bridge, err := netlink.LinkByName(name)
	if err != nil {
		return fmt.Errorf("find the bridge %s: %w", name, err)
	}
	var errs []error
	for _, ip := range ips {
		if err := connect(bridge, ip); err != nil {
			errs = append(errs, fmt.Errorf("connect the network device of %s: %w", ip, err))
		}
	}
	return errors.Join(errs...)
}

func connect(bridge netlink.Link, ip netip.Addr) error {
	link, err := netlink.LinkByName(deviceOf(ip))
	if _, gone := errors.AsType[netlink.LinkNotFoundError](err); gone {
		return nil
	}
	if err != nil {
		return err
	}
	if link.Attrs().MasterIndex == bridge.Attrs().Index && link.Attrs().Flags&net.FlagUp != 0 {
		return nil
	}
	// Down, until it is isolated: see plug.
	for _, step := range []func() error{
		func() error { return netlink.LinkSetDown(link) },
		func() error { return netlink.LinkSetMaster(link, bridge) },
		func() error { return netlink.LinkSetIsolated(link, true) },
		func() error { return netlink.LinkSetUp(link) },
	} {
		if err := step(); err != nil {
			if errors.Is(err, unix.ENODEV) {
				return nil // its container has ended
			}
			return err
		}
	}
	greet(ip)
	return nil
}

// greet sends a container a datagram of no use. To deliver it the kernel asks for the container's
// hardware address, and by that question the container learns the new bridge's. That its device was
// down mostly has it forget the old one's, but not always: it might send there for a minute.
func greet(ip netip.Addr) {
	const discard = 9
	conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, discard)))
	if err != nil {
		return
	}
	defer conn.Close()
	_, _ = conn.Write([]byte{0}) // the next call does the same
}

// unplug takes a container's device away, if it is there.
func (v *devices) unplug(ip netip.Addr) error {
	link, err := netlink.LinkByName(deviceOf(ip))
	if _, gone := errors.AsType[netlink.LinkNotFoundError](err); gone {
		return nil
	}
	if err != nil {
		return err
	}
	return drop(link)
}

// drop takes away a device that was there. The kernel takes down the networks of ended
// containers whenever it comes to it, and may have been faster.
func drop(link netlink.Link) error {
	if err := netlink.LinkDel(link); !errors.Is(err, unix.ENODEV) {
		return err
	}
	return nil
}

// addressIn reads the address that a container of a former process has, which is
// not valid if it got its network from the engine. A process that died before it
// had plugged the container in leaves one that is of no use.
func addressIn(labels map[string]string) (netip.Addr, error) {
	text := labels[labelAddress]
	if text == "" {
		return netip.Addr{}, nil
	}
	ip, err := netip.ParseAddr(text)
	if err != nil || !ip.Is4() {
		return netip.Addr{}, whisk.Errorf(whisk.Invalid, "its label %s is %q, not an address", labelAddress, text)
	}
	device, err := net.InterfaceByName(deviceOf(ip))
	if err != nil || device.Flags&net.FlagUp == 0 {
		return netip.Addr{}, whisk.Errorf(whisk.Unavailable, "it has no network device")
	}
	return ip, nil
}
