// SPDX-License-Identifier: Apache-2.0

package surface

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"net/http"
	"strings"

	"github.com/whirl-faas/whirl/whisk"
)

// Caller is who asks, as far as that was proved.
type Caller struct {
	Name     string // for people to read
	Operator bool   // may change things; others may only look
}

// Authorize finds out who sent a request, by what proves it, such as a client
// certificate. An error of kind Denied says that it is known who asks, and that
// he may not; any other that it is not known. Calls may overlap.
type Authorize func(*http.Request) (Caller, error)

// minSecret is the shortest secret that is taken for one.
const minSecret = 16

var errNoSecret = errors.New("this needs the header Authorization: Bearer, with the secret")

// Bearer takes whoever knows the secret for an operator. Without TLS everybody
// on the way learns it, so that is for loopback only. The error is Invalid, for a
// short secret.
func Bearer(secret string) (Authorize, error) {
	if len(secret) < minSecret {
		return nil, whisk.Errorf(whisk.Invalid, "the secret must have at least %d characters", minSecret)
	}
	want := sha256.Sum256([]byte(secret))
	return func(r *http.Request) (Caller, error) {
		scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		got := sha256.Sum256([]byte(given)) // so that its length does not tell
		if !strings.EqualFold(scheme, "Bearer") || subtle.ConstantTimeCompare(got[:], want[:]) != 1 {
			return Caller{}, errNoSecret
		}
		return Caller{Name: "an operator", Operator: true}, nil
	}, nil
}
