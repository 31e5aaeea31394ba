// SPDX-License-Identifier: Apache-2.0

// Package surface is what the roles' small HTTP surfaces for operators have in
// common: a server that slow, hostile and many clients cost little, answers and
// errors in JSON, and the secret that stands in for a certificate on loopback.
//
// Who may do what is each surface's own affair: agent/httpapi, scheduler/httpapi.
package surface

import (
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Bounds bound what clients may cost.
type Bounds struct {
	Connections int           // open at once; more are closed at once
	Requests    int           // under way at once; more are refused
	Read        time.Duration // of a request, the TLS handshake included
	Idle        time.Duration // of a connection between requests
	Write       time.Duration // of an answer, once there is one
	Stop        time.Duration // for requests under way, once [Serve] is to end
}

// Default returns bounds that suit a role and its few callers.
func Default() Bounds {
	return Bounds{
		Connections: 256,
		Requests:    64,
		Read:        5 * time.Second,
		Idle:        time.Minute,
		Write:       10 * time.Second,
		Stop:        10 * time.Second,
	}
}

// Validate reports what makes no sense.
func (b Bounds) Validate() error {
	if b.Connections < 1 || b.Requests < 1 || b.Read <= 0 || b.Idle <= 0 || b.Write <= 0 || b.Stop <= 0 {
		return whisk.Errorf(whisk.Invalid, "the bounds of an HTTP surface must be positive")
	}
	return nil
}
