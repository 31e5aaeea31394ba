// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/client"
)

// cluster is the three roles as processes of this machine, with certificates,
// started from the units and settings of deploy/.
type cluster struct {
	t         *testing.T
	site      *site
	certs     string // directory
	data      string // of all
	scheduler string // its address
	office    string // its address for operators
	desk      host   // where its operators sit

	leader     *platform
	agents     []*platform
	http       []string // the agents' addresses for operators
	controller *platform
	front      string                     // its address for operators
	stores     func(host string) []string // flags that say where a host's agent or controller keeps things
}

// startCluster runs a scheduler, agents and a controller, and waits until all
// nodes are up.
func startCluster(t *testing.T, agents int) *cluster {
	t.Helper()
	return startClusterWith(t, agents, func(string) []string { return nil })
}

// startClusterWith has agents and controllers keep things as flags for their hosts say.
func startClusterWith(t *testing.T, agents int, stores func(host string) []string) *cluster {
	t.Helper()
	site := newSite(t)
	c := &cluster{
		t: t, site: site, certs: t.TempDir(), data: site.data(),
		scheduler: site.address("10.0.0.1:3240"), office: site.address("10.0.0.1:3241"), front: site.address(controllerHost + ":3234"),
		stores: stores,
	}
	c.run("certs", "ca", "--dir", c.certs)
	c.issue("scheduler", "s")
	c.issue("controller", "ctl")
	c.issue("operator", "op")
	c.startScheduler()
	for i := range agents {
		c.issue("agent", nodeName(i))
		c.http = append(c.http, site.address(agentHost(i)+":3243"))
		c.agents = append(c.agents, nil)
		c.startAgent(i)
	}
	site.give(controllerHost, "controller", c.certs, "controller-ctl")
	c.startController()
	eventually(t, startTime, "all nodes are up", func() bool { return len(c.up()) == agents })
	return c
}

// controllerHost is the address of the example's controller.
const controllerHost = "10.0.0.2"

func nodeName(i int) string { return "node" + string(rune('1'+i)) }

// agentHost is the address of a node. The example's settings are the first one's.
func agentHost(i int) string { return "10.0.0." + string(rune('3'+i)) }

func (c *cluster) run(args ...string) string {
	c.t.Helper()
	text, err := c.desk.command(append([]string{whirlBinary}, args...)...).CombinedOutput()
	if err != nil {
		c.t.Fatalf("whirl %s: %v\n%s", strings.Join(args, " "), err, text)
	}
	return string(text)
}

// admin administers the cluster as an operator does.
func (c *cluster) admin(args ...string) string {
	c.t.Helper()
	pair := filepath.Join(c.certs, "operator-op")
	return c.run(append(append([]string{"admin"}, args...), "--scheduler-http", c.office,
		"--ca", filepath.Join(c.certs, "ca.crt"), "--cert", pair+".crt", "--key", pair+".key")...)
}

// status is what whirl admin status says, as far as tests look at it.
type status struct {
	Nodes []struct {
		Node, State string
		Pools       map[string]int
	}
	Controllers []struct{ Connected bool }
	Actions     []struct {
		Action     string
		Busy, Free int
	}
}

func (c *cluster) status() (s status) {
	c.t.Helper()
	text := c.admin("status", "--json")
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		c.t.Fatalf("the status is %s: %v", text, err)
	}
	return s
}

func (c *cluster) issue(role, name string) { c.issueFor(role, name, "127.0.0.1") }

// issueFor issues a certificate that is good for a host's address, too.
func (c *cluster) issueFor(role, name, address string) {
	c.run("certs", "issue", "--dir", c.certs, "--role", role, "--name", name, "--host", address)
}

// launch runs a role with the certificate of a role and name.
func (c *cluster) launch(role, name string, args ...string) *platform {
	c.t.Helper()
	return c.launchOn(host{}, role, name, args...)
}

// launchOn is launch on a host.
func (c *cluster) launchOn(h host, role, name string, args ...string) *platform {
	c.t.Helper()
	pair := filepath.Join(c.certs, role+"-"+name)
	args = append(args, "--ca", filepath.Join(c.certs, "ca.crt"), "--cert", pair+".crt", "--key", pair+".key")
	return launchBy(c.t, c.data, h.command(append([]string{whirlBinary}, args...)...))
}

func (c *cluster) startScheduler() {
	c.site.give("10.0.0.1", "scheduler", c.certs, "scheduler-s")
	c.leader = c.site.start("scheduler", "10.0.0.1")
	c.awaitWord(c.leader, "is ready on")
}

func (c *cluster) startAgent(i int, flags ...string) {
	c.site.give(agentHost(i), "agent", c.certs, "agent-"+nodeName(i))
	// The machine's own network, from which nothing can be denied: tests look out of the sandboxes.
	args := append(c.stores(agentHost(i)), "--memory", "512m", "--sandbox-network", "host", "--sandbox-denied", "")
	c.agents[i] = c.site.start("agent", agentHost(i), append(args, flags...)...)
	c.awaitWord(c.agents[i], "is ready on")
}

func (c *cluster) startController() {
	c.controller = c.site.start("controller", controllerHost, append(c.stores(controllerHost), unthrottled("--api-metrics", "--pprof")...)...)
	c.controller.connect(c.t, c.site.address(controllerHost+":3233"))
}

func (c *cluster) awaitWord(p *platform, word string) {
	c.t.Helper()
	eventually(c.t, startTime, "a process says "+word, func() bool {
		if p.hasEnded() {
			c.t.Fatalf("a process ended by itself:\n%s", p.output)
		}
		return strings.Contains(p.output.String(), word)
	})
}

// up returns the nodes that the controller knows to be up.
func (c *cluster) up() (nodes []string) {
	var states map[string]string
	if json.Unmarshal(c.controller.sendRaw(c.t, "GET", "/invokers", "", nil).body, &states) != nil {
		c.t.Fatal("/invokers answers no object of strings")
	}
	for node, state := range states {
		if state == "up" {
			nodes = append(nodes, node)
		}
	}
	return nodes
}

// health is what an agent's /health says.
type health struct {
	Healthy    bool
	Containers []struct{ ID, State, Controller string }
}

// health asks an agent as an operator does.
func (c *cluster) health(i int) (h health) {
	c.t.Helper()
	status, body := c.get("operator-op", c.http[i], "/health")
	if err := json.Unmarshal(body, &h); err != nil || status != http.StatusOK {
		c.t.Fatalf("/health: status %d, %v", status, err)
	}
	return h
}

// get asks a role's HTTP surface with a certificate, "" for none.
func (c *cluster) get(holder, address, path string) (status int, body []byte) {
	c.t.Helper()
	authority, err := os.ReadFile(filepath.Join(c.certs, "ca.crt"))
	if err != nil {
		c.t.Fatal(err)
	}
	config := &tls.Config{RootCAs: x509.NewCertPool()}
	config.RootCAs.AppendCertsFromPEM(authority)
	if holder != "" {
		pair := filepath.Join(c.certs, holder)
		certificate, err := tls.LoadX509KeyPair(pair+".crt", pair+".key")
		if err != nil {
			c.t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	transport := &http.Transport{TLSClientConfig: config}
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport}).Get("https://" + address + path)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err = io.ReadAll(res.Body); err != nil {
		c.t.Fatal(err)
	}
	return res.StatusCode, body
}

// holders returns what holds containers there: the controller, in its life.
func (h health) holders() (lives []string) {
	for _, one := range h.Containers {
		if strings.HasPrefix(one.Controller, "ctl/") {
			lives = append(lives, one.Controller)
		}
	}
	return lives
}

// hostOf returns the agent that hosts a container that the controller holds.
func (c *cluster) hostOf() int {
	c.t.Helper()
	for i := range c.agents {
		if len(c.health(i).holders()) > 0 {
			return i
		}
	}
	c.t.Fatal("no agent hosts a container of the controller")
	return 0
}

// TestACluster deploys an action on three processes' worth of platform, and
// takes the scheduler away from under its load: warm calls must not notice. A
// new one picks up what is there. Then it kills the agent that hosts the
// container, under load, and the other node must take over before any call fails.
func TestACluster(t *testing.T) {
	c := startCluster(t, 2)
	native().deploy(t, c.controller, "there", "echo", client.LimitsSpec{Memory: 128})

	activation, err := c.controller.Invoke(t.Context(), "there", nil, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if lines := c.controller.logsOf(t, activation.ID, 2); !strings.Contains(strings.Join(lines, "\n"), "stdout: to stdout") { // the streams' order is open
		t.Errorf("the logs are %q", lines)
	}

	load := c.call("there", 2)
	defer load.end()
	load.more(t, 20, "while all is well")
	before := c.leader.kill(t)
	before.checkGone(t, time.Second)
	load.more(t, 200, "without a scheduler")
	c.startScheduler()
	eventually(t, startTime, "the new scheduler knows both nodes", func() bool { return len(c.up()) == 2 })
	load.more(t, 200, "under the new scheduler")

	// The container outlives its agent, and serves until its lease ends.
	host := c.hostOf()
	c.agents[host].kill(t)
	load.more(t, 100, "by a container without an agent")
	eventually(t, startTime, "the scheduler misses the node", func() bool { return len(c.up()) == 1 })
	eventually(t, startTime, "the other node serves", func() bool { return len(c.health(1-host).holders()) > 0 })
	load.more(t, 50, "by the other node")
	c.startAgent(host)
	eventually(t, startTime, "the node is back", func() bool { return len(c.up()) == 2 })
	load.more(t, 50, "with both nodes")
}

// TestDrainingAClustersNode takes the node out of service that serves an action, under
// load: no call may fail, the node must be emptied, and the other one serve. Then
// it goes the other way, by which the first must be of use again.
func TestDrainingAClustersNode(t *testing.T) {
	c := startCluster(t, 2)
	native().deploy(t, c.controller, "there", "echo", client.LimitsSpec{Memory: 128})
	load := c.call("there", 2)
	defer load.end()
	load.more(t, 20, "while all is well")
	if table := c.admin("status"); !strings.Contains(table, nodeName(0)+" ") || !strings.Contains(table, nodeName(1)+" ") || !strings.Contains(table, "guest/there") {
		t.Errorf("the status is\n%s", table)
	}
	if s := c.status(); len(s.Nodes) != 2 || s.Nodes[0].State != "up" || s.Nodes[1].State != "up" || len(s.Actions) != 1 || s.Actions[0].Action != "guest/there" {
		t.Errorf("the status is %+v", s)
	}

	first := c.hostOf()
	for _, drained := range []int{first, 1 - first} {
		c.admin("agent", "drain", nodeName(drained))
		eventually(t, startTime, "the node is drained", func() bool { return c.status().Nodes[drained].State == "drained" })
		load.more(t, 20, "by the other node")
		if host := c.hostOf(); host == drained {
			t.Errorf("%s is drained, and hosts the action", nodeName(host))
		}
		for pool, count := range c.status().Nodes[drained].Pools {
			if count != 0 {
				t.Errorf("the drained node has %d containers that are %s", count, pool)
			}
		}
		if containers := c.health(drained).Containers; len(containers) != 0 {
			t.Errorf("the drained node's agent has %v", containers)
		}
		eventually(t, startTime, "the controller hears of it", func() bool { return slices.Equal(c.up(), []string{nodeName(1 - drained)}) })
		c.admin("agent", "undrain", nodeName(drained))
		eventually(t, startTime, "the node is back", func() bool { return len(c.up()) == 2 })
	}
}

// TestWhoMayAskAClustersRoles has the roles' HTTP surfaces asked by everybody.
func TestWhoMayAskAClustersRoles(t *testing.T) {
	c := startCluster(t, 1)
	native().deploy(t, c.controller, "there", "echo", client.LimitsSpec{Memory: 128})
	if _, err := c.controller.Invoke(t.Context(), "there", nil, time.Minute); err != nil {
		t.Fatal(err)
	}
	if answer := c.controller.sendRaw(t, "GET", "/metrics", "", nil); answer.status != 200 || !strings.Contains(string(answer.body), `{start="cold",status="success"} 1`) {
		t.Errorf("the API's /metrics: %d %.300s", answer.status, answer.body)
	}
	for _, row := range []struct {
		holder, address, path string
		status                int
		says                  string
	}{
		{"", c.office, "/healthz", 200, "ok"},
		{"", c.office, "/readyz", 200, "ok"},
		{"", c.office, "/metrics", 401, "client certificate"},
		{"", c.office, "/status", 401, "client certificate"},
		{"controller-ctl", c.office, "/metrics", 200, "\nwhirl_scheduler_nodes{state=\"up\"} 1\n"},
		{"controller-ctl", c.office, "/status", 403, "not for controller ctl"},
		{"operator-op", c.office, "/status", 200, nodeName(0)},
		{"operator-op", c.office, "/debug/pprof/", 404, "only /status"},
		{"", c.http[0], "/healthz", 200, "ok"},
		{"", c.http[0], "/readyz", 200, "ok"},
		{"", c.http[0], "/health", 401, "client certificate"},
		{"operator-op", c.http[0], "/metrics", 200, "\nwhirl_agent_healthy 1\n"},
		{"", c.front, "/readyz", 200, "ok"},
		{"", c.front, "/metrics", 401, "client certificate"},
		{"scheduler-s", c.front, "/metrics", 200, "\ncounter_controller_blockingActivation_start_total 1\n"},
		{"scheduler-s", c.front, "/debug/pprof/", 403, "for operators"},
		{"operator-op", c.front, "/debug/pprof/goroutine?debug=1", 200, "goroutine profile"},
		{"operator-op", c.front, "/status", 404, "only /healthz"},
	} {
		if status, body := c.get(row.holder, row.address, row.path); status != row.status || !strings.Contains(string(body), row.says) {
			t.Errorf("%q asks for %s: %d %.300s", row.holder, row.path, status, body)
		}
	}
}

// TestCertificatesAreNotInterchangeable holds that a role's certificate opens
// nothing but what its role may.
func TestCertificatesAreNotInterchangeable(t *testing.T) {
	c := startCluster(t, 1)
	c.issue("agent", "stranger")
	impostor := c.launch("agent", "stranger", "controller", "--listen", freeAddress(t), "--data", t.TempDir(), "--scheduler", c.scheduler)
	impostor.waitForEnd(t, startTime)
	if status := impostor.cmd.ProcessState.ExitCode(); status != 2 || !strings.Contains(impostor.output.String(), "certificate of agent stranger") {
		t.Errorf("a controller with an agent's certificate ended with status %d:\n%s", status, impostor.output)
	}
	misnamed := c.launch("agent", "stranger", "agent", "--node", nodeName(0), "--scheduler", c.scheduler, "--listen", "127.0.0.1:0", "--http", "", "--data", t.TempDir())
	misnamed.waitForEnd(t, startTime)
	if status := misnamed.cmd.ProcessState.ExitCode(); status != 2 || !strings.Contains(misnamed.output.String(), "the certificate is for stranger") {
		t.Errorf("an agent under another's name ended with status %d:\n%s", status, misnamed.output)
	}
	foreign := t.TempDir()
	c.run("certs", "ca", "--dir", foreign)
	c.run("certs", "issue", "--dir", foreign, "--role", "agent", "--name", "foreign")
	pair := filepath.Join(foreign, "agent-foreign")
	outsider := launch(t, foreign, "agent", "--scheduler", c.scheduler, "--listen", "127.0.0.1:0", "--http", "", "--data", foreign,
		"--ca", filepath.Join(foreign, "ca.crt"), "--cert", pair+".crt", "--key", pair+".key")
	c.awaitWord(outsider, "no session with the scheduler")
	c.awaitWord(c.leader, "connection refused")
	if up := c.up(); len(up) != 1 {
		t.Errorf("up are %v", up)
	}
}
