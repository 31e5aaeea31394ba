// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/whirl-faas/whirl/store/files"
	"github.com/whirl-faas/whirl/store/sqlite"
	"github.com/whirl-faas/whirl/whisk"
)

// data is a data directory with its stores open. One platform at a time may
// have it; administration opens the entities beside it.
type data struct {
	lock        *os.File
	entities    *sqlite.Entities
	activations *sqlite.Activations
	logs        logs
	code        *files.Blobs
	secret      []byte // by which the controller makes keys
}

// openData makes the directory if need be, locks it and opens its stores. The logs
// may be elsewhere.
func openData(ctx context.Context, dir string, logs logSettings, logger *slog.Logger) (*data, error) {
	d, err := openDirectory(ctx, dir, logger)
	if err != nil {
		return nil, err
	}
	if d.logs, err = logs.open(ctx, logger); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

// openDirectory is openData for who needs no logs.
func openDirectory(ctx context.Context, dir string, logger *slog.Logger) (*data, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	lock, err := lockDirectory(dir)
	if err != nil {
		return nil, err
	}
	d := &data{lock: lock}
	if err := d.open(ctx, dir, logger); err != nil {
		return nil, errors.Join(err, d.close())
	}
	return d, nil
}

func (d *data) open(ctx context.Context, dir string, logger *slog.Logger) (err error) {
	if d.entities, err = openEntities(ctx, dir); err != nil {
		return err
	}
	if d.activations, err = sqlite.OpenActivations(ctx, filepath.Join(dir, "activations.db"), logger); err != nil {
		return fmt.Errorf("open the activation records: %w", err)
	}
	if d.code, err = files.Open(filepath.Join(dir, "code")); err != nil {
		return fmt.Errorf("open the code: %w", err)
	}
	if d.secret, err = openSecret(filepath.Join(dir, "delegation.key")); err != nil {
		return fmt.Errorf("open the secret of delegated keys: %w", err)
	}
	return nil
}

// openSecret reads a secret, or makes one if there is no file. It is written to a
// file of another name first, so that a crash leaves a whole one or none.
func openSecret(path string) ([]byte, error) {
	secret, err := os.ReadFile(path)
	switch {
	case err == nil && len(secret) < minSecret:
		return nil, whisk.Errorf(whisk.Invalid, "%s is too short for a secret; remove it to have another one made", path)
	case !errors.Is(err, os.ErrNotExist):
		return secret, err
	}
	secret = []byte(rand.Text() + rand.Text())
	if err := writeSynced(path+".new", secret); err != nil {
		return nil, err
	}
	return secret, os.Rename(path+".new", path)
}

func writeSynced(path string, content []byte) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(content)
	return errors.Join(err, file.Sync(), file.Close())
}

// minSecret is how long a secret must be at least that nobody is to guess.
const minSecret = 32

func openEntities(ctx context.Context, dir string) (*sqlite.Entities, error) {
	entities, err := sqlite.OpenEntities(ctx, filepath.Join(dir, "entities.db"))
	if err != nil {
		return nil, fmt.Errorf("open the entities: %w", err)
	}
	return entities, nil
}

// close flushes and closes what is open, and lets the directory go.
func (d *data) close() error {
	var errs []error
	if d.code != nil {
		errs = append(errs, d.code.Close())
	}
	if d.logs != nil {
		errs = append(errs, d.logs.Close())
	}
	if d.activations != nil {
		errs = append(errs, d.activations.Close())
	}
	if d.entities != nil {
		errs = append(errs, d.entities.Close())
	}
	return errors.Join(append(errs, d.lock.Close())...)
}

// lockDirectory keeps a second platform off the directory. The lock ends with
// the process, however it ends.
func lockDirectory(dir string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the data directory: %w", err)
	}
	err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return lock, nil
	}
	lock.Close()
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, whisk.Errorf(whisk.Conflict, "another platform is using the data directory %s; stop it, or give this one its own with --data", dir)
	}
	return nil, fmt.Errorf("lock the data directory: %w", err)
}
