// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package test

import (
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// host is a network namespace in the part of a host. Processes in it share nothing with those
// of other hosts but the file system, as far as the network goes. A device named cable leads to
// the switch, which is a namespace of its own.
type host struct {
	name    string // "" for the network that the test is in
	address string
	hub     string // the switch's namespace
	plug    string // the cable's other end, there
}

// startHosts makes hosts that are connected by a switch. The first is the test's own network if
// here says so: that must be nobody else's then.
func startHosts(t *testing.T, here bool, addresses ...string) (hosts []host) {
	t.Helper()
	need(t, "ip", "nsenter")
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("network namespaces need root")
		}
		t.Skip("network namespaces need root")
	}
	prefix := "whirl-" + strconv.Itoa(os.Getpid()) + "-"
	hub := host{name: prefix + "hub"}
	hub.make(t)
	hub.ip(t, "link add hub type bridge")
	hub.ip(t, "link set hub up")
	for i, address := range addresses {
		number := strconv.Itoa(i)
		h := host{name: prefix + number, address: address, hub: hub.name, plug: "plug" + number}
		if here && i == 0 {
			h.name = ""
			hub.ip(t, "link add "+h.plug+" type veth peer name cable netns "+strconv.Itoa(os.Getpid()))
		} else {
			h.make(t)
			hub.ip(t, "link add "+h.plug+" type veth peer name cable netns "+h.name)
		}
		hub.ip(t, "link set "+h.plug+" master hub up")
		h.ip(t, "addr add "+h.address+"/24 dev cable")
		h.ip(t, "link set cable up")
		hosts = append(hosts, h)
	}
	return hosts
}

// make makes the host's namespace.
func (h host) make(t *testing.T) {
	t.Helper()
	ip(t, "netns add "+h.name)
	t.Cleanup(func() { ip(t, "netns del "+h.name) })
	h.ip(t, "link set lo up")
}

// unplug cuts the host off: its device has no carrier any more.
func (h host) unplug(t *testing.T) { ip(t, "-n "+h.hub+" link set "+h.plug+" down") }

// replug undoes unplug.
func (h host) replug(t *testing.T) { ip(t, "-n "+h.hub+" link set "+h.plug+" up") }

// lose has all that the host sends to others get lost without a sign, and what they send arrive:
// it sends to a card that nobody has.
func (h host) lose(t *testing.T, others ...host) {
	for _, other := range others {
		h.ip(t, "neigh replace "+other.address+" lladdr 02:00:00:00:00:01 dev cable nud permanent")
	}
}

// find undoes lose.
func (h host) find(t *testing.T, others ...host) {
	for _, other := range others {
		h.ip(t, "neigh del "+other.address+" dev cable")
	}
}

// ip configures the host's network.
func (h host) ip(t *testing.T, arguments string) {
	t.Helper()
	if h.name != "" {
		arguments = "-n " + h.name + " " + arguments
	}
	ip(t, arguments)
}

func ip(t *testing.T, arguments string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(arguments)...).CombinedOutput(); err != nil {
		t.Errorf("ip %s: %v: %s", arguments, err, out)
	}
}

// command runs a program on the host.
func (h host) command(args ...string) *exec.Cmd {
	if h.name == "" {
		return exec.Command(args[0], args[1:]...)
	}
	return exec.Command("nsenter", append([]string{"--net=/run/netns/" + h.name}, args...)...)
}

// do calls a function on the host. What it opens there stays of the host.
func (h host) do(what func() error) error {
	if h.name == "" {
		return what()
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for ever: the thread ends with this goroutine
		namespace, err := os.Open("/run/netns/" + h.name)
		if err == nil {
			err = unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET)
			namespace.Close()
		}
		if err == nil {
			err = what()
		}
		done <- err
	}()
	return <-done
}

func (h host) dial(dialer net.Dialer, address string) (conn net.Conn, err error) {
	err = h.do(func() (err error) {
		conn, err = dialer.Dial("tcp", address)
		return err
	})
	return conn, err
}

// forward lets the test reach an address of the host by one of its own.
func (h host) forward(t *testing.T, address string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer near.Close()
				far, err := h.dial(net.Dialer{}, address)
				if err != nil {
					return
				}
				defer far.Close()
				go func() {
					_, _ = io.Copy(far, near)
					_ = far.(*net.TCPConn).CloseWrite()
				}()
				_, _ = io.Copy(near, far)
			}()
		}
	}()
	return listener.Addr().String()
}
