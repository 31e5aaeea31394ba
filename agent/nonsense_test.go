// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/rpc/inmem"
	"github.com/whirl-faas/whirl/whisk"
)

// babble makes commands and requests that are well formed, and otherwise anything:
// of epochs that are over, twice, about containers of others and of nobody, with
// impossible numbers.
type babble struct{ *rand.Rand }

func pick[T any](b babble, from ...T) T { return from[b.IntN(len(from))] }

func (b babble) container() whisk.ContainerID {
	return pick[whisk.ContainerID](b, "a", "a", "b", "b", "c", "d", "never", "")
}

func (b babble) controller() whisk.ControllerID {
	return pick[whisk.ControllerID](b, "", "one", "one", "two", "nobody")
}

func (b babble) size() whisk.Bytes {
	return pick(b, 128*whisk.MB, 128*whisk.MB, 256*whisk.MB, 1, 0, -1, -whisk.GB, 1<<62, math.MaxInt64)
}

func (b babble) epoch() uint64 { return pick[uint64](b, 3, 3, 3, 3, 3, 2, 0) }

func (b babble) command() whisk.AgentCommand {
	switch b.IntN(9) {
	case 0, 1, 2:
		return whisk.CreateContainer{
			Epoch: b.epoch(), Container: b.container(), Lessee: b.controller(),
			Spec: whisk.ContainerSpec{Kind: pick(b, "fake:1", "fake:1", "fake:1", "unknown", ""), Memory: b.size()},
		}
	case 3, 4:
		return whisk.GrantLease{Epoch: b.epoch(), Container: b.container(), From: b.controller(), To: b.controller(), Order: b.Uint64N(4)}
	case 5:
		return whisk.DrainNode{Epoch: b.epoch(), Drain: b.IntN(2) == 0}
	case 6:
		return whisk.KeepAlive{Epoch: b.epoch()}
	}
	return whisk.RemoveContainer{Epoch: b.epoch(), Container: b.container(), Lessee: b.controller()}
}

func (b babble) request() whisk.SandboxRequest {
	return whisk.SandboxRequest{
		Seq: b.Uint64N(5), Op: whisk.SandboxOp(b.IntN(6)), Controller: b.controller(), Container: b.container(),
		Logs: whisk.LogRequest{
			Activation: pick[whisk.ActivationID](b, "x", "y"), Namespace: "guest", Run: pick[uint64](b, 0, 1, 1, 2, 3, 1<<19, math.MaxUint64),
			Limit: b.size(), Sentinels: b.IntN(2) == 0, Failed: b.IntN(2) == 0,
		},
	}
}

// raving is a scheduler and controllers that talk nonsense to an agent.
type raving struct {
	babble
	n           *node
	controllers []whisk.ControllerToAgent
	talking     sync.WaitGroup
}

// join has another controller talk. Whatever it is answered is thrown away.
func (r *raving) join() {
	here, there := inmem.Pipe[whisk.SandboxRequest, whisk.SandboxReply]()
	r.talking.Go(func() { _ = r.n.agent.ServeController(r.n.t.Context(), there) }) // an error if it did not begin well
	r.talking.Go(func() {
		for {
			if _, err := here.Recv(r.n.t.Context()); err != nil {
				return
			}
		}
	})
	if r.IntN(8) > 0 {
		_ = here.Send(r.n.t.Context(), whisk.SandboxRequest{Op: whisk.Renew, Controller: pick[whisk.ControllerID](r.babble, "one", "two")})
	}
	r.controllers = append(r.controllers, here)
}

// turn says one thing. What cannot be said, as the session has ended, is not.
func (r *raving) turn() {
	ctx, cancel := context.WithTimeout(r.n.t.Context(), time.Second)
	defer cancel()
	switch r.IntN(30) {
	case 0:
		r.join()
	case 1:
		_ = r.n.current.Close()
	case 2:
		_ = r.controllers[r.IntN(len(r.controllers))].Close()
	case 3:
		time.Sleep(time.Duration(r.Int64N(int64(20 * time.Second))))
	case 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14:
		_ = r.controllers[r.IntN(len(r.controllers))].Send(ctx, r.request())
	default:
		_ = r.n.current.Send(ctx, r.command())
	}
}

// listen takes what the agent says, and its next session if there is one.
func (r *raving) listen() {
	for {
		select {
		case r.n.current = <-r.n.sessions:
		case <-r.n.current.reports:
		default:
			return
		}
	}
}

// rave plays one course of nonsense. The agent must stay well, sell no memory
// that it has not, and leave nothing in the end.
func rave(t *testing.T, seed uint64, turns int) {
	inBubble(t, nil, func(n *node) {
		n.session()
		r := &raving{babble: babble{rand.New(rand.NewPCG(seed, 5))}, n: n}
		r.join()
		for range turns {
			r.turn()
			synctest.Wait()
			r.listen()
			status, sum := n.agent.Status(), whisk.Bytes(0)
			for _, c := range status.Containers {
				sum += c.Spec.Memory
				if c.Spec.Memory <= 0 {
					n.t.Fatalf("seed %d: a container of %v was made", seed, c.Spec.Memory)
				}
			}
			if sum != status.Used || status.Used > status.Memory {
				n.t.Fatalf("seed %d: %v are used, containers have %v, there are %v", seed, status.Used, sum, status.Memory)
			}
		}
		for _, c := range r.controllers {
			_ = c.Close()
		}
		r.talking.Wait()
	})
}

func TestNonsense(t *testing.T) {
	for seed := range uint64(60) {
		rave(t, seed, 150)
	}
}

func FuzzNonsense(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) { rave(t, seed, 150) })
}
