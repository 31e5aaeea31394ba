// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// heirTime is how long an address may be in use after the end of a process that was killed
// while it started another: what it listened on belongs to the child, too, until that comes
// to its exec. Milliseconds are the rule, tens of them where processors are short.
const heirTime = time.Second

// listenFor takes the address that a flag names. One that is in use has heirTime to become
// free, so that a process may follow at once on one that was killed.
func listenFor(flag, address string) (net.Listener, error) {
	listener, err := patiently(func() (net.Listener, error) { return net.Listen("tcp", address) })
	if err != nil {
		return nil, fmt.Errorf("listen on --%s %s: %w", flag, address, err)
	}
	return listener, nil
}

// patiently calls listen until the address is no longer in use, for heirTime at most.
func patiently(listen func() (net.Listener, error)) (net.Listener, error) {
	for until := time.Now().Add(heirTime); ; time.Sleep(heirTime / 50) {
		listener, err := listen()
		if !errors.Is(err, syscall.EADDRINUSE) || time.Now().After(until) {
			return listener, err
		}
	}
}
