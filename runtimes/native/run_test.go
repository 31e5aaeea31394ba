// SPDX-License-Identifier: Apache-2.0

package native_test

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/whirl-faas/whirl/runtimes/native"
	"github.com/whirl-faas/whirl/runtimes/runtimetest"
)

// Run serves in this process here, so that its end is seen.
func TestRunEndsWithItsContext(t *testing.T) {
	for _, test := range []struct {
		name string
		code runtimetest.Code
	}{
		{"a program that is started anew", script("echo begin >&2; sleep 1000 & wait")},
		{"a program that stays", loopAction(ack + "read -r line; echo begin >&2; sleep 1000")},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			listener, err := net.Listen("unix", filepath.Join(dir, "socket"))
			if err != nil {
				t.Fatal(err)
			}
			proxy, stdout, stderr := runtimetest.Serving(t, listener.Addr().String())
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() {
				ended <- native.Run(ctx, native.Config{
					Listener: listener, Dir: filepath.Join(dir, "action"), Env: os.Environ(), Stdout: stdout, Stderr: stderr,
				})
			}()
			proxy.MustInit(t, test.code, nil)
			answered := make(chan runtimetest.Reply, 1)
			go func() { answered <- proxy.Run(t, map[string]any{}, nil) }()
			proxy.Stderr.Await(t, "begin\n")
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
			if reply := <-answered; reply.Status == http.StatusOK {
				t.Errorf("the killed run got %d %s", reply.Status, reply.Body)
			}
		})
	}
}

func TestRunReportsABrokenListener(t *testing.T) {
	listener, err := net.Listen("unix", filepath.Join(t.TempDir(), "socket"))
	if err != nil {
		t.Fatal(err)
	}
	listener.Close()
	if native.Run(t.Context(), native.Config{Listener: listener}) == nil {
		t.Error("it reports nothing")
	}
}

func TestInheritWantsAListeningSocket(t *testing.T) {
	for _, fd := range []string{"x", "-1", "999"} {
		if _, err := native.Inherit([]string{"WHIRL_LISTEN_FD=" + fd}); err == nil {
			t.Errorf("it takes %q", fd)
		}
	}
}
