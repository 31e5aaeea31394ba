// SPDX-License-Identifier: Apache-2.0

package rpctest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/whirl-faas/whirl/whisk"
)

// orderIsKept sends through all kinds of sessions at once.
func orderIsKept(t *testing.T, start func(*testing.T, Roles) Ends) {
	const count = 2000
	ends := start(t, Roles{
		Controller: echo(func(m whisk.FactoryRequest) whisk.FactoryEvent {
			if withdraw, ok := m.(whisk.Withdraw); ok {
				return whisk.Redirect{Requisition: withdraw.ID, Controller: "other"}
			}
			return nil
		}),
		Agent: echo(func(m whisk.AgentReport) whisk.AgentCommand {
			if alive, ok := m.(whisk.KeepAlive); ok {
				return alive
			}
			return nil
		}),
		Sandbox: echo(func(m whisk.SandboxRequest) whisk.SandboxReply { return whisk.SandboxReply{Seq: m.Seq} }),
		Peer:    echo(func(m whisk.Forward) whisk.ForwardReply { return whisk.ForwardRefused{Seq: m.Seq} }),
	})
	controller, err := ends.ControllerToScheduler(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	agent, err := ends.AgentToScheduler(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sandbox, err := ends.ControllerToAgent(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := ends.ControllerToPeer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	send[whisk.FactoryRequest](t, controller, register())
	send[whisk.AgentReport](t, agent, whisk.NodeReport{Node: Agent})
	var all sync.WaitGroup
	all.Go(func() {
		exchange(t, controller, count, func(n uint64) whisk.FactoryRequest { return whisk.Withdraw{ID: whisk.RequisitionID(n)} },
			func(m whisk.FactoryEvent) uint64 { return uint64(m.(whisk.Redirect).Requisition) })
	})
	all.Go(func() {
		exchange(t, agent, count, func(n uint64) whisk.AgentReport { return whisk.KeepAlive{Epoch: n} },
			func(m whisk.AgentCommand) uint64 { return m.(whisk.KeepAlive).Epoch })
	})
	all.Go(func() {
		exchange(t, sandbox, count, func(n uint64) whisk.SandboxRequest {
			return whisk.SandboxRequest{Seq: n, Op: whisk.Renew, Controller: Controller}
		}, func(m whisk.SandboxReply) uint64 { return m.Seq })
	})
	all.Go(func() {
		exchange(t, peer, count, forward, func(m whisk.ForwardReply) uint64 { return m.(whisk.ForwardRefused).Seq })
	})
	all.Wait()
	ends.Stop()
}

// echo answers each message for which there is an answer that is not nil.
func echo[Out, In any](answer func(In) Out) func(context.Context, whisk.Stream[Out, In]) error {
	return func(ctx context.Context, far whisk.Stream[Out, In]) error {
		for {
			message, err := far.Recv(ctx)
			if err != nil {
				return err
			}
			if reply := answer(message); any(reply) != nil {
				if err := far.Send(ctx, reply); err != nil {
					return err
				}
			}
		}
	}
}

// exchange sends numbered messages and wants their answers in the same order; then it closes.
func exchange[Out, In any](t *testing.T, near whisk.Stream[Out, In], count uint64, message func(uint64) Out, number func(In) uint64) {
	var sender sync.WaitGroup
	sender.Go(func() {
		for n := range count {
			if err := near.Send(t.Context(), message(n)); err != nil {
				t.Errorf("send number %d: %v", n, err)
				return
			}
		}
	})
	for want := range count {
		got, err := near.Recv(t.Context())
		if err != nil {
			t.Errorf("receive number %d: %v", want, err)
			break
		}
		if number(got) != want {
			t.Errorf("answer %d came in place of %d", number(got), want)
			break
		}
	}
	sender.Wait()
	if err := near.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func sendersMayBeMany(t *testing.T, start func(*testing.T, Roles) Ends) {
	const senders, each = 16, 200
	f := newFactory(t, start)
	var all sync.WaitGroup
	for sender := range senders {
		all.Go(func() {
			for n := range each {
				message := whisk.Withdraw{ID: whisk.RequisitionID(sender), Count: n}
				if err := f.near.Send(t.Context(), message); err != nil {
					t.Errorf("send %v: %v", message, err)
					return
				}
			}
		})
	}
	next := map[whisk.RequisitionID]int{}
	for range senders * each {
		got := recv(t, f.far).(whisk.Withdraw)
		if got.Count != next[got.ID] {
			t.Fatalf("sender %d's number %d came in place of %d", got.ID, got.Count, next[got.ID])
		}
		next[got.ID]++
	}
	all.Wait()
	f.stop()
}

func slowReceiverBlocks(t *testing.T, start func(*testing.T, Roles) Ends) {
	f := newFactory(t, start)
	sent := fill(t, f.near, func(n int) whisk.FactoryRequest { return whisk.Withdraw{ID: whisk.RequisitionID(n)} })
	for want := range sent {
		if got := recv(t, f.far).(whisk.Withdraw); int(got.ID) != want {
			t.Fatalf("message %d came in place of %d", got.ID, want)
		}
	}
	// The one that was given up never arrives.
	send[whisk.FactoryRequest](t, f.near, whisk.KeepAlive{Epoch: 9})
	if got := recv(t, f.far); got != (whisk.KeepAlive{Epoch: 9}) {
		t.Fatalf("%v came after the messages that were taken", got)
	}
	sent = fill(t, f.far, func(n int) whisk.FactoryEvent {
		return whisk.Redirect{Requisition: whisk.RequisitionID(n), Controller: "other"}
	})
	for want := range sent {
		if got := recv(t, f.near).(whisk.Redirect); int(got.Requisition) != want {
			t.Fatalf("message %d came in place of %d", got.Requisition, want)
		}
	}
	f.stop()
}

// fill sends until it blocks, gives that up, and returns how many messages were taken.
func fill[Out, In any](t *testing.T, end whisk.Stream[Out, In], message func(int) Out) int {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	sent, result := 0, make(chan error)
	go func() {
		for {
			if err := end.Send(ctx, message(sent)); err != nil {
				result <- err
				return
			}
			sent++
		}
	}()
	synctest.Wait()
	reason := errors.New("no longer")
	cancel(reason)
	if err := <-result; !errors.Is(err, reason) {
		t.Errorf("the blocked send ended with %v, want the context's cause", err)
	}
	if sent == 0 || sent > 100_000 {
		t.Errorf("%d messages were taken, want a bounded number", sent)
	}
	return sent
}

func diallerCloses(t *testing.T, start func(*testing.T, Roles) Ends) {
	f := newFactory(t, start)
	closes[whisk.FactoryRequest, whisk.FactoryEvent](t, f.near, f.far, whisk.KeepAlive{Epoch: 7}, whisk.KeepAlive{})
	f.stop()
}

func serverCloses(t *testing.T, start func(*testing.T, Roles) Ends) {
	f := newFactory(t, start)
	closes[whisk.FactoryEvent, whisk.FactoryRequest](t, f.far, f.near, whisk.KeepAlive{Epoch: 7}, whisk.KeepAlive{})
	f.stop()
}

// closes closes one end, after it sent something, while the other waits.
func closes[A, B any](t *testing.T, closer whisk.Stream[A, B], peer whisk.Stream[B, A], last A, late B) {
	t.Helper()
	const sent = 50
	for range sent {
		send(t, closer, last)
	}
	var twice sync.WaitGroup
	for range 2 {
		twice.Go(func() {
			if err := closer.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
	for n := range sent {
		if got, err := peer.Recv(t.Context()); err != nil || any(got) != any(last) {
			t.Errorf("message %d before the close is %v, %v", n, got, err)
			break
		}
	}
	for range 2 {
		if _, err := peer.Recv(t.Context()); !errors.Is(err, io.EOF) {
			t.Errorf("the peer's Recv ended with %v, want EOF", err)
		}
	}
	twice.Wait()
	if err := peer.Send(t.Context(), late); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the peer's Send ended with %v, want a closed pipe", err)
	}
	if err := closer.Send(t.Context(), last); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("the closer's Send ended with %v, want a closed pipe", err)
	}
	if _, err := closer.Recv(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("the closer's Recv ended with %v, want EOF", err)
	}
}

func handlerReturns(t *testing.T, start func(*testing.T, Roles) Ends) {
	f := newFactory(t, start)
	waiting := make(chan error)
	go func() {
		_, err := f.near.Recv(t.Context())
		waiting <- err
	}()
	synctest.Wait()
	close(f.done)
	if err := <-waiting; !errors.Is(err, io.EOF) {
		t.Errorf("Recv ended with %v, want EOF", err)
	}
	f.stop()
}

func contextEndsWait(t *testing.T, start func(*testing.T, Roles) Ends) {
	f := newFactory(t, start)
	reason := errors.New("tired of waiting")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(reason)
	if _, err := f.near.Recv(ctx); !errors.Is(err, reason) {
		t.Errorf("the dialler's Recv ended with %v, want the context's cause", err)
	}
	if _, err := f.far.Recv(ctx); !errors.Is(err, reason) {
		t.Errorf("the server's Recv ended with %v, want the context's cause", err)
	}
	send[whisk.FactoryRequest](t, f.near, whisk.KeepAlive{Epoch: 1})
	send[whisk.FactoryEvent](t, f.far, whisk.KeepAlive{Epoch: 2})
	if got := recv(t, f.far); got != (whisk.KeepAlive{Epoch: 1}) {
		t.Errorf("the server received %v", got)
	}
	if got := recv(t, f.near); got != (whisk.KeepAlive{Epoch: 2}) {
		t.Errorf("the dialler received %v", got)
	}
	f.stop()
}

func stopEndsSessions(t *testing.T, start func(*testing.T, Roles) Ends) {
	f := newFactory(t, start)
	f.ends.Stop()
	if _, err := f.near.Recv(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("Recv ended with %v, want EOF", err)
	}
	if err := f.near.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if _, err := f.ends.ControllerToScheduler(t.Context()); whisk.KindOf(err) != whisk.Unavailable {
		t.Errorf("after the stop a session opens with %v, want unavailable", err)
	}
}

func manySessions(t *testing.T, start func(*testing.T, Roles) Ends) {
	const sessions, rounds = 200, 5
	ends := start(t, Roles{Controller: echo(func(m whisk.FactoryRequest) whisk.FactoryEvent {
		if alive, ok := m.(whisk.KeepAlive); ok {
			return alive
		}
		return nil
	})})
	var all sync.WaitGroup
	for n := range sessions {
		all.Go(func() {
			near, err := ends.ControllerToScheduler(t.Context())
			if err != nil {
				t.Errorf("open session %d: %v", n, err)
				return
			}
			err = near.Send(t.Context(), whisk.Register{Controller: whisk.ControllerID(fmt.Sprintf("%s/%d", Controller, n))})
			if err != nil {
				t.Errorf("register in session %d: %v", n, err)
			}
			exchange(t, near, rounds, func(round uint64) whisk.FactoryRequest {
				return whisk.KeepAlive{Epoch: uint64(n)<<32 | round}
			}, func(m whisk.FactoryEvent) uint64 {
				epoch := m.(whisk.KeepAlive).Epoch
				if epoch>>32 != uint64(n) {
					t.Errorf("session %d heard an answer to session %d", n, epoch>>32)
				}
				return epoch & (1<<32 - 1)
			})
		})
	}
	all.Wait()
	ends.Stop()
}

func bigMessages(t *testing.T, start func(*testing.T, Roles) Ends) {
	f := newFactory(t, start)
	want := register()
	for n := range 20_000 {
		want.Held = append(want.Held, whisk.HeldContainer{
			Container:   whisk.ContainerID(fmt.Sprintf("wsk1_abcdefgh_%d_a_name_as_long_as_they_get", n)),
			Node:        whisk.NodeID(fmt.Sprintf("node-%d.example.com", n%100)),
			Key:         whisk.ActionKey{Namespace: "guest", Action: whisk.FullName{Namespace: "guest", Package: "tools", Name: "resize"}, Revision: 17, Environment: 1 << 63},
			Concurrency: 1 + n%3,
			Instances:   n % 4,
			State:       whisk.UseState(n % 2),
		})
	}
	var sender sync.WaitGroup
	for range 3 {
		sender.Go(func() {
			if err := f.near.Send(t.Context(), want); err != nil {
				t.Errorf("send: %v", err)
			}
		})
	}
	for range 3 {
		if got := recv(t, f.far); !reflect.DeepEqual(got, want) {
			t.Error("a big message was changed on its way")
		}
	}
	sender.Wait()
	f.stop()
}
