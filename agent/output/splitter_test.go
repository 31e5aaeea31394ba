// SPDX-License-Identifier: Apache-2.0

package output

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/whirl-faas/whirl/whisk"
)

// split feeds text in chunks of the given size and returns all lines.
func split(text string, chunk, max int) (lines []string) {
	s := splitter{max: max}
	for piece := range slices.Chunk([]byte(text), chunk) {
		for {
			line, rest, ok := s.next(piece)
			if !ok {
				break
			}
			lines = append(lines, string(line))
			piece = rest
		}
	}
	if line, ok := s.last(); ok {
		lines = append(lines, string(line))
	}
	return lines
}

func TestSplit(t *testing.T) {
	const max = 80
	long := strings.Repeat("abcdefghij", 20)
	tests := []struct {
		name, text string
		want       []string
	}{
		{"nothing", "", nil},
		{"one line", "hello\n", []string{"hello"}},
		{"no line end", "hello", []string{"hello"}},
		{"empty lines", "\n\na\n", []string{"", "", "a"}},
		{"carriage return", "a\r\nb\rc\r\n", []string{"a", "b\rc"}},
		{"long line", long + "\nx\n", []string{long[:80], long[80:160], long[160:], "x"}},
		{"just as long", long[:80] + "\nx\n", []string{long[:80], "x"}},
		{"characters stay whole", strings.Repeat("a", 79) + "é\n", []string{strings.Repeat("a", 79), "é"}},
		{"the sentinel stays whole", strings.Repeat("a", 60) + whisk.LogSentinel + "\n", []string{strings.Repeat("a", 60), whisk.LogSentinel}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, chunk := range []int{1, 7, 1000} {
				if got := split(tt.text, chunk, max); !slices.Equal(got, tt.want) {
					t.Errorf("in chunks of %d: %q, want %q", chunk, got, tt.want)
				}
			}
		})
	}
}

// FuzzSplit holds that lines do not depend on how the bytes arrive, that none
// is too long, that nothing but line ends gets lost, and that every sentinel of
// the text is whole in some line.
func FuzzSplit(f *testing.F) {
	f.Add("a\nb\n", 1)
	f.Add(strings.Repeat("x", 200)+whisk.LogSentinel+"\r\n\n", 3)
	f.Add(strings.Repeat("X", 120)+whisk.LogSentinel+whisk.LogSentinel, 80)
	f.Add(strings.Repeat("é", 100)+"\xff\xfe", 7)
	f.Fuzz(func(t *testing.T, text string, chunk int) {
		const max = 80
		lines := split(text, min(chunk&0xffff, len(text))+1, max)
		if whole := split(text, len(text)+1, max); !slices.Equal(lines, whole) {
			t.Errorf("in chunks %q, at once %q", lines, whole)
		}
		var joined strings.Builder
		for _, line := range lines {
			joined.WriteString(line)
			if len(line) > max {
				t.Errorf("a line of %d bytes", len(line))
			}
			if utf8.ValidString(text) && !utf8.ValidString(line) {
				t.Errorf("a character was cut: %q", line)
			}
		}
		strip := func(s string) string { return strings.NewReplacer("\n", "", "\r", "").Replace(s) }
		if strip(joined.String()) != strip(text) {
			t.Errorf("%q became %q", text, lines)
		}
		found := 0
		for _, line := range lines {
			found += strings.Count(line, whisk.LogSentinel)
		}
		if want := strings.Count(text, whisk.LogSentinel); found < want {
			t.Errorf("%d sentinels of %d are whole", found, want)
		}
	})
}

func BenchmarkSplit(b *testing.B) {
	chunk := bytes.Repeat([]byte("a line of an ordinary length, as actions write them\n"), 80)
	s := splitter{max: 16 << 10}
	b.SetBytes(int64(len(chunk)))
	b.ReportAllocs()
	for b.Loop() {
		for rest, ok := chunk, true; ok; {
			_, rest, ok = s.next(rest)
		}
	}
}
