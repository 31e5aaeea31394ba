// SPDX-License-Identifier: Apache-2.0

package rpctest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// forward is an activation on its way to another controller.
func forward(seq uint64) whisk.Forward {
	return whisk.Forward{
		Seq: seq, Controller: Controller, Activation: whisk.ActivationID(fmt.Sprintf("%032x", seq)),
		Key:     whisk.ActionKey{Namespace: "guest", Action: whisk.FullName{Namespace: "guest", Name: "resize"}, Revision: 17, Environment: 1 << 63},
		Timeout: time.Minute, Logs: whisk.MB, ResultLimit: whisk.MB, Sentinels: true, Run: []byte(`{"value":{}}`),
	}
}

// bigBodies has an activation's parameters and its result be as large as they get.
func bigBodies(t *testing.T, start func(*testing.T, Roles) Ends) {
	const size = 4 << 20
	ends := start(t, Roles{Peer: echo(func(m whisk.Forward) whisk.ForwardReply {
		return whisk.ForwardEnded{Seq: m.Seq, Response: whisk.Response{Result: m.Run, Size: len(m.Run)}}
	})})
	near, err := ends.ControllerToPeer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var sender sync.WaitGroup
	sender.Go(func() {
		for seq := range uint64(3) {
			want := forward(seq)
			want.Run = fmt.Appendf(nil, `{"value":"%0*d"}`, size, seq)
			if err := near.Send(t.Context(), want); err != nil {
				t.Errorf("send: %v", err)
			}
		}
	})
	for seq := range uint64(3) {
		got := recv(t, near).(whisk.ForwardEnded)
		if want := fmt.Sprintf(`{"value":"%0*d"}`, size, seq); got.Seq != seq || string(got.Response.Result) != want || got.Response.Size != len(want) {
			t.Errorf("number %d came back as number %d with %d bytes, want %d", seq, got.Seq, len(got.Response.Result), len(want))
		}
	}
	sender.Wait()
	if err := near.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	ends.Stop()
}
