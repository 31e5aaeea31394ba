// SPDX-License-Identifier: Apache-2.0

// Package sim runs whole clusters in simulated time: several controllers'
// balancers, a scheduler, and agents with the fake driver, connected in memory.
//
// It is made for testing/synctest bubbles, where hours pass in milliseconds. A
// [Storm] is what happens to a [Cluster]: the load, and its faults. Sessions are
// cut, slow, or stand still one way or both, longer than a lease; schedulers
// restart, or lead beside their successors; controllers are killed, and lose each
// other while they forward activations; agents are killed and upgraded and take
// their containers over, or lose them with their node; nodes are drained; engines
// and the log store fail; actions are updated, and may run in other numbers of
// containers then. A seed decides all of it. [Play] plays a storm, and then
// wants every action to work again. [Check] holds what happened against the rules
// of docs/architecture.md; it reads the history that the fake drivers wrote, the
// messages, what went to the containers, and the outcomes that callers got. Of the
// components' own books it believes one line: whose a container is by its agent's
// word.
//
// The tests of this package also play whole controllers that accept activations
// on a store which they share, and hold what came of it against what they promised.
package sim
