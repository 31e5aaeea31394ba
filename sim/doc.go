// SPDX-License-Identifier: Apache-2.0

// Package sim runs whole clusters in simulated time: several controllers'
// balancers, a scheduler, and agents with the fake driver, connected in memory.
//
// It is made for testing/synctest bubbles, where hours pass in milliseconds. A
// [Cluster] can be hurt while it works: sessions are cut, nodes cut off, the
// scheduler restarted, controllers and agents killed. A seed decides the load
// and the faults. [Check] holds what happened against the rules of
// docs/architecture.md; it reads the history that the fake drivers wrote and the
// outcomes that callers got, and trusts no component's own books.
package sim
