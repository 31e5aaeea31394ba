// SPDX-License-Identifier: Apache-2.0

//go:build docker

package docker_test

import (
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"

	"github.com/moby/moby/client"

	"github.com/whirl-faas/whirl/whisk"
)

// TestDevice holds what a container has that the driver connects, over the death of
// the driver's process, and that it is not connected by the engine as well.
func TestDevice(t *testing.T) {
	t.Parallel()
	engine, config := newEngine(t), testConfig(t)
	first := mustOpen(t, config)
	b := newProbe(t, first)
	host, _, err := net.SplitHostPort(b.Address().Address)
	if err != nil {
		t.Fatal(err)
	}
	name := "ip-" + strings.ReplaceAll(host, ".", "-")
	if got := b.probe(t, "read", values{"path": "/etc/hosts"}); !strings.Contains(got, host+"\t"+name+"\n") || !strings.Contains(got, "127.0.0.1\tlocalhost\n") {
		t.Errorf("/etc/hosts is %q", got)
	}
	if got := b.probe(t, "read", values{"path": "/proc/sys/kernel/hostname"}); got != name+"\n" {
		t.Errorf("the host's name is %q, want %s", got, name)
	}
	if got := b.probe(t, "read", values{"path": "/etc/resolv.conf"}); !strings.Contains(got, "nameserver ") || strings.Contains(got, "nameserver 127.") {
		t.Errorf("/etc/resolv.conf is %q", got)
	}
	if got := b.probe(t, "read", values{"path": "/proc/net/if_inet6"}); got != "" {
		t.Errorf("the container has addresses of IPv6: %q", got)
	}
	inspected, err := engine.ContainerInspect(t.Context(), "whirl_"+config.Instance+"_"+string(b.ID()), client.ContainerInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if of := inspected.Container; !of.Config.NetworkDisabled || of.Config.Labels["whirl.address"] != host {
		t.Errorf("the container's network is disabled: %v, its label says %q", of.Config.NetworkDisabled, of.Config.Labels["whirl.address"])
	}
	if err := first.Die(); err != nil {
		t.Fatal(err)
	}

	second := openDriver(t, config)
	left, err := second.Recover(t.Context())
	if err != nil || len(left) != 1 || left[0].Address() != b.Address() {
		t.Fatalf("Recover = %v, %v, want one at %v", left, err, b.Address())
	}
	adopt(t, left[0])
	if other := newProbe(t, second); other.Address() == b.Address() {
		t.Errorf("two containers have the address %v", other.Address())
	}
}

// TestUnconnected leaves a container whose driver died before it had a device.
func TestUnconnected(t *testing.T) {
	t.Parallel()
	engine, config := newEngine(t), testConfig(t)
	first := mustOpen(t, config)
	b, err := first.Create(t.Context(), whisk.CreateSandbox{ID: "unconnected", Spec: nodejsSpec})
	if err != nil {
		t.Fatal(err)
	}
	host, _, _ := net.SplitHostPort(b.Address().Address)
	device := fmt.Sprintf("wc%x", []byte(net.ParseIP(host).To4()))
	if err := first.Die(); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("ip", "link", "del", device).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	left, err := openDriver(t, config).Recover(t.Context())
	if err != nil || len(left) != 0 {
		t.Errorf("Recover = %v, %v", left, err)
	}
	wantContainers(t, engine, config.Instance, 0)
}

// TestTheEnginesNetwork holds that containers whose options need it still get it.
func TestTheEnginesNetwork(t *testing.T) {
	t.Parallel()
	config := testConfig(t)
	config.Options = []byte(`{"ExtraHosts": ["db.example.org:203.0.113.7"]}`)
	b := newProbe(t, openDriver(t, config))
	if got := b.probe(t, "read", values{"path": "/etc/hosts"}); !strings.Contains(got, "203.0.113.7\tdb.example.org") {
		t.Errorf("/etc/hosts is %q", got)
	}
}
