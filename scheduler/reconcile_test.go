// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Sessions are served side by side: what an agent said in one that it has given
// up may be read after the first words of the next.
func TestAnEarlierSessionHasNoSay(t *testing.T) {
	cfg := Default()
	ids, err := newIdentities(cfg.Epoch, strings.NewReader("12345"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	s := newState(cfg, ids, slog.New(slog.DiscardHandler), now)
	says := func(id sessionID, containers ...whisk.HostedContainer) []effect {
		return s.handle(now, agentSaid{id, whisk.NodeReport{Node: "n", Memory: whisk.GB, Containers: containers}})
	}
	made := whisk.HostedContainer{
		Container: whisk.Container{ID: "c", Spec: whisk.ContainerSpec{Kind: "nodejs:20", Memory: 256 * whisk.MB}}, Lessee: "ctl", Used: true,
	}
	says(1)
	says(2, made)
	check := func(when string, session sessionID) {
		t.Helper()
		effects := says(1)
		if len(effects) != 1 || effects[0].session != 1 || whisk.KindOf(effects[0].end) != whisk.Conflict {
			t.Errorf("%s: answered with %+v, want the end of session 1", when, effects)
		}
		if s.nodes["n"].session != session || s.containers["c"] == nil {
			t.Errorf("%s: the node has session %d and container %v", when, s.nodes["n"].session, s.containers["c"])
		}
	}
	check("while the later one lasts", 2)
	s.handle(now, sessionEnded{session: 2})
	check("when the later one is over", 0)
}

// What a former leader left to nobody is removed when all had time to report. If
// its agent is silent just then, it goes when the agent is back.
func TestAStrayGoesWhenItsAgentIsBack(t *testing.T) {
	cfg := Default()
	ids, err := newIdentities(cfg.Epoch, strings.NewReader("12345"))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	s := newState(cfg, ids, slog.New(slog.DiscardHandler), now)
	report := agentSaid{1, whisk.NodeReport{Node: "n", Memory: whisk.GB, Containers: []whisk.HostedContainer{{
		Container: whisk.Container{ID: "c", Spec: whisk.ContainerSpec{Kind: "nodejs:20", Memory: 256 * whisk.MB}}, Used: true,
	}}}}
	s.handle(now, report)
	now = now.Add(cfg.Settle - time.Millisecond)
	s.handle(now, sessionEnded{session: 1})
	now = now.Add(time.Second)
	s.handle(now, timePassed{}) // it settles
	report.session = 2
	for _, do := range s.handle(now, report) {
		if m, ok := do.command.(whisk.RemoveContainer); ok && m.Container == "c" {
			return
		}
	}
	t.Errorf("the container is %v and is not removed", s.containers["c"].condition)
}
