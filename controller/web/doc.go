// SPDX-License-Identifier: Apache-2.0

// Package web translates between HTTP and actions that are exported to the web:
// what a URL names, what an action gets of a request, who may call it, and what
// its result is as an answer. The rules and the texts are OpenWhisk's.
//
// It computes and does nothing else: no I/O, no clock, no state. Bodies and
// results stay the JSON that they are; what is a string in a result goes to the
// client from where it stands, where nothing in it is escaped.
//
// docs/compatibility.md tells where it differs from OpenWhisk.
package web
