// SPDX-License-Identifier: Apache-2.0

//go:build docker

package docker_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/moby/moby/client"

	"github.com/whirl-faas/whirl/agent/gate"
	"github.com/whirl-faas/whirl/driver/docker"
	"github.com/whirl-faas/whirl/runtimes/runtimetest"
	"github.com/whirl-faas/whirl/whisk"
)

// Who is let in at a published port, and on which address of this machine.
var (
	publicAddress = netip.MustParseAddr("203.0.113.1")
	worldAddress  = netip.MustParseAddr("203.0.113.2")
)

// published opens a gate and a driver that publishes by it, as one process has them.
func published(t *testing.T, config docker.Config, on netip.Addr) (*gate.Gate, *docker.Driver) {
	t.Helper()
	settings := gate.Default()
	settings.Instance, settings.Address = config.Instance, on
	g, err := gate.Open(settings)
	if err != nil {
		t.Fatal(err)
	}
	config.Ports = g
	return g, mustOpen(t, config)
}

func letIn(t *testing.T, g *gate.Gate, to whisk.Address, visitors ...netip.Addr) {
	t.Helper()
	if err := g.Admit(map[whisk.Address][]netip.Addr{to: visitors}, visitors); err != nil {
		t.Fatal(err)
	}
}

// visit connects from the world outside to a container.
func (w world) visit(t *testing.T, to whisk.Address, patience time.Duration) (conn net.Conn, err error) {
	t.Helper()
	err = w.do(t, func() (err error) {
		conn, err = net.DialTimeout(to.Network, to.Address, patience)
		return err
	})
	if err == nil {
		t.Cleanup(func() { conn.Close() })
	}
	return conn, err
}

// asks reports whether a request by a connection is answered.
func asks(conn net.Conn, patience time.Duration) bool {
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write([]byte("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		return false
	}
	_, err := conn.Read(make([]byte, 4096))
	return err == nil
}

// TestPublishedContainers are reached from other hosts and from this one by those who are
// let in, also over the death of the agent; with the last of them all is gone.
func TestPublishedContainers(t *testing.T) {
	const patience, silence = 10 * time.Second, 500 * time.Millisecond
	w := newWorld(t)
	config := testConfig(t)
	g, driver := published(t, config, publicAddress)
	sandbox, err := driver.Create(t.Context(), whisk.CreateSandbox{ID: "held", Spec: nodejsSpec})
	if err != nil {
		t.Fatal(err)
	}
	b, to := adoptLost(t, sandbox), sandbox.Address()
	if at, err := netip.ParseAddrPort(to.Address); err != nil || at.Addr() != publicAddress {
		t.Fatalf("the container's address is %v", to)
	}
	if _, err := w.visit(t, to, silence); err == nil {
		t.Error("the world reaches a container that nobody holds")
	}
	letIn(t, g, to, worldAddress)
	held, err := w.visit(t, to, patience)
	if err != nil || !asks(held, patience) {
		t.Fatalf("who is let in does not reach the container: %v", err)
	}
	if conn, err := net.DialTimeout(to.Network, to.Address, silence); err == nil {
		conn.Close()
		t.Error("this machine reaches a container that another one holds")
	}

	letIn(t, g, to, publicAddress) // the lease goes to a controller of this machine
	if asks(held, silence) {
		t.Error("the former lessee's connection goes on")
	}
	b.MustInit(t, runtimetest.Code{Code: nodejsCode().Echo}, nil)
	if reply := b.Run(t, map[string]int{"a": 1}, nil); reply.Status != 200 {
		t.Errorf("/run = %+v", reply)
	}

	letIn(t, g, to, worldAddress)
	held, err = w.visit(t, to, patience)
	if err != nil || !asks(held, patience) {
		t.Fatalf("who is let in again does not reach the container: %v", err)
	}
	other := newBox(t, driver, whisk.CreateSandbox{Spec: nodejsSpec})
	if got := other.Address(); got == to {
		t.Errorf("two containers are published on %v", got)
	}
	if err := other.Destroy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := driver.Die(); err != nil {
		t.Fatal(err)
	}
	b.ended()
	if !asks(held, patience) {
		t.Error("a connection broke when the agent died")
	}
	g, driver = published(t, config, publicAddress)
	left, err := driver.Recover(t.Context())
	if err != nil || len(left) != 1 || left[0].Address() != to {
		t.Fatalf("Recover = %v, %v", left, err)
	}
	if !asks(held, patience) {
		t.Error("a connection broke when the next agent came")
	}
	if err := left[0].Destroy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := driver.Close(); err != nil {
		t.Error(err)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	noTableOf(t, gate.TableOf(config.Instance))
}

// TestAContainerThatNobodyGuards is not taken over: its port would be open to the world.
func TestAContainerThatNobodyGuards(t *testing.T) {
	config := testConfig(t)
	_, driver := published(t, config, netip.MustParseAddr("127.0.0.1"))
	if _, err := driver.Create(t.Context(), whisk.CreateSandbox{ID: "left", Spec: nodejsSpec}); err != nil {
		t.Fatal(err)
	}
	if err := driver.Die(); err != nil {
		t.Fatal(err)
	}
	next := openDriver(t, config)
	if left, err := next.Recover(t.Context()); err != nil || len(left) != 0 {
		t.Errorf("Recover = %v, %v", left, err)
	}
	engine, err := client.New(client.WithHostFromEnv())
	if err != nil {
		t.Fatal(err)
	}
	defer engine.Close()
	ours := client.Filters{}.Add("label", "whirl.instance="+config.Instance)
	if all, err := engine.ContainerList(t.Context(), client.ContainerListOptions{All: true, Filters: ours}); err != nil || len(all.Items) != 0 {
		t.Errorf("left are %v, %v", all.Items, err)
	}
	if err := gate.Clear(config.Instance); err != nil {
		t.Error(err)
	}
}

func noTableOf(t *testing.T, name string) {
	t.Helper()
	conn, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	tables, err := conn.ListTables()
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		if table.Name == name {
			t.Errorf("the table %s is left", name)
		}
	}
}
