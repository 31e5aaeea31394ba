// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"errors"

	"github.com/whirl-faas/whirl/whisk"
)

// Die leaves everything as the death of the process would: connections break,
// the lock is free, nothing is removed.
func (d *Driver) Die() error {
	var err error
	d.close.Do(func() {
		d.stop()
		d.loops.Wait()
		err = errors.Join(d.engine.Close(), d.state.lock.Close())
	})
	return err
}

// Blind takes a sandbox's cgroup out of reach, as if the engine ran elsewhere.
func Blind(s whisk.Sandbox) { s.(*sandbox).group = nil }
