// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"errors"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/whirl-faas/whirl/driver/drivertest"
	"github.com/whirl-faas/whirl/driver/process"
	"github.com/whirl-faas/whirl/whisk"
)

func TestConformance(t *testing.T) { conform(t, testConfig) }

// TestKeptConformance has sandboxes outlive their agent.
func TestKeptConformance(t *testing.T) { conform(t, keptConfig) }

func keptConfig(t testing.TB) process.Config {
	config := testConfig(t)
	config.Grace = time.Minute
	t.Cleanup(func() {
		if !within(5*time.Second, func() bool { return keeperOf(t, config.StateDir) == 0 }) {
			t.Error("the keeper is left")
		}
	})
	return config
}

// keeperOf finds the keeper of a state directory, 0 if there is none.
func keeperOf(t testing.TB, dir string) (pid int) {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range processes {
		if line, err := os.ReadFile(name); err == nil && string(line) == "whirl-sandbox-keeper\x00"+dir+"\x00" {
			if pid, err = strconv.Atoi(strings.Split(name, "/")[2]); err != nil {
				t.Fatal(err)
			}
		}
	}
	return pid
}

// TestPublishedConformance has sandboxes listen on ports of the host.
func TestPublishedConformance(t *testing.T) {
	conform(t, func(t testing.TB) process.Config {
		config := keptConfig(t)
		ports := &openPorts{t: t, taken: map[netip.AddrPort]int{}}
		config.Ports = ports
		t.Cleanup(func() {
			if len(ports.taken) > 0 {
				t.Errorf("not given back: %v", ports.taken)
			}
		})
		return config
	})
}

// openPorts are ports that nobody guards.
type openPorts struct {
	t     testing.TB
	mu    sync.Mutex
	taken map[netip.AddrPort]int // by whom
}

func (p *openPorts) Take(owner int) (*os.File, netip.AddrPort, error) {
	if owner < 1000 {
		p.t.Errorf("the owner of a port is user %d", owner)
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, netip.AddrPort{}, err
	}
	socket := os.NewFile(uintptr(fd), "port")
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return nil, netip.AddrPort{}, errors.Join(err, socket.Close())
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return nil, netip.AddrPort{}, errors.Join(err, socket.Close())
	}
	at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(name.(*unix.SockaddrInet4).Port))
	p.mu.Lock()
	defer p.mu.Unlock()
	p.taken[at] = owner
	return socket, at, nil
}

func (p *openPorts) GiveBack(at netip.AddrPort) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.taken, at)
	return nil
}

func (p *openPorts) Guards(at netip.AddrPort) bool { return at.Addr().IsLoopback() }

func (p *openPorts) Keep(used map[netip.AddrPort]int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !maps.Equal(used, p.taken) {
		p.t.Errorf("Keep(%v), but in use are %v", used, p.taken)
	}
	return nil
}

func conform(t *testing.T, testConfig func(testing.TB) process.Config) {
	needRoot(t)
	drivertest.Run(t, func(t *testing.T) drivertest.Harness {
		config := testConfig(t)
		return drivertest.Harness{
			New: func(t *testing.T) whisk.Driver { return mustOpen(t, config) },
			Killed: func(t *testing.T, old whisk.Driver) whisk.Driver {
				if err := old.(*process.Driver).Die(); err != nil {
					t.Fatalf("Die = %v", err)
				}
				return mustOpen(t, config)
			},
			Spec: testSpec,
			Code: drivertest.Code{Echo: "echo", Print: "print", Exit: "exit", Sleep: "sleep", Allocate: "allocate"},
			UserFault: func(t *testing.T) (whisk.Driver, whisk.CreateSandbox) {
				spec := whisk.ContainerSpec{Kind: "nosuch:1", Memory: 128 * whisk.MB}
				return mustOpen(t, testConfig(t)), whisk.CreateSandbox{ID: "userfault", Spec: spec}
			},
			NodeFault: func(t *testing.T) (whisk.Driver, whisk.CreateSandbox) {
				config := testConfig(t)
				config.Runtimes[0].Argv = []string{"/nosuch/runtime"}
				return mustOpen(t, config), whisk.CreateSandbox{ID: "nodefault", Spec: testSpec}
			},
		}
	})
}

// mustOpen opens a driver that the suite closes.
func mustOpen(t *testing.T, config process.Config) *process.Driver {
	t.Helper()
	driver, err := process.Open(config)
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	return driver
}
