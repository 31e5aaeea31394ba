// SPDX-License-Identifier: Apache-2.0

// Package couchdb reads what an OpenWhisk keeps in CouchDB and says it in whisk's
// terms. It never writes there.
//
// A [Source] yields the documents of OpenWhisk's three databases: a [Server], by
// pages, or a [Dump], from files. One document is in memory at a time, and code
// that lies in an attachment is read as a stream. A [Document] says what it is,
// and its methods read it, in all forms that OpenWhisk has written since its
// beginnings: code in the document, in the name of an attachment, and in one; java's
// jars; rules that name their trigger by a mere string; subjects with one key.
//
// A document that cannot be understood is its own error, of kind Invalid: the
// others go on. Nothing is checked against what this platform offers: a kind that
// it lacks, or a limit beyond its own, is read as it is.
//
// docs/operations.md tells how operators use it, docs/compatibility.md which
// forms are proved.
package couchdb
