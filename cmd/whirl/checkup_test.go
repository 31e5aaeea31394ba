// SPDX-License-Identifier: Apache-2.0

package main

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/whirl-faas/whirl/rpc/certs"
	"github.com/whirl-faas/whirl/whisk"
)

func TestWhereTheSchedulerMayAsk(t *testing.T) {
	for _, row := range []struct{ surface, advertised, want string }{
		{"127.0.0.1:3243", "127.0.0.1:3242", "127.0.0.1:3243"},
		{"127.0.0.1:3243", "10.0.0.2:3242", ""}, // it would ask itself
		{"10.0.0.2:3243", "10.0.0.2:3242", "10.0.0.2:3243"},
		{"0.0.0.0:3243", "10.0.0.2:3242", "10.0.0.2:3243"},
		{"[::]:3243", "[fd00::2]:3242", "[fd00::2]:3243"},
		{":3243", "node2.example.com:3242", "node2.example.com:3243"},
		{"10.0.0.2:0", "10.0.0.2:3242", ""},
		{"", "10.0.0.2:3242", ""},
	} {
		if got := probesAt(row.surface, row.advertised); got != row.want {
			t.Errorf("--http %q, advertised %q: %q, want %q", row.surface, row.advertised, got, row.want)
		}
	}
}

// certified makes the peers of a role with a certificate for name.
func certified(t *testing.T, dir string, role certs.Role, name string) *peers {
	t.Helper()
	if status, _, stderr := run(t, nil, "certs", "issue", "--dir", dir, "--role", string(role), "--name", name); status != statusOK {
		t.Fatal(stderr)
	}
	base := filepath.Join(dir, string(role)+"-"+name)
	opened, err := peerSettings{role: role, files: certs.Files{CA: filepath.Join(dir, "ca.crt"), Cert: base + ".crt", Key: base + ".key"}}.open(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

func TestTheSchedulerAsksAgents(t *testing.T) {
	dir := t.TempDir()
	if status, _, stderr := run(t, nil, "certs", "ca", "--dir", dir); status != statusOK {
		t.Fatal(stderr)
	}
	var answer atomic.Int32
	surface := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		w.WriteHeader(int(answer.Load()))
		if answer.Load() != http.StatusOK {
			_, _ = w.Write([]byte("the engine\nerrs"))
		}
	})
	open := httptest.NewServer(surface)
	defer open.Close()
	sealed := httptest.NewUnstartedServer(surface)
	sealed.TLS = certified(t, dir, certs.Agent, "node1").source.OpenServer("http/1.1")
	sealed.StartTLS()
	defer sealed.Close()

	scheduler := certified(t, dir, certs.Scheduler, "s")
	plain := plainPeers(slog.New(slog.DiscardHandler))
	for name, row := range map[string]struct {
		asker  *peers
		at     string
		node   whisk.NodeID
		answer int32
		kind   whisk.Kind
		want   string // "" for no error
	}{
		"ready":           {scheduler, sealed.Listener.Addr().String(), "node1", http.StatusOK, 0, ""},
		"ready, in plain": {plain, open.Listener.Addr().String(), "node1", http.StatusOK, 0, ""},
		"not ready":       {plain, open.Listener.Addr().String(), "node1", http.StatusServiceUnavailable, whisk.Internal, "answers 503: the engine"},
		"another's":       {scheduler, sealed.Listener.Addr().String(), "node2", http.StatusOK, whisk.Unavailable, "not the agent of node2"},
		"nobody there":    {plain, "127.0.0.1:1", "node1", http.StatusOK, whisk.Unavailable, "refused"},
	} {
		answer.Store(row.answer)
		err := row.asker.askReady(t.Context(), row.node, row.at)
		switch {
		case row.want == "" && err != nil:
			t.Errorf("%s: %v", name, err)
		case row.want != "" && (err == nil || whisk.KindOf(err) != row.kind || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "\n")):
			t.Errorf("%s: %v of kind %v", name, err, whisk.KindOf(err))
		}
	}
}
