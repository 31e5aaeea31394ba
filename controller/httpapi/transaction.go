// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"math/rand/v2"
	"net/http"
	"strings"
)

// Header names in canonical form, so that the maps can be used directly.
const (
	headerTransaction  = "X-Request-Id"
	headerActivation   = "X-Openwhisk-Activation-Id"
	headerExtraLogging = "X-Ow-Extra-Logging"
)

// maxTransaction is the longest id that is taken from a caller, in bytes.
const maxTransaction = 256

// transactionOf returns the id of a request: the caller's, unless it is too
// long, of the form that is reserved for the system, or of unprintable characters.
func (h *Handler) transactionOf(r *http.Request) string {
	id := r.Header.Get(headerTransaction)
	if id == "" || len(id) > maxTransaction || strings.HasPrefix(id, "sid_") {
		return h.newTransaction()
	}
	for i := range len(id) {
		if id[i] < ' ' || id[i] > '~' {
			return h.newTransaction()
		}
	}
	return id
}

const alphanumerics = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

// newTransaction returns 32 letters and digits. They tell requests apart in
// logs; nothing depends on their being hard to guess.
func newTransaction() string {
	const perDraw = 8 // 62^8 fits into 64 bits many times over
	var id [32]byte
	for i := 0; i < len(id); i += perDraw {
		n := rand.Uint64()
		for j := range perDraw {
			id[i+j] = alphanumerics[n%uint64(len(alphanumerics))]
			n /= uint64(len(alphanumerics))
		}
	}
	return string(id[:])
}
