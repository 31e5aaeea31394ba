// SPDX-License-Identifier: Apache-2.0

package stage

import "golang.org/x/sys/unix"

const (
	auditArch = unix.AUDIT_ARCH_AARCH64
	x32Bit    = 0
)

// deniedArchCalls: the architecture is young and has none of its own.
var deniedArchCalls []uintptr
