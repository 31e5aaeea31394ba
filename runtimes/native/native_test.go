// SPDX-License-Identifier: Apache-2.0

package native_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/whirl-faas/whirl/runtimes/native"
	"github.com/whirl-faas/whirl/runtimes/runtimetest"
)

// TestMain lets the test binary stand for the program that drivers start.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "native-proxy" {
		os.Exit(serve())
	}
	os.Exit(m.Run())
}

func serve() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	config, err := native.Inherit(os.Environ())
	if err == nil {
		err = native.Run(ctx, config)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// start starts the proxy as the process driver does.
func start(t testing.TB, env map[string]string) *runtimetest.Proxy {
	all := map[string]string{"GOMAXPROCS": "1"}
	maps.Copy(all, env)
	return runtimetest.Process(t, []string{"/proc/self/exe", "native-proxy"}, nil, all)
}

func TestNativeKeepsTheContract(t *testing.T) {
	runtimetest.Run(t, runtimetest.Runtime{Start: start, Actions: runtimetest.Native()})
}
