// SPDX-License-Identifier: Apache-2.0

//go:build e2e && docker

package test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fleet is a cluster on hosts of its own: a scheduler, a controller, agents and users, each in
// another network namespace. They share files alone.
type fleet struct {
	*cluster
	gateway host   // of the controller
	users   host   // of the clients
	nodes   []node // as the cluster counts its agents
	offer   string // a file: the kinds, and the images of them
	engine  engine
	beacon  *beacon
	proof   string // directory in which containers write down their runs
	logs    string // the log store that agents and controller share: the controller's file
}

// node is a host with an agent.
type node struct {
	host
	name  string
	flags []string // of its agent
}

// processSurvives says whether the process driver's sandboxes outlive a killed or upgraded agent.
// What this suite expects of them follows from it.
const processSurvives = true

// keep has an agent leave its containers to the next one. It is its last flag.
const keep = "--keep-on-stop"

// The nodes by what their agents are.
const (
	dockered = iota // docker's containers
	keeping         // sandboxes of processes, left to the next agent where that works
	plain           // sandboxes of processes, removed at a stop
)

func startFleet(t *testing.T) *fleet {
	t.Helper()
	if os.Getenv("WHIRL_PRIVATE_NETWORK") == "" {
		t.Fatal("this test changes the network and stops the docker engine: run it by scripts/docker-engine run")
	}
	need(t, "node", "python3", "bash")
	hosts := startHosts(t, true, "10.77.0.11", "10.77.0.12", "10.77.0.13", "10.77.0.1", "10.77.0.2", "10.77.0.3")
	f := &fleet{cluster: &cluster{t: t, certs: t.TempDir(), data: t.TempDir()}, gateway: hosts[4], users: hosts[5], engine: newEngine(t)}
	f.desk = hosts[3]
	f.scheduler, f.office = f.desk.address+":3240", f.desk.address+":3241"
	f.logs = filepath.Join(f.data, "logs.db")
	f.proveRuns(hosts[1], hosts[2])
	f.offer = f.writeFile("runtimes.json", offerOfBoth(t))
	options := f.writeFile("options.json", fmt.Sprintf(`{"Binds": ["%s:/proof"]}`, f.proof))
	f.nodes = []node{
		{host: hosts[dockered],
			flags: []string{"--driver", "docker", "--runtimes", f.offer, "--docker-pull", "never", "--docker-options", options, keep}},
		{host: hosts[keeping], flags: []string{"--sandbox-network", "host", keep}},
		{host: hosts[plain], flags: []string{"--sandbox-network", "host"}},
	}
	f.run("certs", "ca", "--dir", f.certs)
	f.issueFor("scheduler", "s", f.desk.address)
	f.issueFor("operator", "op", f.desk.address)
	f.issueFor("controller", "ctl", f.gateway.address)
	f.startScheduler()
	f.agents = make([]*platform, len(f.nodes))
	for i := range f.nodes {
		f.nodes[i].name = nodeName(i)
		f.issueFor("agent", f.nodes[i].name, f.nodes[i].address)
		f.startAgent(i)
	}
	f.startController()
	f.awaitAllUp()
	return f
}

func (f *fleet) writeFile(name, content string) (path string) {
	path = filepath.Join(f.data, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		f.t.Fatal(err)
	}
	return path
}

// offerOfBoth offers what the process driver finds on this machine under the names that it has
// there, and has docker take the images of scripts/images for it.
func offerOfBoth(t *testing.T) string {
	version := func(program string, args ...string) string {
		text, err := exec.Command(program, args...).Output()
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(text))
	}
	var families []string
	for name, version := range map[string]string{
		"nodejs": version("node", "-p", "process.versions.node.split('.')[0]"),
		"python": version("python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"),
		"native": "default",
	} {
		families = append(families, fmt.Sprintf(`"%[1]s": [{"kind": "%[1]s:%[2]s", "default": true, "image": {"prefix": "whirl", "name": "%[1]s", "tag": "local"}}]`, name, version))
	}
	return `{"runtimes": {` + strings.Join(families, ", ") + `}}`
}

func (f *fleet) startScheduler() {
	f.t.Helper()
	f.leader = f.launchOn(f.desk, "scheduler", "s", "scheduler", "--listen", f.scheduler, "--http", f.office, "--runtimes", f.offer, "--placement", "least-loaded")
	f.awaitWord(f.leader, "is ready on")
}

// startAgent starts an agent with room for four containers.
func (f *fleet) startAgent(i int) {
	f.t.Helper()
	n := f.nodes[i]
	args := []string{"agent", "--scheduler", f.scheduler, "--listen", n.address + ":3242", "--http", n.address + ":3243", "--publish", n.address,
		"--api", "http://" + f.gateway.address + ":3233", "--data", f.data, "--logs", f.logs, "--memory", "512m", "--sandbox-denied", ""}
	begun := time.Now()
	f.agents[i] = f.launchOn(n.host, "agent", n.name, append(args, n.flags...)...)
	f.awaitWord(f.agents[i], "is ready on")
	f.t.Logf("the agent of %s was ready after %.1f s", n.name, time.Since(begun).Seconds())
}

func (f *fleet) startController() {
	f.t.Helper()
	address := f.gateway.address + ":3233"
	f.controller = f.launchOn(f.gateway, "controller", "ctl", unthrottled("controller", "--listen", address, "--expose-guest", "--data", f.data,
		"--scheduler", f.scheduler, "--runtimes", f.offer)...)
	f.controller.connect(f.t, f.users.forward(f.t, address))
}

// awaitAllUp waits until all roles know all nodes to be up.
func (f *fleet) awaitAllUp() {
	f.t.Helper()
	eventually(f.t, recovery, "the controller knows all nodes to be up", func() bool { return len(f.up()) == len(f.nodes) })
}

// pools returns how many containers a node has, by what they are at, as the scheduler sees it.
func (f *fleet) pools(i int) map[string]int {
	f.t.Helper()
	for _, n := range f.status().Nodes {
		if n.Node == f.nodes[i].name {
			return n.Pools
		}
	}
	return nil
}

// stop stops all roles in order, and holds that nothing of them is left.
func (f *fleet) stop() {
	f.t.Helper()
	for i := range f.nodes {
		flags := &f.nodes[i].flags
		if last := len(*flags) - 1; (*flags)[last] == keep {
			*flags = (*flags)[:last]
			f.upgrade(i)
		}
	}
	f.awaitAllUp()
	f.controller.stop(f.t)
	for _, agent := range f.agents {
		agent.stop(f.t)
	}
	f.leader.stop(f.t)
	for _, h := range append(f.others(dockered), f.nodes[dockered].host) {
		h.noTables(f.t)
	}
	f.engine.holdsNothing(f.t)
	if left := processesOf(whirlBinary); len(left) > 0 {
		f.t.Errorf("these processes are left: %v", left)
	}
}

// upgrade stops an agent that keeps its containers, and starts the next one.
func (f *fleet) upgrade(i int) {
	f.t.Helper()
	begun := time.Now()
	f.agents[i].signal(f.t, syscall.SIGTERM)
	f.agents[i].waitForEnd(f.t, stopTime)
	f.t.Logf("the agent of %s stopped within %.1f s", f.nodes[i].name, time.Since(begun).Seconds())
	if status := f.agents[i].cmd.ProcessState.ExitCode(); status != 0 {
		f.t.Errorf("exit status %d after SIGTERM:\n%s", status, f.agents[i].output)
	}
	f.startAgent(i)
}
