// SPDX-License-Identifier: Apache-2.0

package lookout

// WakeForTest wakes who reads the connection.
func (c *Conn) WakeForTest() { c.wake() }
