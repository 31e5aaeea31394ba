// SPDX-License-Identifier: Apache-2.0

//go:build e2e && docker

package test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/client"
)

const dockerManifest = `{"runtimes": {"nodejs": [
  {"kind": "nodejs:local", "default": true, "image": {"prefix": "whirl", "name": "nodejs", "tag": "local"}}]}}`

// TestADockerAgentsDeath kills the agent of another host under a run, which must not notice, and
// starts the next one, which must keep the container for its controller.
func TestADockerAgentsDeath(t *testing.T) {
	if os.Getenv("WHIRL_PRIVATE_NETWORK") == "" {
		t.Fatal("this test changes the network: run it by scripts/docker-engine run")
	}
	manifest := filepath.Join(t.TempDir(), "runtimes.json")
	if err := os.WriteFile(manifest, []byte(dockerManifest), 0o600); err != nil {
		t.Fatal(err)
	}
	s := startSpread(t, startHosts(t, true, "10.77.0.1", "10.77.0.11"),
		[]string{"--driver", "docker", "--runtimes", manifest, "--docker-pull", "never"}, manifest)
	p := s.controllers[1]
	code := `let runs = 0; function main({ms}) { return new Promise((done) => setTimeout(() => done({runs: ++runs}), ms || 0)) }`
	spec := client.ActionSpec{Exec: &client.Exec{Kind: "nodejs:default", Code: code}, Limits: &client.LimitsSpec{Memory: 256}}
	if _, err := p.CreateAction(t.Context(), "count", spec); err != nil {
		t.Fatal(err)
	}
	call := func(ms int) string {
		got, err := p.Result(t.Context(), "count", map[string]int{"ms": ms}, time.Minute)
		if err != nil {
			t.Errorf("a call failed: %v", err)
		}
		return string(got)
	}
	if got := call(0); got != `{"runs":1}` {
		t.Fatalf("the first call answered %s", got)
	}
	before := s.permitted()
	if len(before) != 1 || before[s.hosts[1].address] == 0 {
		t.Fatalf("the firewall lets in %v, want %s alone", before, s.hosts[1].address)
	}

	answer := make(chan string, 1)
	go func() { answer <- call(6000) }()
	eventually(t, startTime, "the run begins", func() bool {
		actions := s.status().Actions
		return len(actions) == 1 && actions[0].Busy == 1
	})
	s.agent.kill(t)
	select {
	case got := <-answer:
		t.Errorf("the run ended with its agent: %s", got)
	default:
	}
	s.startAgent()
	if got := <-answer; got != `{"runs":2}` {
		t.Errorf("the run over the agent's death answered %s", got)
	}
	if got := call(0); got != `{"runs":3}` {
		t.Errorf("the next call answered %s, the container was not kept", got)
	}
	if after := s.permitted(); len(after) != 1 || after[s.hosts[1].address] != before[s.hosts[1].address] {
		t.Errorf("the firewall lets in %v, it let in %v", after, before)
	}
	s.agent.stop(t)
	s.hosts[0].noTables(t)
}
