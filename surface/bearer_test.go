// SPDX-License-Identifier: Apache-2.0

package surface_test

import (
	"net/http/httptest"
	"testing"

	"github.com/whirl-faas/whirl/surface"
	"github.com/whirl-faas/whirl/whisk"
)

func TestBearer(t *testing.T) {
	if _, err := surface.Bearer("short"); whisk.KindOf(err) != whisk.Invalid {
		t.Errorf("a short secret: %v", err)
	}
	authorize, err := surface.Bearer("a long enough secret")
	if err != nil {
		t.Fatal(err)
	}
	for header, right := range map[string]bool{
		"":                                false,
		"Bearer":                          false,
		"Bearer ":                         false,
		"Basic a long enough secret":      false,
		"Bearer a long enough secre":      false,
		"Bearer a long enough secret":     true,
		"bearer a long enough secret":     true,
		"Bearer a long enough secret ":    false,
		"Bearer  a long enough secret":    false,
		"Bearer A long enough secret":     false,
		"a long enough secret":            false,
		"Bearer a long enough secret\x00": false,
	} {
		r := httptest.NewRequest("GET", "/health", nil)
		r.Header.Set("Authorization", header)
		if caller, err := authorize(r); (err == nil) != right || caller.Operator != right {
			t.Errorf("%q: %+v, %v", header, caller.Operator, err)
		}
	}
}
