// SPDX-License-Identifier: Apache-2.0

package whisk_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

func TestAuthKey(t *testing.T) {
	secret := whisk.GenerateKey()
	if len(secret) != whisk.KeyLength || secret == whisk.GenerateKey() {
		t.Fatalf("%q is no fresh key of %d characters", secret, whisk.KeyLength)
	}
	key, err := whisk.ParseAuthKey("some-uuid:" + secret)
	if err != nil || key.UUID != "some-uuid" || key.Key != secret || key.String() != "some-uuid:"+secret {
		t.Errorf("parsed %v, %v", key, err)
	}
	for _, bad := range []string{"", "x", ":" + secret, "x:short", "x:" + secret + "y", strings.Repeat("a", 65)} {
		if _, err := whisk.ParseAuthKey(bad); whisk.KindOf(err) != whisk.Invalid || err == nil {
			t.Errorf("ParseAuthKey(%q) = %v, want an invalid error", bad, err)
		}
	}
	hash := whisk.HashKey(secret)
	if !hash.Matches(secret) || hash.Matches(whisk.GenerateKey()) || strings.Contains(string(hash), secret) {
		t.Errorf("hash %s does not tell keys apart", hash)
	}
}

func TestActionLimitsJSON(t *testing.T) {
	limits := whisk.DefaultActionLimits
	text, err := json.Marshal(limits)
	if want := `{"timeout":60000,"memory":256,"logs":10,"concurrency":1}`; err != nil || string(text) != want {
		t.Fatalf("got %s, %v; want %s", text, err, want)
	}
	if err := json.Unmarshal([]byte(`{"timeout":100,"memory":512}`), &limits); err != nil {
		t.Fatal(err)
	}
	want := whisk.ActionLimits{Timeout: 100 * time.Millisecond, Memory: 512 * whisk.MB, Logs: 10 * whisk.MB, Concurrency: 1}
	if limits != want {
		t.Errorf("got %+v, want %+v", limits, want)
	}
}

func TestErrorKinds(t *testing.T) {
	inner := whisk.Errorf(whisk.NotFound, "no %s", "x")
	outer := whisk.Errorf(whisk.Conflict, "outer: %w", inner)
	if whisk.KindOf(inner) != whisk.NotFound || whisk.KindOf(outer) != whisk.Conflict {
		t.Errorf("kinds are %v and %v", whisk.KindOf(inner), whisk.KindOf(outer))
	}
	if outer.Error() != "outer: no x" {
		t.Errorf("text is %q", outer)
	}
}

func TestCheckActivationID(t *testing.T) {
	if err := whisk.CheckActivationID("0123456789abcdef0123456789abcdef"); err != nil {
		t.Error(err)
	}
	for id, want := range map[string]string{
		"abc":                              "Activation id length is 3 but must be 32.",
		"0123456789ABCDEF0123456789abcdef": "The activation id is not valid.",
		"g123456789abcdef0123456789abcdef": "The activation id is not valid.",
	} {
		if err := whisk.CheckActivationID(id); err == nil || err.Error() != want {
			t.Errorf("CheckActivationID(%q) = %v, want %q", id, err, want)
		}
	}
}
