// SPDX-License-Identifier: Apache-2.0

package web

import (
	"mime"
	"strconv"
	"strings"
)

// Accepts reports whether a client that sent these Accept headers takes content
// of that type. Of the ranges that hold the type the most specific one counts.
// No header, or one that cannot be read, takes everything.
func Accepts(accept []string, contentType string) bool {
	offered, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		return true
	}
	best, quality, any := 0, 0.0, false
	for _, list := range accept {
		for element := range splitList(list) {
			name, wanted, err := mime.ParseMediaType(element)
			if err != nil {
				continue
			}
			any = true
			if rank := fit(name, wanted, offered, params); rank > best {
				best, quality = rank, qualityOf(wanted)
			}
		}
	}
	return !any || best > 0 && quality > 0
}

// fit says how specific a range is that holds a type: 0 if it does not hold it.
func fit(name string, wanted map[string]string, offered string, params map[string]string) int {
	for key, value := range wanted {
		if key != "q" && !strings.EqualFold(params[key], value) {
			return 0
		}
	}
	main, _, _ := strings.Cut(offered, "/")
	switch name {
	case "*/*":
		return 1
	case main + "/*":
		return 2
	case offered:
		return 3 + len(wanted)
	}
	return 0
}

func qualityOf(params map[string]string) float64 {
	text, given := params["q"]
	if !given {
		return 1
	}
	quality, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return 1
	}
	return quality
}

// splitList yields the elements of a header that is a list, split at commas
// outside of quotes.
func splitList(list string) func(func(string) bool) {
	return func(yield func(string) bool) {
		start, quoted := 0, false
		for i := 0; i < len(list); i++ {
			switch c := list[i]; {
			case quoted && c == '\\':
				i++
			case c == '"':
				quoted = !quoted
			case c == ',' && !quoted:
				if !yield(list[start:i]) {
					return
				}
				start = i + 1
			}
		}
		yield(list[start:])
	}
}
