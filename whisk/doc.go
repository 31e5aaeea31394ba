// SPDX-License-Identifier: Apache-2.0

// Package whisk is Whirl's vocabulary: the entities, names, limits, activations
// and error kinds that OpenWhisk users know, the messages that controllers,
// schedulers and agents exchange, and the contracts of stores and drivers.
//
// Every other package speaks it; it imports nothing but the standard library
// and performs no I/O. Values are plain data: they are safe to copy unless a
// type says otherwise, and messages are never modified after they were sent.
//
// docs/architecture.md tells how the roles use these words.
package whisk
