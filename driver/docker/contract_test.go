// SPDX-License-Identifier: Apache-2.0

//go:build docker

package docker_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/driver/docker"
	"github.com/whirl-faas/whirl/runtimes/runtimetest"
	"github.com/whirl-faas/whirl/whisk"
)

// TestContract holds the images of scripts/images to what every runtime must do,
// in containers as the driver makes them.
func TestContract(t *testing.T) {
	t.Parallel()
	driver := openDriver(t, testConfig(t))
	for kind, actions := range map[string]runtimetest.Actions{
		"nodejs:local": runtimetest.NodeJS(),
		"python:local": runtimetest.Python(),
		"native:local": runtimetest.Native(),
	} {
		t.Run(kind, func(t *testing.T) {
			runtimetest.Run(t, runtimetest.Runtime{
				Start: func(t testing.TB, env map[string]string) *runtimetest.Proxy {
					return newBox(t, driver, whisk.CreateSandbox{Spec: whisk.ContainerSpec{Kind: kind, Memory: 256 * whisk.MB}, Env: env}).Proxy
				},
				Actions: actions,
			})
		})
	}
}

// openDriver opens a driver that is closed at the end of the test.
func openDriver(t testing.TB, config docker.Config) *docker.Driver {
	t.Helper()
	driver := mustOpen(t, config)
	t.Cleanup(func() {
		if err := driver.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
	return driver
}

// box is a sandbox of a test, destroyed at its end, with its output.
type box struct {
	whisk.Sandbox
	*runtimetest.Proxy
}

var boxes atomic.Int64

func newBox(t testing.TB, driver whisk.Driver, req whisk.CreateSandbox) *box {
	t.Helper()
	if req.ID == "" {
		req.ID = whisk.ContainerID(fmt.Sprint("box_", boxes.Add(1)))
	}
	sandbox, err := driver.Create(t.Context(), req)
	if err != nil {
		t.Fatalf("Create = %v", err)
	}
	return adopt(t, sandbox)
}

func adopt(t testing.TB, sandbox whisk.Sandbox) *box {
	address := sandbox.Address()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		dialer := net.Dialer{Timeout: 5 * time.Second}
		return dialer.DialContext(ctx, address.Network, address.Address)
	}}
	proxy := &runtimetest.Proxy{
		Client: &http.Client{Transport: transport, Timeout: 30 * time.Second},
		Stdout: new(runtimetest.Output), Stderr: new(runtimetest.Output),
	}
	var reads sync.WaitGroup
	stdout, stderr := sandbox.Output()
	reads.Go(func() { _, _ = io.Copy(proxy.Stdout, stdout) })
	reads.Go(func() { _, _ = io.Copy(proxy.Stderr, stderr) })
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := sandbox.Destroy(ctx); err != nil {
			t.Errorf("Destroy = %v", err)
		}
		transport.CloseIdleConnections()
		reads.Wait() // the output ends with the sandbox
	})
	return &box{sandbox, proxy}
}
