// SPDX-License-Identifier: Apache-2.0

package process

import "errors"

// Die ends what this process has of the driver and does nothing else, as a kill does.
func (d *Driver) Die() (err error) {
	d.close.Do(func() {
		d.stop()
		d.loops.Wait()
		err = errors.Join(d.leaveAll(), d.program.close(), d.self.close())
	})
	return err
}
