// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package test

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"

	"github.com/whirl-faas/whirl/client"
)

// spread is a cluster on several hosts: the scheduler and an agent on the first, and on each a
// controller with entities of its own, as if they had one database.
type spread struct {
	*cluster
	hosts       []host
	driver      []string // flags of the agent
	agent       *platform
	controllers []*platform
}

const silence = 500 * time.Millisecond // nothing must come for so long

// startSpread starts a cluster on hosts, with the driver's flags for its agent.
func startSpread(t *testing.T, hosts []host, driver []string, runtimes string) *spread {
	t.Helper()
	s := &spread{cluster: &cluster{t: t, certs: t.TempDir(), data: t.TempDir()}, hosts: hosts, driver: driver}
	s.scheduler, s.office = hosts[0].address+":3240", hosts[0].address+":3241"
	s.run("certs", "ca", "--dir", s.certs)
	s.issue("agent", "node")
	s.issueFor("scheduler", "s", hosts[0].address)
	s.issueFor("operator", "op", hosts[0].address)
	leader := s.launchOn(hosts[0], "scheduler", "s", "scheduler", "--listen", s.scheduler, "--http", s.office, "--runtimes", runtimes)
	s.awaitWord(leader, "is ready on")
	s.startAgent()
	for i, host := range hosts {
		name := "ctl" + string(rune('0'+i))
		s.issue("controller", name)
		p := s.launchOn(host, "controller", name, unthrottled("controller", "--data", t.TempDir(), "--scheduler", s.scheduler, "--runtimes", runtimes)...)
		p.connect(t, host.forward(t, "127.0.0.1:3233"))
		s.controllers = append(s.controllers, p)
	}
	return s
}

func (s *spread) startAgent() {
	s.t.Helper()
	here := s.hosts[0].address
	s.agent = s.launchOn(s.hosts[0], "agent", "node", append([]string{"agent", "--scheduler", s.scheduler, "--listen", here + ":3242", "--http", "",
		"--data", s.data, "--memory", "256m", "--sandbox-denied", "", "--publish", here}, s.driver...)...)
	s.awaitWord(s.agent, "is ready on")
}

// published returns the firewall's tables of published containers on this host, and a connection
// to read them by, which works there alone.
func published() (conn *nftables.Conn, tables []*nftables.Table, err error) {
	if conn, err = nftables.New(); err != nil {
		return nil, nil, err
	}
	all, err := conn.ListTables()
	for _, table := range all {
		if strings.HasPrefix(table.Name, "whirl_") && strings.HasSuffix(table.Name, "_published") {
			tables = append(tables, table)
		}
	}
	return conn, tables, err
}

// permitted returns what the firewall of the first host lets in: of each source, the port.
func (s *spread) permitted() map[string]uint16 {
	s.t.Helper()
	found := map[string]uint16{}
	err := s.hosts[0].do(func() error {
		conn, tables, err := published()
		for _, table := range tables {
			pairs, err := conn.GetSetElements(&nftables.Set{Table: table, Name: "permitted"})
			if err != nil {
				return err
			}
			for _, pair := range pairs {
				source, _ := netip.AddrFromSlice(pair.Key[:4])
				found[source.String()] = binary.BigEndian.Uint16(pair.Key[4:])
			}
		}
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return found
}

// noTables holds that nothing of ours is left in the host's firewall.
func (h host) noTables(t *testing.T) {
	t.Helper()
	err := h.do(func() error {
		_, tables, err := published()
		for _, table := range tables {
			t.Errorf("after an orderly stop the table %s is left on %s", table.Name, h.address)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// visit connects from a host to a published port.
func (s *spread) visit(from int, port uint16) (net.Conn, error) {
	s.t.Helper()
	at := netip.AddrPortFrom(netip.MustParseAddr(s.hosts[0].address), port)
	conn, err := s.hosts[from].dial(net.Dialer{Timeout: silence}, at.String())
	if err == nil {
		s.t.Cleanup(func() { conn.Close() })
	}
	return conn, err
}

// ask sends a request that every runtime answers, and returns an error if it does not.
func ask(conn net.Conn) error {
	if _, err := conn.Write([]byte("GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		return err
	}
	_ = conn.SetReadDeadline(time.Now().Add(2 * time.Second))
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err == nil {
		res.Body.Close()
	}
	return err
}

// TestContainersOnAnotherHost has controllers on three hosts use the one container that a
// node has room for, in turns. Only who holds it may reach it.
func TestContainersOnAnotherHost(t *testing.T) {
	s := startSpread(t, startHosts(t, false, "10.77.0.1", "10.77.0.11", "10.77.0.12"), nil, "local")
	// use has a controller use the container, and returns its port.
	use := func(i int) (port uint16) {
		t.Helper()
		if _, err := s.controllers[i].Invoke(t.Context(), "there", nil, time.Minute); err != nil {
			t.Fatalf("a call on host %d: %v", i, err)
		}
		inside := s.permitted()
		port = inside[s.hosts[i].address]
		if port == 0 || len(inside) != 1 {
			t.Fatalf("the firewall lets in %v, want %s alone", inside, s.hosts[i].address)
		}
		return port
	}
	for _, p := range s.controllers {
		native().deploy(t, p, "there", "echo", client.LimitsSpec{Memory: 256})
	}
	port := use(1)
	held, err := s.visit(1, port)
	if err != nil || ask(held) != nil {
		t.Fatalf("the lessee's host cannot reach the container: %v", err)
	}
	for _, other := range []int{0, 2} {
		if _, err := s.visit(other, port); err == nil {
			t.Errorf("host %d reaches the container, of which it holds none", other)
		}
	}
	for _, next := range []int{2, 0, 1} {
		port := use(next)
		if err := ask(held); err == nil {
			t.Error("the former lessee's connection goes on")
		}
		for i := range s.hosts {
			conn, err := s.visit(i, port)
			if err == nil && i == next {
				err, held = ask(conn), conn
			}
			if (err == nil) != (i == next) {
				t.Errorf("host %d holds the container, host %d gets %v", next, i, err)
			}
		}
	}

	before := s.permitted()
	s.agent.kill(t)
	if !maps.Equal(s.permitted(), before) {
		t.Error("the firewall's table changed with the killed agent")
	}
	if err := ask(held); err != nil {
		t.Errorf("without an agent the lessee's connection broke: %v", err)
	}
	s.startAgent()
	if inside := s.permitted(); !maps.Equal(inside, before) {
		t.Errorf("the next agent lets in %v, it was %v", inside, before)
	}
	if err := ask(held); err != nil {
		t.Errorf("with the next agent the lessee's connection broke: %v", err)
	}
	record, err := s.controllers[1].Invoke(t.Context(), "there", nil, time.Minute)
	if err != nil || !isWarm(record) {
		t.Errorf("under the next agent: %+v, %v; want a warm container", record, err)
	}
	s.agent.stop(t)
	s.hosts[0].noTables(t)
}

// turnRound is an action that has found out what its runtime's sockets are, disconnects the one
// that listens and the one to a peer, and connects each to something else.
const turnRound = `
import ctypes, os, socket, stat

def main(args):
    libc = ctypes.CDLL(None)
    result = {}
    for fd in range(3, 64):
        try:
            if not stat.S_ISSOCK(os.fstat(fd).st_mode):
                continue
        except OSError:
            continue
        with socket.socket(fileno=os.dup(fd)) as s:
            name = "listening" if args["peer"] and s.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) else None
            try:
                if not name and s.getpeername()[1] == args["peer"]:
                    name = "accepted"
            except (OSError, IndexError):
                pass
            if not name:
                continue
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            libc.connect(s.fileno(), ctypes.create_string_buffer(16), 16)  # to no family: disconnects
            s.settimeout(1)
            try:
                s.connect((args["host"], args["port"]))
                result[name] = "connected"
            except OSError as e:
                result[name] = "not connected: " + str(e)
    return result
`

// TestAPublishedSocketIsNoWayOut has an action use the sockets of the host's network that its
// sandbox has: they must lead nowhere, also not to its lessee's host, whose answers are let in.
func TestAPublishedSocketIsNoWayOut(t *testing.T) {
	need(t, "python3")
	s := startSpread(t, startHosts(t, false, "10.77.0.1", "10.77.0.11"), nil, "local")
	p := s.controllers[1]
	spec := client.ActionSpec{Exec: &client.Exec{Kind: "python:default", Code: turnRound}, Limits: &client.LimitsSpec{Memory: 256}}
	if _, err := p.CreateAction(t.Context(), "turn", spec); err != nil {
		t.Fatal(err)
	}
	var service net.Listener
	err := s.hosts[1].do(func() (err error) {
		service, err = net.Listen("tcp", s.hosts[1].address+":0")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close()
	// The first call has the container made, and finds nothing to turn round.
	target := map[string]any{"host": s.hosts[1].address, "port": service.Addr().(*net.TCPAddr).Port, "peer": 0}
	if got, err := p.Result(t.Context(), "turn", target, time.Minute); err != nil || string(got) != "{}" {
		t.Fatalf("the first call: %s, %v", got, err)
	}
	idle, err := s.visit(1, s.permitted()[s.hosts[1].address])
	if err != nil || ask(idle) != nil {
		t.Fatalf("the lessee's host cannot reach the container: %v", err)
	}
	s.agent.kill(t) // the next one guards what its sandboxes have
	s.startAgent()
	target["peer"] = idle.LocalAddr().(*net.TCPAddr).Port
	got, err := p.Result(t.Context(), "turn", target, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	var outcome struct{ Listening, Accepted string }
	if err := json.Unmarshal(got, &outcome); err != nil {
		t.Fatal(err)
	}
	for name, how := range map[string]string{"listening": outcome.Listening, "accepted": outcome.Accepted} {
		if !strings.HasPrefix(how, "not connected") {
			t.Errorf("the %s socket: %q", name, how)
		}
	}
	t.Logf("%s", got)
}
