// SPDX-License-Identifier: Apache-2.0

// Package schedulerload measures a scheduler alone: it plays the agents and the
// controllers of a whole cluster, and no container is ever made. What it talks
// to is given as functions that open sessions, so that the scheduler may be a
// process of its own behind gRPC, or part of this one.
//
// Its agents and controllers keep the protocols' rules, and carry out at once
// what they are asked to, but a creation takes as long as the configuration
// says. So the time from a requisition to its allocation, less what the
// creation took, is the scheduler's and the transport's alone.
//
// A rate is kept whatever the answers do: a requisition's time counts from
// when it was due, and not from when it was sent, so that a scheduler that
// stalls pays for all that it keeps waiting. docs/performance/scheduler.md has figures.
package schedulerload
