// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/whirl-faas/whirl/controller/keyring"
	"github.com/whirl-faas/whirl/whisk"
)

func writeKeys(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "keys")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func ringOf(t *testing.T, args ...string) (*keyring.Keyring, error) {
	t.Helper()
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	addKeyFlags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return readKeys(flags)
}

func TestKeysOfParameters(t *testing.T) {
	const one, other = "aes-128 ra1V6AfOYAv0jCzEdufIFA==\n", "aes-256 j5rLzhtxwzPyUVUy8/p8XJmBoKeDoSzNJP1SITJEY9E="
	plain := whisk.Parameters{{Key: "k", Value: json.RawMessage("1")}}
	both, err := ringOf(t, "--parameter-keys", writeKeys(t, "# ours\n\n"+one+"  "+other), "--parameter-encryption", "aes-256")
	if err != nil {
		t.Fatal(err)
	}
	locked := both.Lock(plain)
	if locked[0].Encryption != "aes-256" {
		t.Errorf("written are %+v", locked)
	}
	reader, err := ringOf(t, "--parameter-keys", writeKeys(t, other))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := reader.Unlock(locked); err != nil || !reflect.DeepEqual(got, plain) || reader.Lock(plain)[0].Encryption != "" {
		t.Errorf("read are %+v, %v", got, err)
	}
	if none, err := ringOf(t); none != nil || err != nil {
		t.Errorf("without flags: %v, %v", none, err)
	}
	for _, row := range []struct {
		text, scheme, want string
	}{
		{one, "aes-256", "there is no key of aes-256"},
		{one, "rot13", `--parameter-encryption "rot13": want off, aes-128 or aes-256`},
		{"aes-128", "off", "line 1: want a scheme and a key"},
		{one + "aes-128 secret!", "off", "line 2: the key is not base64"},
		{"\naes-128 c2VjcmV0", "off", "line 2: a key of aes-128 has 16 bytes, not 6"},
		{"rot13 c2VjcmV0", "off", `line 1: there is no scheme "rot13"`},
	} {
		_, err := ringOf(t, "--parameter-keys", writeKeys(t, row.text), "--parameter-encryption", row.scheme)
		if err == nil || !strings.Contains(err.Error(), row.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v, want %q", row.text, err, row.want)
		}
	}
	if _, err := ringOf(t, "--parameter-encryption", "aes-128"); err == nil || !strings.Contains(err.Error(), "needs --parameter-keys") {
		t.Errorf("a scheme without keys: %v", err)
	}
	if _, err := ringOf(t, "--parameter-keys", "/nosuch"); err == nil || !strings.Contains(err.Error(), "/nosuch") {
		t.Errorf("no file: %v", err)
	}
}
