// SPDX-License-Identifier: Apache-2.0

//go:build docker

package docker_test

import (
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/driver/docker"
)

// images are those that scripts/images makes.
var images = map[string]string{
	"nodejs:local": "whirl/nodejs:local",
	"python:local": "whirl/python:local",
	"native:local": "whirl/native:local",
}

var instances atomic.Int64

// testConfig is a configuration that shares nothing with other tests.
func testConfig(t testing.TB) docker.Config {
	t.Helper()
	if os.Getenv("DOCKER_HOST") == "" {
		t.Fatal("DOCKER_HOST must name a docker engine: run scripts/docker-engine run go test -tags docker ./driver/docker")
	}
	config := docker.Default()
	config.Instance = fmt.Sprintf("test-%d-%d", os.Getpid(), instances.Add(1))
	config.StateDir = t.TempDir() + "/state"
	config.Images = images
	config.Pull = docker.PullMissing
	config.Trial = false
	config.Grace = 20 * time.Second
	if testing.Verbose() {
		config.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	return config
}

// mustOpen opens a driver that the caller closes.
func mustOpen(t testing.TB, config docker.Config) *docker.Driver {
	t.Helper()
	driver, err := docker.Open(config)
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	return driver
}
