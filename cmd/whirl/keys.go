// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/base64"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/whirl-faas/whirl/controller/keyring"
)

// off is the scheme under which parameters are written in plain text.
const off = "off"

func addKeyFlags(flags *pflag.FlagSet) {
	flags.String("parameter-keys", "", "`FILE` with the keys of encrypted parameters, a line for each: its scheme, aes-128 or aes-256, and the key in base64")
	flags.String("parameter-encryption", off, "the `SCHEME` by which parameters are encrypted when they are written: off, aes-128 or aes-256")
}

// readKeys reads the keys of parameters; nil if there are none.
func readKeys(flags *pflag.FlagSet) (*keyring.Keyring, error) {
	file, scheme := textOf(flags, "parameter-keys"), textOf(flags, "parameter-encryption")
	current := keyring.Scheme(scheme)
	switch scheme {
	case off:
		current = ""
	case string(keyring.AES128), string(keyring.AES256):
		if file == "" {
			return nil, usageErrorf("--parameter-encryption %s needs --parameter-keys, a file with a key of that scheme", scheme)
		}
	default:
		return nil, usageErrorf("--parameter-encryption %q: want off, aes-128 or aes-256", scheme)
	}
	if file == "" {
		return nil, nil
	}
	keys, err := readKeyFile(file)
	if err != nil {
		return nil, usageErrorf("--parameter-keys: %w", err)
	}
	ring, err := keyring.New(current, keys)
	if err != nil {
		return nil, usageErrorf("--parameter-keys %s: %w", file, err)
	}
	return ring, nil
}

// readKeyFile reads lines of a scheme and a key each. Messages name lines, and
// never what stands in them.
func readKeyFile(name string) (map[keyring.Scheme][][]byte, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	keys := map[keyring.Scheme][][]byte{}
	number := 0
	for line := range strings.Lines(string(text)) {
		number++
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		if len(fields) != 2 {
			return nil, fmt.Errorf("%s: line %d: want a scheme and a key", name, number)
		}
		key, err := base64.StdEncoding.DecodeString(fields[1])
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: the key is not base64", name, number)
		}
		scheme := keyring.Scheme(fields[0])
		if _, err := keyring.New("", map[keyring.Scheme][][]byte{scheme: {key}}); err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", name, number, err)
		}
		keys[scheme] = append(keys[scheme], key)
	}
	return keys, nil
}
