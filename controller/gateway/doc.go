// SPDX-License-Identifier: Apache-2.0

// Package gateway knows what an API is: a Swagger document whose operations lead
// to web actions. It changes and checks such documents as OpenWhisk's API
// management does, and finds the operation that a request means as OpenWhisk's API
// gateway does. What clients and gateways of OpenWhisk do with a document they can
// do with these, too; the texts of what is wrong with one are OpenWhisk's.
//
// It computes and does nothing else: no I/O, no clock. A [Document] belongs to one
// goroutine at a time; [Routes] are made once and may then be used concurrently.
//
// docs/adr/0020-gateway-inside.md tells why it is here and not a server of its own.
package gateway
