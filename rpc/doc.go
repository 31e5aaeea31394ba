// SPDX-License-Identifier: Apache-2.0

// Package rpc carries the sessions between the roles over the network: each is
// one gRPC stream on a connection of its own, and a [whisk.Stream] to the roles,
// as the sessions of rpc/inmem are. rpc/rpctest holds both to the same contract.
//
// A [Server] takes the sessions that a role serves, a [Dialer] opens those that a
// role begins. Both need a [Security]: mutual TLS with the certificates of
// rpc/certs, or plain text, which works over the loopback interface alone.
//
// Who may say what is decided here, before a role hears of it. A session is
// open to one role; its first message says who sends it, and that has to be who
// the certificate was issued to; from then on the session speaks for nobody else.
//
// Messages have another form on the wire, see rpc/proto; fields.go has the rules
// for single fields, one file per protocol the conversions. What does not fit is
// refused at either end: a Send fails, and what is received ends the session.
//
// Messages keep their order. Sends block while the peer does not read: some 256
// messages and 256 KiB are on their way at most. After Close, what was sent is
// still delivered if the peer takes it within a second. A peer that is silent
// for 15 seconds, though it is asked for a sign of life, is taken for dead.
package rpc
