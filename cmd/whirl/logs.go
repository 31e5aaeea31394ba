// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"github.com/whirl-faas/whirl/store/postgres"
	"github.com/whirl-faas/whirl/store/sqlite"
	"github.com/whirl-faas/whirl/whisk"
)

// logs is where agents write activations' output and controllers read it.
type logs interface {
	whisk.LogStore
	io.Closer
}

// logSettings say where the logs are: in a file, which roles on one host share, or
// in a database, which roles on several hosts do.
type logSettings struct {
	file     string          // "" if they are in the database
	database postgres.Config // if they are
}

func addLogStoreFlag(flags *pflag.FlagSet) {
	flags.String("logs", "", "log store that agents and controllers share: a `FILE`, or postgres://USER@HOST/DATABASE, best with the password in PGPASSWORD or the file PGPASSFILE (default: logs.db in --data)")
}

// read reads the flag. The default file is in the directory data. role is what
// the database is told that we are, and connections what we need there.
func (s *logSettings) read(flags *pflag.FlagSet, data, role string, connections int) error {
	text := textOf(flags, "logs")
	switch {
	case text == "":
		s.file = filepath.Join(data, "logs.db")
	case postgres.IsURL(text):
		s.database = postgres.Default()
		s.database.URL, s.database.Application, s.database.Connections = text, "whirl "+role, connections
		if err := s.database.Validate(); err != nil {
			return usageErrorf("--logs: %w", err)
		}
	default:
		path, err := filepath.Abs(text)
		if err != nil {
			return usageErrorf("--logs %q: %w", text, err)
		}
		s.file = path
	}
	return nil
}

// String says where the logs are, without a password.
func (s logSettings) String() string {
	if s.file != "" {
		return s.file
	}
	return s.database.String()
}

// firstPatience is how long a start waits for a database.
const firstPatience = 3 * time.Second

// open opens the store. A database may be away: the roles do their work without it.
func (s logSettings) open(ctx context.Context, logger *slog.Logger) (logs, error) {
	if s.file != "" {
		return openLogFile(ctx, s.file)
	}
	store, err := postgres.OpenLogs(s.database)
	if err != nil {
		return nil, fmt.Errorf("open the logs: %w", err)
	}
	patience, cancel := context.WithTimeout(ctx, firstPatience)
	defer cancel()
	switch err := store.Ping(patience); {
	case err == nil:
	case isAway(err):
		logger.Warn("log store not reached, going on without it until it is", "err", err)
	default:
		_ = store.Close() // it was no good
		return nil, fmt.Errorf("open the logs: %w", err)
	}
	return store, nil
}

func openLogFile(ctx context.Context, path string) (logs, error) {
	store, err := sqlite.OpenLogs(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("open the logs: %w", err)
	}
	return store, nil
}

// isAway reports whether an error of a store may pass.
func isAway(err error) bool {
	kind := whisk.KindOf(err)
	return kind == whisk.Unavailable || kind == whisk.Timeout
}
