// SPDX-License-Identifier: Apache-2.0

// Package bench measures an OpenWhisk-compatible server from outside: how much
// a warm activation costs, and how long a cold start takes.
//
// It deploys no-op actions of its own, drives them through the HTTP API and
// deletes them again. Load is a closed loop: each of N connections sends its
// next request when it has the answer to the last, so latencies are not
// corrected for requests that a slow server kept from being sent. Where the
// caller provides a sandbox, the same code is also run in it without the
// platform, in rounds that alternate with the platform's, so that both sides
// meet the same machine; the share of one in the other is what to compare
// between machines.
//
// [Run] owns all goroutines it starts and leaves no action behind, also when
// its context ends. docs/performance.md tells how to read the figures.
package bench
