// SPDX-License-Identifier: Apache-2.0

//go:build e2e && docker

package test

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/whirl-faas/whirl/client"
)

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
	for id := range strings.FieldsSeq(string(text)) {
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
