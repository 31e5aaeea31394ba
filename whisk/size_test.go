// SPDX-License-Identifier: Apache-2.0

package whisk_test

import (
	"testing"

	"github.com/whirl-faas/whirl/whisk"
)

func TestParseBytes(t *testing.T) {
	for text, want := range map[string]whisk.Bytes{
		"0": 0, "1048576": whisk.MB, "256 MB": 256 * whisk.MB, "256m": 256 * whisk.MB,
		"2 g": 2 * whisk.GB, "2GiB": 2 * whisk.GB, " 1 k ": whisk.KB, "1024 B": whisk.KB,
	} {
		got, err := whisk.ParseBytes(text)
		if err != nil || got != want {
			t.Errorf("ParseBytes(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "m", "-1", "1.5g", "1 mm", "1 tb", "99999999999g", "x1"} {
		if got, err := whisk.ParseBytes(text); err == nil || whisk.KindOf(err) != whisk.Invalid {
			t.Errorf("ParseBytes(%q) = %v, %v; want an invalid error", text, got, err)
		}
	}
}

func FuzzParseBytes(f *testing.F) {
	for _, seed := range []string{"256 MB", "1g", "9223372036854775807", "1 i", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		size, err := whisk.ParseBytes(text)
		if err != nil {
			return
		}
		again, err := whisk.ParseBytes(size.String())
		if err != nil || again != size {
			t.Errorf("%q is %d, which prints as %q and reads back as %d, %v", text, size, size, again, err)
		}
	})
}
