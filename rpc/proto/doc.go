// SPDX-License-Identifier: Apache-2.0

// Package proto is the wire form of the sessions between the roles: what the
// protobuf compiler makes of whirl.proto, with marshalling that needs no
// reflection. Nothing but package rpc looks at it, and that only at its edge.
package proto

//go:generate go run -modfile=../../tools/go.mod generate.go
