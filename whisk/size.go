// SPDX-License-Identifier: Apache-2.0

package whisk

import (
	"fmt"
	"strconv"
	"strings"
)

// Bytes is a size in bytes.
type Bytes int64

// Units of sizes. As in OpenWhisk, KB, MB and GB are powers of 1024.
const (
	KB Bytes = 1 << 10
	MB Bytes = 1 << 20
	GB Bytes = 1 << 30
)

// Megabytes returns the size in whole MB, rounded down.
func (b Bytes) Megabytes() int64 { return int64(b / MB) }

// String returns the size in the largest unit that divides it, such as "256 MB".
func (b Bytes) String() string {
	switch {
	case b != 0 && b%GB == 0:
		return fmt.Sprintf("%d GB", b/GB)
	case b != 0 && b%MB == 0:
		return fmt.Sprintf("%d MB", b/MB)
	case b != 0 && b%KB == 0:
		return fmt.Sprintf("%d KB", b/KB)
	}
	return fmt.Sprintf("%d B", int64(b))
}

// ParseBytes reads a size such as "256 MB", "256m", "2 g" or "1048576": a whole
// number and a unit B, K, M or G, optionally followed by B or iB, in any case,
// with or without a space. No unit means bytes.
func ParseBytes(s string) (Bytes, error) {
	text := strings.ToLower(strings.TrimSpace(s))
	digits := strings.TrimRight(text, " bkmgi")
	unit := strings.TrimSpace(text[len(digits):])
	factor, known := map[string]Bytes{
		"": 1, "b": 1,
		"k": KB, "kb": KB, "kib": KB,
		"m": MB, "mb": MB, "mib": MB,
		"g": GB, "gb": GB, "gib": GB,
	}[unit]
	n, err := strconv.ParseInt(digits, 10, 64)
	if !known || err != nil || n < 0 || n > int64(1<<62/factor) {
		return 0, Errorf(Invalid, "bad size %q, want a number and a unit such as 256m or 2 GB", s)
	}
	return Bytes(n) * factor, nil
}
