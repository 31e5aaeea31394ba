// SPDX-License-Identifier: Apache-2.0

// Package balancer turns invocations into outcomes: it owns the containers that
// one controller holds, the overflow buffer of activations that wait for one,
// and the conversations that both need: /init and /run with the containers, the
// Container Factory Protocol with the scheduler, leases, pauses and logs with
// the agents, single activations with other controllers.
//
// Invariants:
//
//   - A container runs at most the action's concurrency of activations at once,
//     and only those of its action key.
//   - Activations of one action start in the order in which they came. Whoever
//     frees a slot hands it to the oldest that waits, so nobody overtakes; only
//     one that a container or another controller turned away goes back to the
//     head of the queue.
//   - An activation's code is started at most once. It is given to another
//     container only if the first cannot have begun it: the connection was
//     refused, the container answered 503, or it was frozen and stayed so. It
//     comes back from another controller only if it was not sent there, or that
//     one says that it has not begun it.
//   - What is forwarded goes one step: it is run at once, in a container that
//     has the code and a free slot, or is refused.
//   - Nothing starts on an agent's containers unless that agent confirmed our
//     lease lately enough; the scheduler is not needed for what is warm.
//   - Everything that waits is bounded: the overflow by entries, bytes and each
//     activation's StartBy, the conversations by queues that say what they do
//     when full.
//   - Of an action that has containers some activations run, however crowded the
//     machine is, and what a crowd keeps out goes on without being asked again.
//
// Locks: each action has a mutex that guards its containers, its queue and its
// requisitions. Below it come the leaves (the factory's, an agent's and a peer's
// outbox, a container's connections, the crowd's list); the balancer's own mutex, which guards the maps, is
// taken before an action's or alone. None is held across I/O, a callback or a
// send.
//
// docs/state-machines.md draws the life of a container as seen from here.
package balancer
