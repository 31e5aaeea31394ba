// SPDX-License-Identifier: Apache-2.0

// Package docker makes sandboxes with a docker engine, through its API: any
// runtime image of OpenWhisk and any image of a user that serves /init and /run
// on port 8080. Images and their entry points are not changed.
//
// # Inside of a sandbox
//
// A container has the user and the command of its image, no capabilities, no way
// to new privileges, the engine's seccomp profile, the action's memory without
// swap, and bounds on processes and open files. Its root is read-only where the
// image says that it can bear that (see Config.ReadOnly). It is on a bridge of
// this instance, from which it reaches the world but not this machine, its
// neighbours or link-local addresses (see internal/firewall). Where it can, the
// driver connects it there and not the engine (see devices), which may then remove
// the network in use, and has it made anew (see mends). Capabilities.Weak tells what
// of this an engine cannot give.
//
// # Promises
//
// A container is named whirl_<instance>_<id>_<label> and labelled with what it
// was made from. Containers without our instance's label are never touched.
//
// Sandboxes outlive the process that made them, and the next Driver.Recover of
// the instance takes them over: same address, frozen or not, and their output
// from the very byte at which the last reader stopped. See tap for how, and its
// limits. An address rests as long as possible before another sandbox gets it,
// so that who knows an old one meets nobody.
//
// Every call to the engine ends with its context, but for those that make a
// container: they may go on for Config.Grace, because a request that was broken
// off may still be carried out and must be undone. Calls of the OCI runtime are
// not broken off either, for at most ten seconds.
//
// Methods may be called concurrently; calls that change one sandbox's state take
// turns. One process at a time holds an instance; a file lock sees to that.
//
// docs/operations.md tells what an operator sees of all this.
package docker
