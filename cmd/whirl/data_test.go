// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/whirl-faas/whirl/whisk"
)

func TestSecretIsMadeOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	made, err := openSecret(path)
	if err != nil || len(made) < minSecret {
		t.Fatalf("made %d bytes, %v", len(made), err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v, want a file for its owner alone", info.Mode(), err)
	}
	if again, err := openSecret(path); err != nil || !bytes.Equal(again, made) {
		t.Errorf("the second start has %q %v, the first one had %q", again, err, made)
	}
	other, err := openSecret(filepath.Join(t.TempDir(), "secret"))
	if err != nil || bytes.Equal(other, made) {
		t.Errorf("another platform has %q %v, too", other, err)
	}
}

func TestSecretThatIsTooShortIsRefused(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(path, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openSecret(path); err == nil || whisk.KindOf(err) != whisk.Invalid {
		t.Errorf("got %v", err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := openSecret(path); err == nil {
		t.Error("a directory was taken for a secret")
	}
}
