// SPDX-License-Identifier: Apache-2.0

package web

import (
	"net/url"
	"strings"

	"github.com/whirl-faas/whirl/whisk"
)

// pair is a parameter of a query or a field of a form.
type pair struct {
	key, value string
	bare       bool // there is no "="
}

// parsePairs reads a query or an urlencoded form. what says which, for the error.
func parsePairs(text, what string) ([]pair, error) {
	if text == "" {
		return nil, nil
	}
	pairs := make([]pair, 0, 1+strings.Count(text, "&"))
	for part := range strings.SplitSeq(text, "&") {
		key, value, assigned := strings.Cut(part, "=")
		key, err := unescape(key)
		if err == nil {
			value, err = unescape(value)
		}
		if err != nil {
			return nil, whisk.Errorf(whisk.Invalid, "%s: %w", what, err)
		}
		pairs = append(pairs, pair{key, value, !assigned})
	}
	return pairs, nil
}

func unescape(text string) (string, error) {
	text, err := url.QueryUnescape(text)
	return strings.ToValidUTF8(text, "\ufffd"), err
}

// appendQuery appends parameters as a query, escaped where they must be.
func appendQuery(dst []byte, pairs []pair) []byte {
	for i, p := range pairs {
		if i > 0 {
			dst = append(dst, '&')
		}
		dst = appendQueryText(dst, p.key)
		if !p.bare {
			dst = append(dst, '=')
		}
		dst = appendQueryText(dst, p.value)
	}
	return dst
}

func appendQueryText(dst []byte, text string) []byte {
	for i, word := range strings.Split(text, " ") {
		if i > 0 {
			dst = append(dst, '+')
		}
		dst = appendEscaped(dst, word, keptInQuery)
	}
	return dst
}

// keptInQuery reports whether a character stands for itself in a query.
func keptInQuery(c byte) bool {
	return isUnreserved(c) || strings.IndexByte("!$'()*,:@/?", c) >= 0
}
