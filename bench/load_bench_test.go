// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"github.com/whirl-faas/whirl/whisk"
)

// BenchmarkSend is one request of one connection, with the lightest server
// there is on the other end: half of the time is the server's and the kernel's.
func BenchmarkSend(b *testing.B) {
	path := filepath.Join(b.TempDir(), "server.sock")
	listener, err := net.Listen("unix", path)
	if err != nil {
		b.Fatal(err)
	}
	answer := []byte(`{"activationId":"0123456789abcdef0123456789abcdef","annotations":[{"key":"path","value":"guest/noop"},` +
		`{"key":"waitTime","value":2},{"key":"kind","value":"nodejs:20"}],"response":{"status":"success","success":true,"result":{"ok":true}}}`)
	server := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) { ctx.SetBody(answer) }}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	defer func() { _ = server.Shutdown(); <-done }()

	l := newLoad(b.Context(), target{
		addresses: []whisk.Address{{Network: "unix", Address: path}},
		auth:      "Basic dXVpZDpzZWNyZXQ=",
		calls: []call{{
			uri:  "http://server/api/v1/namespaces/_/actions/noop?blocking=true",
			body: []byte("{}"), want: []byte(`"ok"`),
		}},
		judge: judgeRecord,
	}, 1, time.Minute)
	defer l.close()
	send, sum := l.sender(0), newTally()
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		said := send(0)
		if said.fault != "" {
			b.Fatal(said.fault)
		}
		sum.add(time.Since(start), said)
	}
}
