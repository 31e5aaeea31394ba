// SPDX-License-Identifier: Apache-2.0

// Package lines has the form in which the databases keep a log's lines. Lines
// may hold anything, and come back as they were.
package lines

import (
	"encoding/binary"

	"github.com/whirl-faas/whirl/whisk"
)

// Encode returns each line as its length and its bytes. As JSON, control
// characters would take six times their space. The encoding of nil is nil.
func Encode(lines []string) []byte {
	if lines == nil {
		return nil
	}
	size := 0
	for _, line := range lines {
		size += binary.MaxVarintLen32 + len(line)
	}
	encoded := make([]byte, 0, size)
	for _, line := range lines {
		encoded = binary.AppendUvarint(encoded, uint64(len(line)))
		encoded = append(encoded, line...)
	}
	return encoded
}

// Decode is Internal if no Encode wrote this.
func Decode(encoded []byte) ([]string, error) {
	if encoded == nil {
		return nil, nil
	}
	lines := []string{}
	for len(encoded) > 0 {
		length, n := binary.Uvarint(encoded)
		if n <= 0 || length > uint64(len(encoded)-n) {
			return nil, whisk.Errorf(whisk.Internal, "the stored lines are damaged")
		}
		end := n + int(length)
		lines = append(lines, string(encoded[n:end]))
		encoded = encoded[end:]
	}
	return lines, nil
}
