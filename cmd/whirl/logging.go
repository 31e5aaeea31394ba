// SPDX-License-Identifier: Apache-2.0

package main

import (
	"log/slog"

	"github.com/spf13/pflag"
)

func addLogFlag(flags *pflag.FlagSet) {
	flags.String("log-level", "warn", "what the platform says on stderr: debug, info, warn or error")
}

func readLogLevel(flags *pflag.FlagSet) (level slog.Level, err error) {
	if level.UnmarshalText([]byte(textOf(flags, "log-level"))) != nil {
		return level, usageErrorf("--log-level %q: want debug, info, warn or error", textOf(flags, "log-level"))
	}
	return level, nil
}

// logger writes what is of at least a level to stderr.
func (p program) logger(level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(p.stderr, &slog.HandlerOptions{Level: level}))
}
