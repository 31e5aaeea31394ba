// SPDX-License-Identifier: Apache-2.0

package lines

import (
	"bytes"
	"reflect"
	"testing"
)

// FuzzLines decodes anything, and what can be decoded must come back.
func FuzzLines(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(Encode([]string{"one", "", "\x00\xff\n"}))
	f.Add([]byte{5, 'x'})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	f.Fuzz(func(t *testing.T, encoded []byte) {
		lines, err := Decode(encoded)
		if err != nil {
			return
		}
		again, err := Decode(Encode(lines))
		if err != nil || !reflect.DeepEqual(again, lines) {
			t.Errorf("%q became %q; %v", lines, again, err)
		}
		if len(encoded) > len(bytes.Join(toBytes(lines), nil))+10*len(lines) {
			t.Errorf("%d bytes decode to fewer in %q", len(encoded), lines)
		}
	})
}

func toBytes(lines []string) [][]byte {
	var all [][]byte
	for _, line := range lines {
		all = append(all, []byte(line))
	}
	return all
}
