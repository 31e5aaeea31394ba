// SPDX-License-Identifier: Apache-2.0

//go:build docker

package docker_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"
	"github.com/vishvananda/netlink"

	"github.com/whirl-faas/whirl/driver/docker"
	"github.com/whirl-faas/whirl/runtimes/runtimetest"
	"github.com/whirl-faas/whirl/whisk"
)

// lastSubnet counts those that privateSubnet gave out.
var lastSubnet atomic.Int64

// privateSubnet makes an instance's network before its driver does, with a subnet that the engine
// gives to no other test's network when this one is removed.
func privateSubnet(t *testing.T, engine *client.Client, config docker.Config) network.IPAMConfig {
	t.Helper()
	n := byte(lastSubnet.Add(1))
	subnet := network.IPAMConfig{
		Subnet:  netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 211, n, 0}), 24),
		Gateway: netip.AddrFrom4([4]byte{10, 211, n, 1}),
	}
	if _, err := engine.NetworkCreate(t.Context(), networkOf(config), client.NetworkCreateOptions{
		Driver:  "bridge",
		IPAM:    &network.IPAM{Config: []network.IPAMConfig{subnet}},
		Labels:  map[string]string{"whirl.instance": config.Instance},
		Options: map[string]string{"com.docker.network.bridge.name": bridgeOf(config)},
	}); err != nil {
		t.Fatal(err)
	}
	return subnet
}

// prune does what people do from cron, to the network of an instance alone.
func prune(t *testing.T, engine *client.Client, config docker.Config) {
	t.Helper()
	for {
		pruned, err := engine.NetworkPrune(t.Context(), client.NetworkPruneOptions{
			Filters: client.Filters{}.Add("label", "whirl.instance="+config.Instance),
		})
		if errdefs.IsConflict(err) {
			time.Sleep(10 * time.Millisecond) // another test prunes, and one at a time may
			continue
		}
		if err != nil || !slices.Contains(pruned.Report.NetworksDeleted, networkOf(config)) {
			t.Fatalf("prune deleted %q, %v; want %s among them", pruned.Report.NetworksDeleted, err, networkOf(config))
		}
		return
	}
}

func networkOf(config docker.Config) string {
	return fmt.Sprintf("whirl_%s_%s", config.Instance, config.Network)
}

func bridgeOf(config docker.Config) string {
	sum := sha256.Sum256([]byte(config.Instance))
	return fmt.Sprintf("wo%x", sum[:4])
}

// cutBridge takes the network's bridge away without the engine's knowledge.
func cutBridge(t *testing.T, config docker.Config) {
	t.Helper()
	if out, err := exec.Command("ip", "link", "del", bridgeOf(config)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// wantReachable waits until something listens at an address, and fails in the end.
func wantReachable(t *testing.T, b *box) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		dialer := net.Dialer{Timeout: time.Second}
		var conn net.Conn
		if conn, err = dialer.Dial("tcp", b.Address().Address); err == nil {
			conn.Close()
			return
		}
	}
	t.Fatalf("nobody answers at %s: %v", b.Address().Address, err)
}

// TestPrune has the engine remove the network from under running containers, while nobody
// calls the driver and while many do.
func TestPrune(t *testing.T) {
	t.Parallel()
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "the API") }))
	t.Cleanup(api.Close)
	engine, config := newEngine(t), testConfig(t)
	config.API = api.URL
	privateSubnet(t, engine, config)
	driver := openDriver(t, config)
	boxes := []*box{newProbe(t, driver), newProbe(t, driver)}
	if err := boxes[1].Suspend(t.Context()); err != nil {
		t.Fatal(err)
	}

	prune(t, engine, config)
	wantReachable(t, boxes[0]) // the kernel answers for those that are suspended, too
	wantReachable(t, boxes[1])
	if err := boxes[1].Resume(t.Context()); err != nil {
		t.Fatal(err)
	}

	prune(t, engine, config)
	var creates sync.WaitGroup
	made := make([]whisk.Sandbox, 4)
	for i := range made {
		creates.Go(func() {
			var err error
			id := whisk.ContainerID(fmt.Sprint("pruned_", i))
			if made[i], err = driver.Create(t.Context(), whisk.CreateSandbox{ID: id, Spec: nodejsSpec}); err != nil {
				t.Errorf("Create = %v", err)
			}
		})
	}
	creates.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for _, sandbox := range made {
		b := adopt(t, sandbox)
		b.MustInit(t, runtimetest.Code{Code: probe}, nil)
		boxes = append(boxes, b)
	}
	for i, b := range boxes {
		wantReachable(t, b)
		if got := b.probe(t, "get", values{"url": b.probe(t, "env", values{"name": "__OW_API_HOST"})}); got != "the API" {
			t.Errorf("the API answers %q", got)
		}
		other := boxes[(i+1)%len(boxes)]
		if got := b.dial(t, other.Address().Address); got == "connected" {
			t.Errorf("%s and %s are not kept from each other any more", b.ID(), other.ID())
		}
		wantIsolated(t, b)
	}
}

// wantIsolated looks at the end of a container's device that is on the bridge.
func wantIsolated(t *testing.T, b *box) {
	t.Helper()
	ip := netip.MustParseAddrPort(b.Address().Address).Addr()
	device, err := netlink.LinkByName(fmt.Sprintf("wc%x", ip.AsSlice()))
	if err != nil {
		t.Fatal(err)
	}
	port, err := netlink.LinkGetProtinfo(device)
	if err != nil || !port.Isolated {
		t.Errorf("the device of %s is isolated: %t, %v", ip, port.Isolated, err)
	}
}

// TestPruneWithoutAnAgent removes the network while nobody holds the instance. Another
// network gets in where it was the second time.
func TestPruneWithoutAnAgent(t *testing.T) {
	t.Parallel()
	engine, config := newEngine(t), testConfig(t)
	subnet := privateSubnet(t, engine, config)
	first := mustOpen(t, config)
	sandbox, err := first.Create(t.Context(), whisk.CreateSandbox{ID: "pruned", Spec: nodejsSpec})
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Die(); err != nil {
		t.Fatal(err)
	}
	prune(t, engine, config)

	second := mustOpen(t, config)
	left, err := second.Recover(t.Context())
	if err != nil || len(left) != 1 || left[0].Address() != sandbox.Address() {
		t.Fatalf("Recover = %v, %v, want one at %v", left, err, sandbox.Address())
	}
	b := adopt(t, left[0])
	wantReachable(t, b)
	wantIsolated(t, b)
	b.MustInit(t, runtimetest.Code{Code: probe}, nil)
	other := newProbe(t, second)
	if b.Address() == other.Address() || b.dial(t, other.Address().Address) == "connected" {
		t.Errorf("%s and %s are not kept from each other", b.Address(), other.Address())
	}
	if err := second.Die(); err != nil {
		t.Fatal(err)
	}

	prune(t, engine, config)
	squat(t, engine, subnet)
	third := openDriver(t, config)
	if left, err := third.Recover(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("Recover = %v, %v, want nobody whom no call reaches", left, err)
	}
	wantContainers(t, engine, config.Instance, 0)
	newProbe(t, third)
}

// squat makes a network with a subnet that another one had.
func squat(t *testing.T, engine *client.Client, where network.IPAMConfig) {
	t.Helper()
	made, err := engine.NetworkCreate(t.Context(), fmt.Sprint("squatter-", where.Subnet.Addr()), client.NetworkCreateOptions{
		Driver: "bridge", IPAM: &network.IPAM{Config: []network.IPAMConfig{where}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := engine.NetworkRemove(context.Background(), made.ID, client.NetworkRemoveOptions{}); err != nil {
			t.Error(err)
		}
	})
}

// TestMendingInVain takes the bridge away, of which no event tells, and keeps the engine from
// making it anew. Create says why, and the next one that can mends it.
func TestMendingInVain(t *testing.T) {
	t.Parallel()
	engine, config := newEngine(t), testConfig(t)
	privateSubnet(t, engine, config)
	driver := openDriver(t, config)
	boxes := []*box{newProbe(t, driver), newProbe(t, driver)}
	// The engine knows no address of ours, and would choose one of them for it.
	free := netip.MustParseAddrPort(boxes[1].Address().Address).Addr().Next()
	holder, err := engine.ContainerCreate(t.Context(), client.ContainerCreateOptions{
		Config:     &container.Config{Image: images["nodejs:local"]},
		HostConfig: &container.HostConfig{NetworkMode: container.NetworkMode(networkOf(config))},
		NetworkingConfig: &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{
			networkOf(config): {IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: free}},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	removeHolder := sync.OnceFunc(func() {
		if _, err := engine.ContainerRemove(context.Background(), holder.ID, client.ContainerRemoveOptions{Force: true}); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(removeHolder)
	if _, err := engine.ContainerStart(t.Context(), holder.ID, client.ContainerStartOptions{}); err != nil {
		t.Fatal(err)
	}
	cutBridge(t, config)
	for range 2 {
		_, err := driver.Create(t.Context(), whisk.CreateSandbox{ID: "early", Spec: nodejsSpec})
		if _, user := errors.AsType[*whisk.CreateError](err); err == nil || user || !strings.Contains(err.Error(), "make the network "+networkOf(config)+" anew") {
			t.Fatalf("Create = %v", err)
		}
	}
	removeHolder()
	boxes = append(boxes, newProbe(t, driver))
	for _, b := range boxes {
		wantReachable(t, b)
		if got := b.probe(t, "read", values{"path": "/proc/sys/kernel/hostname"}); !strings.HasPrefix(got, "ip-") {
			t.Errorf("the host's name is %q", got)
		}
	}
}
