// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"os"
	"strconv"
	"strings"

	"github.com/whirl-faas/whirl/whisk"
)

// defaultActionMemory sizes the memory for actions from the machine: three
// quarters of what this process may use, in steps of 256 MB, at least 512 MB.
// The rest is for the platform, its stores' page cache and the system.
func defaultActionMemory() whisk.Bytes {
	const step = 256 * whisk.MB
	return max(usableMemory()*3/4/step*step, 2*step)
}

// usableMemory is the machine's memory, or what this process's cgroup may have if that
// is less; 0 if it cannot be told.
func usableMemory() whisk.Bytes {
	usable := machineMemory()
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		if limit := readBytes(file); limit > 0 {
			usable = min(usable, limit)
		}
	}
	return usable
}

// machineMemory returns the machine's memory, 0 if it cannot be told.
func machineMemory() whisk.Bytes {
	file, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "MemTotal:"); ok {
			kilobytes, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return whisk.Bytes(kilobytes) * whisk.KB
		}
	}
	return 0
}

// readBytes reads a file that holds one number; 0 if it is missing or says "max".
func readBytes(name string) whisk.Bytes {
	text, err := os.ReadFile(name)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	return whisk.Bytes(n)
}
