// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestListeningWaitsForAnHeir has an address in use for as long as the child of a killed
// process may have it, and for ever.
func TestListeningWaitsForAnHeir(t *testing.T) {
	inUse := &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EADDRINUSE)}
	free := &net.TCPListener{}
	for name, c := range map[string]struct {
		free time.Duration // from when on
		err  error         // until then
		want error
		took time.Duration // at least; at most one try more
	}{
		"free":       {},
		"an heir's":  {free: 300 * time.Millisecond, err: inUse, took: 300 * time.Millisecond},
		"somebody's": {free: time.Hour, err: inUse, want: syscall.EADDRINUSE, took: heirTime},
		"forbidden":  {free: time.Hour, err: syscall.EACCES, want: syscall.EACCES},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				got, err := patiently(func() (net.Listener, error) {
					if time.Since(start) < c.free {
						return nil, c.err
					}
					return free, nil
				})
				if !errors.Is(err, c.want) || (err == nil) != (got == free) {
					t.Errorf("got %v, %v; want the error %v", got, err, c.want)
				}
				if took := time.Since(start); took < c.took || took > c.took+heirTime/25 {
					t.Errorf("it took %v, want %v", took, c.took)
				}
			})
		})
	}
}
