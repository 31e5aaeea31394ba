// SPDX-License-Identifier: Apache-2.0

// Package apijson writes the JSON of OpenWhisk's API and takes apart the JSON
// that clients send, without decoding what belongs to users: parameters,
// results and annotation values pass through byte for byte, so numbers of any
// length and the order of keys survive.
//
// Every Append function appends compact JSON to dst and returns the longer
// slice, as append does. All functions are pure and may be called concurrently.
package apijson
