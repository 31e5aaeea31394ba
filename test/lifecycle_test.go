// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package test

import (
	"bytes"
	"errors"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/client"
	"github.com/whirl-faas/whirl/whisk"
)

// call is a blocking invoke that runs beside the test.
type call struct {
	done   chan struct{} // closed when it has been answered
	record client.Activation
	err    error
}

func startCall(t *testing.T, p *platform, b *beacon, ms int) (*call, whisk.ActivationID) {
	t.Helper()
	c := &call{done: make(chan struct{})}
	go func() {
		defer close(c.done)
		c.record, c.err = p.Invoke(t.Context(), "work", map[string]int{"ms": ms}, 0)
	}()
	return c, b.wait(t)
}

func startWorking(t *testing.T) (*platform, *beacon) {
	t.Helper()
	need(t, "node")
	b := startBeacon(t)
	p := start(t, "--sandbox-network", "host")
	p.create(t, "work", client.ActionSpec{Exec: &client.Exec{Kind: "nodejs:default", Code: b.action()}})
	return p, b
}

// TestSIGTERMDrains wants a running activation to finish, new ones to be
// refused, and everything to be on disk.
func TestSIGTERMDrains(t *testing.T) {
	p, b := startWorking(t)
	running, id := startCall(t, p, b, 2000)
	before := p.footprint(t)
	p.signal(t, syscall.SIGTERM)
	eventually(t, 10*time.Second, "a new activation is refused", func() bool {
		_, err := p.Start(t.Context(), "work", nil)
		return err != nil
	})
	<-running.done
	if running.err != nil || !running.record.Response.Success || running.record.ID != id {
		t.Errorf("the running activation: %+v, %v", running.record, running.err)
	}
	p.waitForEnd(t, stopTime)
	if status := p.cmd.ProcessState.ExitCode(); status != 0 {
		t.Errorf("exit status %d:\n%s", status, p.output)
	}
	before.checkGone(t, 5*time.Second)

	again := startOn(t, p.data)
	record := again.recordOf(t, id, time.Second)
	if logs := again.logsOf(t, id, 1); !record.Response.Success || !strings.HasSuffix(logs[0], "stdout: started") {
		t.Errorf("record %+v, logs %q", record, logs)
	}
	if _, err := again.Action(t.Context(), "work"); err != nil {
		t.Error(err)
	}
}

// TestSecondSignalKills does not wait for a running activation, and leaves the
// cleaning to the next start.
func TestSecondSignalKills(t *testing.T) {
	p, b := startWorking(t)
	running, _ := startCall(t, p, b, 60_000)
	before := p.footprint(t)
	p.signal(t, syscall.SIGTERM)
	eventually(t, 10*time.Second, "the platform drains", func() bool {
		_, err := p.Start(t.Context(), "work", nil)
		return err != nil
	})
	if p.hasEnded() {
		t.Fatalf("the platform did not wait for the running activation:\n%s", p.output)
	}
	p.signal(t, syscall.SIGTERM)
	p.waitForEnd(t, 5*time.Second)
	if status := p.cmd.ProcessState.ExitCode(); status == 0 {
		t.Error("exit status 0 of a platform that was killed")
	}
	<-running.done
	if running.err == nil {
		t.Errorf("the activation was answered: %+v", running.record)
	}
	startOn(t, p.data)
	before.checkGone(t, 10*time.Second)
}

// TestWrongUse wants exit status 2, and words that say what is wrong and what is allowed.
func TestWrongUse(t *testing.T) {
	for name, row := range map[string]struct {
		args []string
		want []string
	}{
		"unknown command":  {[]string{"stand-alone"}, []string{"stand-alone", "standalone"}},
		"unknown flag":     {[]string{"standalone", "--no-such-flag"}, []string{"no-such-flag"}},
		"argument":         {[]string{"standalone", "extra"}, []string{"extra"}},
		"listen":           {[]string{"standalone", "--listen", "nonsense"}, []string{"--listen", "nonsense", "HOST:PORT"}},
		"memory":           {[]string{"standalone", "--memory", "many"}, []string{"--memory", "many"}},
		"too little":       {[]string{"standalone", "--memory", "1m"}, []string{"--memory", "256 MB"}},
		"driver":           {[]string{"standalone", "--driver", "magic"}, []string{"--driver", "magic", "process"}},
		"network":          {[]string{"standalone", "--sandbox-network", "all"}, []string{"--sandbox-network", "none", "host", "outbound"}},
		"key":              {[]string{"standalone", "--auth", "short:key"}, []string{"--auth", "64"}},
		"guest to all":     {[]string{"standalone", "--listen", "0.0.0.0:0"}, []string{"guest key", "--auth", "--expose-guest"}},
		"guest to all, v6": {[]string{"standalone", "--listen", "[::]:0"}, []string{"guest key"}},
		"guest, no host":   {[]string{"standalone", "--listen", ":0"}, []string{"guest key"}},
		"bench kind":       {[]string{"bench", "--kinds", "cobol"}, []string{"cobol", "native, nodejs, python"}},
	} {
		t.Run(name, func(t *testing.T) {
			if row.args[0] == "standalone" {
				row.args = append(row.args, "--data", t.TempDir())
			}
			cmd := exec.CommandContext(t.Context(), whirlBinary, row.args...)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			err := cmd.Run()
			exit, ok := errors.AsType[*exec.ExitError](err)
			if !ok || exit.ExitCode() != 2 {
				t.Errorf("%v, want exit status 2: %s", err, &stderr)
			}
			for _, want := range row.want {
				if !strings.Contains(stderr.String(), want) {
					t.Errorf("%q is not in %q", want, &stderr)
				}
			}
		})
	}
}

// TestStartTellsHowToConnect wants the lines that a newcomer copies.
func TestStartTellsHowToConnect(t *testing.T) {
	p := start(t)
	for _, want := range []string{
		p.url,
		"wsk property set --apihost " + p.url + " --auth " + guestKey,
		"curl -u " + guestKey,
		"native:default",
	} {
		eventually(t, 5*time.Second, want+" is in the output", func() bool { return strings.Contains(p.output.String(), want) })
	}
}

// TestOwnKeyReplacesTheGuests wants --auth to be the only key, on any address.
func TestOwnKeyReplacesTheGuests(t *testing.T) {
	own := "12345678-0000-0000-0000-000000000000:" + strings.Repeat("k", whisk.KeyLength)
	p := start(t, "--auth", own)
	if _, err := p.Namespaces(t.Context()); refused(t, err).Status != 401 {
		t.Errorf("the guest key: %v", err)
	}
	mine, err := client.New(client.Config{APIHost: p.url, Auth: own})
	if err != nil {
		t.Fatal(err)
	}
	defer mine.Close()
	if names, err := mine.Namespaces(t.Context()); err != nil || len(names) != 1 || names[0] != "guest" {
		t.Errorf("got %v, %v", names, err)
	}
}
