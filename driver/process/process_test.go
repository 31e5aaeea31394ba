// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/driver/process"
	"github.com/whirl-faas/whirl/whisk"
)

// TestMain gives the test binary its other lives: the first process of a
// sandbox, the runtime in it, and programs that tests start beside themselves.
func TestMain(m *testing.M) {
	process.InitKeeper()
	if len(os.Args) > 1 {
		if life, ok := lives[os.Args[1]]; ok {
			life(os.Args[2:])
			return
		}
	}
	os.Exit(m.Run())
}

const kind = "test:1"

var testSpec = whisk.ContainerSpec{Kind: kind, Memory: 128 * whisk.MB}

// needRoot skips a test that an ordinary user cannot run, but not in CI.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		lacking(t, "this test needs root")
	}
}

// lacking skips a test for which this machine lacks something. In CI, which
// sets CI, nothing may be lacking.
func lacking(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// testConfig is a configuration that shares nothing with other tests.
func testConfig(t testing.TB) process.Config {
	dir, err := os.MkdirTemp("", "wp")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	config := process.Default()
	config.Instance = "test_" + filepath.Base(dir)
	config.StateDir = filepath.Join(dir, "s")
	config.Network = process.None
	config.Runtimes = []process.Runtime{{Kind: kind, Argv: []string{"/whirl-self", "whirl-test-runtime"}}}
	return config
}

// openDriver opens a driver that is closed at the end of the test.
func openDriver(t testing.TB, config process.Config) *process.Driver {
	t.Helper()
	driver, err := process.Open(config)
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	t.Cleanup(func() {
		if err := driver.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
	return driver
}

// box is a sandbox of a test, destroyed at its end.
type box struct {
	whisk.Sandbox
	t      testing.TB
	client *http.Client
}

var boxes atomic.Int64

func newBox(t testing.TB, driver whisk.Driver, spec whisk.ContainerSpec) *box {
	t.Helper()
	return newBoxEnv(t, driver, spec, nil)
}

func newBoxEnv(t testing.TB, driver whisk.Driver, spec whisk.ContainerSpec, env map[string]string) *box {
	t.Helper()
	id := whisk.ContainerID(fmt.Sprintf("box_%d", boxes.Add(1)))
	sandbox, err := driver.Create(t.Context(), whisk.CreateSandbox{ID: id, Spec: spec, Env: env})
	if err != nil {
		t.Fatalf("Create = %v", err)
	}
	b := adopt(t, sandbox)
	stdout, stderr := sandbox.Output()
	for _, pipe := range []io.ReadCloser{stdout, stderr} {
		go func() { // ends with the sandbox
			_, _ = io.Copy(io.Discard, pipe)
			pipe.Close()
		}()
	}
	return b
}

func adopt(t testing.TB, sandbox whisk.Sandbox) *box {
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := sandbox.Destroy(ctx); err != nil {
			t.Errorf("Destroy = %v", err)
		}
	})
	b := reach(t, sandbox.Address())
	b.Sandbox = sandbox
	return b
}

// reach returns a box that can be asked only: another process made the sandbox.
func reach(t testing.TB, address whisk.Address) *box {
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var dialer net.Dialer
		return dialer.DialContext(ctx, address.Network, address.Address)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &box{nil, t, &http.Client{Transport: transport, Timeout: 30 * time.Second}}
}

// try has the sandbox do something and decodes what it answers into result.
func (b *box) try(what string, params, result any) error {
	body, err := json.Marshal(map[string]any{"value": params})
	if err != nil {
		return err
	}
	response, err := b.client.Post("http://sandbox/run?do="+what, "application/json", bytes.NewReader(body))
	if err != nil {
		return err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	var failure struct{ Error string }
	if json.Unmarshal(data, &failure) == nil && failure.Error != "" {
		return fmt.Errorf("%s in the sandbox: %s", what, failure.Error)
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(data, result)
}

func (b *box) do(what string, params, result any) {
	b.t.Helper()
	if err := b.try(what, params, result); err != nil {
		b.t.Fatal(err)
	}
}

type values map[string]any

// within waits for a condition and reports whether it came true in time.
func within(patience time.Duration, holds func() bool) bool {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if holds() {
			return true
		}
	}
	return false
}
