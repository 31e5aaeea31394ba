// SPDX-License-Identifier: Apache-2.0

//go:build e2e && docker

package test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/whirl-faas/whirl/client"
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

	// logs is what agents and controller are told about the log store that they share.
	logs []string
}

// node is a host with an agent.
type node struct {
	host
	name  string
	flags []string // of its agent
}

// processSurvives says whether the process driver's sandboxes outlive a killed or upgraded agent.
// What this suite expects of them follows from it.
const processSurvives = false

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
	f.logs = []string{"--logs", filepath.Join(f.data, "logs.db")}
	f.proveRuns(hosts[1], hosts[2])
	f.offer = f.writeFile("runtimes.json", offerOfBoth(t))
	options := f.writeFile("options.json", fmt.Sprintf(`{"Binds": ["%s:/proof"]}`, f.proof))
	f.nodes = []node{
		{host: hosts[dockered],
			flags: []string{"--driver", "docker", "--runtimes", f.offer, "--docker-pull", "never", "--docker-options", options, "--keep-on-stop"}},
		{host: hosts[keeping], flags: []string{"--sandbox-network", "host", "--keep-on-stop"}},
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
	const runtime = `"%[1]s": [{"kind": "%[1]s:%[2]s", "default": true, "image": {"prefix": "whirl", "name": "%[1]s", "tag": "local"}}]`
	return fmt.Sprintf(`{"runtimes": {`+runtime+`, `, "nodejs", version("node", "-p", "process.versions.node.split('.')[0]")) +
		fmt.Sprintf(runtime+`, `, "python", version("python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])")) +
		fmt.Sprintf(runtime+`}}`, "native", "default")
}

// beaconPort is where sandboxes that share their host's network find the beacon, on loopback: no
// fault of the network between hosts keeps a run from being noted.
const beaconPort = "4999"

// proveRuns has the runs on the given hosts noted by the beacon. Containers write to a file that
// is shown to them; see noteProofs.
func (f *fleet) proveRuns(hosts ...host) {
	f.t.Helper()
	f.beacon = startBeacon(f.t)
	for _, h := range hosts {
		var listener net.Listener
		err := h.do(func() (err error) {
			listener, err = net.Listen("tcp", "127.0.0.1:"+beaconPort)
			return err
		})
		if err != nil {
			f.t.Fatal(err)
		}
		server := &http.Server{Handler: f.beacon.server.Config.Handler}
		f.t.Cleanup(func() { server.Close() })
		go func() { _ = server.Serve(listener) }()
	}
	f.proof = f.t.TempDir()
	if err := os.WriteFile(filepath.Join(f.proof, "runs"), nil, 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// noteProofs notes the runs that containers wrote down since it was called last. Nothing may run.
func (f *fleet) noteProofs() {
	f.t.Helper()
	path := filepath.Join(f.proof, "runs")
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.Truncate(path, 0)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	for _, id := range strings.Fields(string(text)) {
		f.beacon.note(id)
	}
}

// provers are programs that note their parameter id, work for their parameter ms, and answer {"id": id}.
var provers = map[string]string{
	"nodejs": `
const fs = require("fs"), http = require("http");
const note = (id) => new Promise((noted, failed) => {
    if (fs.existsSync("/proof")) return noted(fs.appendFileSync("/proof/runs", id + "\n"));
    http.get({ host: "127.0.0.1", port: ` + beaconPort + `, path: "/?id=" + id, agent: false }, (res) => res.resume().on("end", noted)).on("error", failed);
});
async function main({ id, ms }) {
    await note(id);
    await new Promise((done) => setTimeout(done, ms));
    return { id };
}`,
	"python": `
import os, socket, time

def note(id):
    if os.path.isdir('/proof'):
        with open('/proof/runs', 'a') as runs:
            runs.write(id + '\n')
        return
    with socket.create_connection(('127.0.0.1', ` + beaconPort + `)) as beacon:
        beacon.sendall(b'GET /?id=%s HTTP/1.0\r\n\r\n' % id.encode())
        while beacon.recv(4096):
            pass

def main(p):
    note(p['id'])
    time.sleep(p['ms'] / 1000)
    return {'id': p['id']}
`,
	"native": `#!/bin/sh
id=${1#*'"id":"'}
id=${id%%'"'*}
if [ -d /proof ]; then
	echo "$id" >>/proof/runs
else
	bash -c 'exec 3<>/dev/tcp/127.0.0.1/` + beaconPort + ` && printf "GET /?id=%s HTTP/1.0\r\n\r\n" "$0" >&3 && cat <&3 >/dev/null' "$id" || exit 1
fi
printf '{"id": "%s"}\n' "$id"
`,
}

// deployProver makes an action of one of the provers.
func (f *fleet) deployProver(name, family string) {
	f.t.Helper()
	spec := client.ActionSpec{Exec: &client.Exec{Kind: family + ":default", Code: provers[family]}, Limits: &client.LimitsSpec{Memory: 128}}
	if _, err := f.controller.CreateAction(f.t.Context(), name, spec); err != nil {
		f.t.Fatal(err)
	}
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
		"--api", "http://" + f.gateway.address + ":3233", "--data", f.data, "--memory", "512m"}
	f.agents[i] = f.launchOn(n.host, "agent", n.name, append(append(args, f.logs...), n.flags...)...)
	f.awaitWord(f.agents[i], "is ready on")
}

func (f *fleet) startController() {
	f.t.Helper()
	address := f.gateway.address + ":3233"
	f.controller = f.launchOn(f.gateway, "controller", "ctl", "controller", "--listen", address, "--expose-guest", "--data", f.data,
		"--scheduler", f.scheduler, "--runtimes", f.offer)
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
	f.nodes[dockered].flags = f.nodes[dockered].flags[:len(f.nodes[dockered].flags)-1] // not to keep them
	f.upgrade(dockered)
	f.awaitAllUp()
	f.controller.stop(f.t)
	for _, agent := range f.agents {
		agent.stop(f.t)
	}
	f.leader.stop(f.t)
	for _, h := range append([]host{f.desk, f.gateway, f.users}, f.nodes[0].host, f.nodes[1].host, f.nodes[2].host) {
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
	f.agents[i].signal(f.t, syscall.SIGTERM)
	f.agents[i].waitForEnd(f.t, stopTime)
	if status := f.agents[i].cmd.ProcessState.ExitCode(); status != 0 {
		f.t.Errorf("exit status %d after SIGTERM:\n%s", status, f.agents[i].output)
	}
	f.startAgent(i)
}
