// SPDX-License-Identifier: Apache-2.0

// Package sqlite keeps Whirl's state in three SQLite files: [Entities] holds
// entities, subjects, the change feed and the queue of accepted activations,
// [Activations] the records, and [Logs] the output of activations. They are
// apart so that a fat batch of records never delays an entity, and so that each
// file has the durability that its contract asks for.
//
// Each file is written by one goroutine that owns the one writing connection.
// Writes that arrive while it commits share the next commit, so a store takes
// many more durable writes per second than its disk takes flushes. Reads run
// beside it on a few connections of their own and see every write that
// returned before they began.
//
// Several processes of one machine may open the same file; they take turns at
// writing. The file must not lie on a network file system.
//
// What a call returned survives the death of the process at any instant. In
// Entities it survives a power failure as well; the other two may lose the
// writes of the last moments then, but never a part of one.
//
// All methods may be called concurrently. An error whose kind is Timeout or
// Unavailable because the caller's context ended means that nothing was
// written: a write whose turn has come is waited for. Any other error of a
// write says so too, but for one that came from the disk during the commit.
//
// docs/dependencies.md tells why SQLite, and docs/adr/0024 in what form it has records.
package sqlite
