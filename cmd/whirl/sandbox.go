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

	"github.com/whirl-faas/whirl/driver/process"
)

// sandboxPrograms are the paths of the small programs that run in sandboxes, "" for one in
// whose place this program is to run, which does the same and takes longer to start.
type sandboxPrograms struct {
	stage  string // whirl-sandbox, which they begin as
	native string // whirl-native, the action proxy of native:default
}

// findSandboxPrograms looks for them beside this program's file, behind links. What was not built
// with this program counts as not there.
func findSandboxPrograms(logger *slog.Logger) sandboxPrograms {
	self, err := os.Executable()
	if err == nil {
		self, err = filepath.EvalSymlinks(self)
	}
	if err != nil {
		logger.Debug("whirl-sandbox and whirl-native are not looked for", "err", err)
		return sandboxPrograms{}
	}
	return sandboxProgramsIn(filepath.Dir(self), logger)
}

func sandboxProgramsIn(dir string, logger *slog.Logger) sandboxPrograms {
	return sandboxPrograms{
		stage:  smallProgram(dir, "whirl-sandbox", logger),
		native: smallProgram(dir, "whirl-native", logger),
	}
}

// smallProgram returns the path of a program in dir; "" where there is none, or one that
// was not built with this program.
func smallProgram(dir, name string, logger *slog.Logger) string {
	path, module := filepath.Join(dir, name), modulePath+"/cmd/"+name
	theirs, err := buildinfo.ReadFile(path)
	switch ours, known := debug.ReadBuildInfo(); {
	case errors.Is(err, fs.ErrNotExist):
		logger.Info("cold starts take longer than they need to: there is no "+name+" beside this program", "wanted", path)
	case err != nil:
		logger.Warn(name+" is not used, and cold starts take longer than they need to", "path", path, "err", err)
	case known && theirs.Main.Version != ours.Main.Version || theirs.Path != module:
		logger.Warn(name+" is not used, and cold starts take longer than they need to: it was not built together with this program",
			"path", path, "built", theirs.Path+" "+theirs.Main.Version, "wanted", module+" "+ours.Main.Version)
	default:
		return path
	}
	return ""
}

// use has a driver's sandboxes made of the programs.
func (p sandboxPrograms) use(config *process.Config) {
	config.Program, config.Self = p.stage, p.native
}

const modulePath = "github.com/whirl-faas/whirl"
