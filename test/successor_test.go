// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package test

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/client"
	"github.com/whirl-faas/whirl/whisk"
)

// counting is a nodejs program that counts its runs. It calls the beacon when it has begun,
// prints a line after its parameter ms, and answers.
func counting(b *beacon) string {
	return fmt.Sprintf(`
let runs = 0;
function main(p) {
    return new Promise((resolve, reject) => {
        const url = "%s/?id=" + process.env.__OW_ACTIVATION_ID;
        require("http").get(url, { agent: false }, (res) => {
            res.resume();
            setTimeout(() => { console.log("run", ++runs); resolve({ runs }) }, p.ms || 0);
        }).on("error", reject);
    });
}`, b.server.URL)
}

// isWarm reports whether an activation found its action initialised.
func isWarm(record client.Activation) bool {
	return !record.Annotations.Truthy("initTime")
}

// TestAnAgentsSuccessor kills a process agent in the middle of a run, while its container is
// frozen, and upgrades it: the container goes on each time, and what it prints is not lost.
func TestAnAgentsSuccessor(t *testing.T) {
	need(t, "node")
	b := startBeacon(t)
	c := startCluster(t, 1)
	spec := client.ActionSpec{Exec: &client.Exec{Kind: "nodejs:default", Code: counting(b)}, Limits: &client.LimitsSpec{Memory: 128}}
	c.controller.create(t, "count", spec)
	runs := 0
	invoke := func(when string, ms int) whisk.ActivationID {
		record, err := c.controller.Invoke(t.Context(), "count", map[string]int{"ms": ms}, time.Minute)
		if runs++; err != nil || string(record.Response.Result) != fmt.Sprintf(`{"runs":%d}`, runs) || isWarm(record) != (runs > 1) {
			t.Errorf("%s: %s, annotations %+v, %v; want run %d of one container", when, record.Response.Result, record.Annotations, err, runs)
		}
		return record.ID
	}
	logged := func(id whisk.ActivationID, run int) {
		t.Helper()
		if lines := c.controller.logsOf(t, id, 1); !strings.HasSuffix(lines[0], fmt.Sprint("stdout: run ", run)) {
			t.Errorf("the logs are %q", lines)
		}
	}
	logged(invoke("at first", 0), 1)
	<-b.ran

	under := make(chan whisk.ActivationID, 1)
	go func() { under <- invoke("killed in the middle of a run", 3000) }()
	<-b.ran
	c.agents[0].kill(t)
	c.startAgent(0)
	logged(<-under, 2)
	logged(invoke("under the next agent", 0), 3)

	eventually(t, startTime, "the container is frozen", func() bool {
		return slices.ContainsFunc(c.health(0).Containers, func(one struct{ ID, State, Controller string }) bool {
			return one.State == "suspended" && one.Controller != ""
		})
	})
	c.agents[0].kill(t)
	c.startAgent(0, "--keep-on-stop")
	logged(invoke("killed while the container was frozen", 0), 4)

	upgraded := c.agents[0]
	upgraded.signal(t, syscall.SIGTERM)
	upgraded.waitForEnd(t, stopTime)
	if status := upgraded.cmd.ProcessState.ExitCode(); status != 0 {
		t.Errorf("exit status %d after SIGTERM:\n%s", status, upgraded.output)
	}
	c.startAgent(0)
	logged(invoke("after an upgrade", 0), 5)
}
