// SPDX-License-Identifier: Apache-2.0

//go:build e2e && docker

package test

import (
	"cmp"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// engine is the docker engine that scripts/docker-engine run gave this suite.
type engine struct {
	dir  string
	http *http.Client
}

func newEngine(t *testing.T) engine {
	socket, ok := strings.CutPrefix(os.Getenv("DOCKER_HOST"), "unix://")
	if !ok {
		t.Fatal("DOCKER_HOST names no socket: run this test by scripts/docker-engine run")
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}
	transport := &http.Transport{DialContext: dial}
	t.Cleanup(transport.CloseIdleConnections)
	return engine{cmp.Or(os.Getenv("WHIRL_DOCKER_DIR"), "/var/tmp/whirl-docker"), &http.Client{Transport: transport}}
}

// signal sends the engine a signal, and returns its process.
func (e engine) signal(t *testing.T, signal syscall.Signal) (pid int) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(e.dir, "run/docker.pid"))
	if err == nil {
		pid, err = strconv.Atoi(strings.TrimSpace(string(text)))
	}
	if err == nil {
		err = syscall.Kill(pid, signal)
	}
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// stop ends the engine; its containers go on.
func (e engine) stop(t *testing.T) {
	t.Helper()
	pid := e.signal(t, syscall.SIGTERM)
	eventually(t, stopTime, "the engine ends", func() bool {
		_, there := readProcess(pid)
		return !there
	})
}

func (e engine) start(t *testing.T) {
	t.Helper()
	if out, err := exec.Command("../scripts/docker-engine", "start").CombinedOutput(); err != nil {
		t.Fatalf("start the engine: %v: %s", err, out)
	}
}

// holdsNothing holds that there are no containers and networks of ours.
func (e engine) holdsNothing(t *testing.T) {
	t.Helper()
	for _, path := range []string{"/containers/json?all=1&filters=", "/networks?filters="} {
		res, err := e.http.Get("http://docker" + path + `{"label":["whirl.instance"]}`)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var left []json.RawMessage
		if err := json.NewDecoder(res.Body).Decode(&left); err != nil || len(left) > 0 {
			t.Errorf("the engine still has, %v: %s", err, left)
		}
	}
}

// processesOf returns the processes that run a program.
func processesOf(program string) (pids []string) {
	links, _ := filepath.Glob("/proc/[0-9]*/exe")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && target == program {
			pids = append(pids, filepath.Base(filepath.Dir(link)))
		}
	}
	return pids
}
