// SPDX-License-Identifier: Apache-2.0

// Package compat is the compatibility suite: what OpenWhisk's API answers to
// which request, as data, and the means to hold any platform to it by nothing but HTTP.
//
// The data are the files below cases, one for each group of the checklist in
// docs/compatibility.md. A file reads like a conversation:
//
//	group Create and update
//
//	let CODE = {"kind": "nodejs:default", "code": "function main(p) { return p }"}
//
//	case [34] a second create is refused
//	PUT actions/$a
//	{"exec": $CODE}
//	=> 200
//	PUT actions/$a
//	{"exec": $CODE}
//	=> 409
//	error: resource already exists
//
// The numbers of a case are the rows of the checklist that it proves. Its
// requests follow, each with the answer that it must get; one without has only to
// succeed. [parse] tells the rest of the form, and [pattern] that of bodies.
//
// Cases stand alone: $a is a name that no other case has, and what a case or a
// group's fixture has put is deleted after it. Cases of a group run at once,
// unless the file says that they need the namespace for themselves.
//
// What is expected is what OpenWhisk does. Where Whirl decided otherwise, a case
// has both answers, and names the row of docs/compatibility.md that says why.
package compat
