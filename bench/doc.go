// SPDX-License-Identifier: Apache-2.0

// Package bench measures an OpenWhisk-compatible server from outside: how much
// a warm activation costs, and how long a cold start takes.
//
// It deploys actions of its own, drives them through the HTTP API and deletes
// them again. A [Workload] says what the actions do, a pace when requests come:
// in a closed loop each of N connections sends its next request when it has the
// answer to the last, and what a slow server kept from being sent is not in the
// latencies; in an open loop requests are due at their own times, and latencies
// count from then. A course is one workload at one pace. It is measured in
// rounds, and all sides of it take turns, so that they meet the same machine:
// the platform, an endpoint that it is compared with, one of several actions alone,
// and where the caller provides sandboxes the same code without the platform, and a
// bare hop to it. Shares and ratios of sides are what to compare between machines.
//
// [Run] owns all goroutines it starts and leaves no action behind, also when
// its context ends. docs/performance.md tells how to read the figures.
package bench
