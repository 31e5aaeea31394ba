// SPDX-License-Identifier: Apache-2.0

// Package test holds the black-box suites: they build the real whirl binary,
// start it on a free port of the loopback interface with an empty data
// directory, and use it as its users do, with real node, real python and the
// npm client. They know nothing of the platform but its command line, its HTTP
// API and what the kernel tells about its processes.
//
// The suites are behind the build tag e2e, because they take minutes and want
// root or user namespaces:
//
//	go test -tags e2e ./test/...
//
// What needs PostgreSQL has the tag database besides; scripts/database-suite runs it.
//
// Those that need a docker engine are behind the tag docker too. scripts/docker-suite
// runs them, the faults among hosts last: they stop the engine and cut the network.
//
// A suite that misses node, python or npm is skipped, and fails where CI=true.
package test
