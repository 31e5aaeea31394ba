// SPDX-License-Identifier: Apache-2.0

// Package postgres keeps Whirl's state in a PostgreSQL database, which the roles
// on several hosts share: [Logs] holds the output of activations. It has one type
// for each contract, as package sqlite has; each is opened by itself, and may
// have a database of its own.
//
// To open a store is no I/O: it connects when it is first used, and again
// whenever its connections broke, so a process starts and goes on while the
// database is away. Each new connection first sees to the schema of its
// contract, so that there is no moment in which a connection knows tables that
// are not there. Any number of processes may do that at once.
//
// What a call returned is committed, as durable as the server makes commits. A
// call that failed may have been done all the same if the connection broke or its
// time ran out; writes can be repeated, then. No call takes longer than
// [Config.Timeout] allows, whatever the network does.
//
// Errors of the server, the network and the settings are Unavailable: somebody
// can mend them while the process runs. Conflict says that a newer program made
// the schema, TooLarge that a value is. The rest is Internal.
//
// All methods may be called concurrently. docs/operations.md tells what an
// operator has to set up.
package postgres
