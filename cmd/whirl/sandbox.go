// SPDX-License-Identifier: Apache-2.0

package main

import (
	"debug/buildinfo"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
)

// sandboxProgram returns the path of whirl-sandbox, which is looked for beside this program's
// file, behind links. It returns "" where there is none, or one that was not built with this
// program: then sandboxes begin as this program, which does the same and takes longer.
func sandboxProgram(logger *slog.Logger) string {
	self, err := os.Executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	if err != nil {
		logger.Debug("whirl-sandbox is not looked for", "err", err)
		return ""
	}
	return sandboxProgramBeside(self, logger)
}

func sandboxProgramBeside(self string, logger *slog.Logger) string {
	path := filepath.Join(filepath.Dir(self), "whirl-sandbox")
	theirs, err := buildinfo.ReadFile(path)
	switch ours, known := debug.ReadBuildInfo(); {
	case errors.Is(err, fs.ErrNotExist):
		logger.Info("cold starts take longer than they need to: there is no whirl-sandbox beside this program", "wanted", path)
	case err != nil:
		logger.Warn("whirl-sandbox is not used, and cold starts take longer than they need to", "path", path, "err", err)
	case known && theirs.Main.Version != ours.Main.Version || theirs.Path != modulePath+"/cmd/whirl-sandbox":
		logger.Warn("whirl-sandbox is not used, and cold starts take longer than they need to: it was not built together with this program",
			"path", path, "built", theirs.Path+" "+theirs.Main.Version, "wanted", modulePath+"/cmd/whirl-sandbox "+ours.Main.Version)
	default:
		return path
	}
	return ""
}

const modulePath = "github.com/whirl-faas/whirl"
