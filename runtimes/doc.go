// SPDX-License-Identifier: Apache-2.0

// Package runtimes knows what actions can run on. It reads OpenWhisk's
// runtimes.json into a [whisk.Manifest], finds the interpreters of this machine
// for the process driver, and holds the action proxies that run inside the
// driver's sandboxes: HTTP servers that speak OpenWhisk's /init and /run.
//
// The proxies are in nodejs/ and python/, small files in those languages, and
// in package native. They inherit a listening socket as file descriptor 3, run
// one activation at a time unless their container allows more, and never close
// a connection that the controller keeps alive. Package runtimetest holds the
// contract that each of them passes.
//
// Nothing here keeps state; every function may be called concurrently.
package runtimes
