// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/unit"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const deployDirectory = "../../deploy"

func deployed(t *testing.T, name string) string {
	t.Helper()
	return read(t, filepath.Join(deployDirectory, name))
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestDeployedSettingsExist holds the units and environment files of deploy/ to
// the commands: each variable must be that of a flag, those that are commented
// out too, and its value one that the flag takes.
func TestDeployedSettingsExist(t *testing.T) {
	for _, role := range []string{"scheduler", "controller", "agent", "standalone"} {
		options, err := unit.DeserializeOptions(strings.NewReader(deployed(t, "whirl-"+role+".service")))
		if err != nil {
			t.Errorf("the unit of the %s: %v", role, err)
		}
		file := ""
		for _, option := range options {
			switch option.Name {
			case "ExecStart":
				if option.Value != "/usr/local/bin/whirl "+role {
					t.Errorf("the unit of the %s starts %q", role, option.Value)
				}
			case "EnvironmentFile":
				file = option.Value
			}
		}
		if file != "/etc/whirl/"+role+".env" {
			t.Errorf("the unit of the %s has its settings in %q", role, file)
		}
		checkSettings(t, commandOf(t, role).Flags(), role+".env")
	}
}

// checkSettings sets the flags as an environment file does.
func checkSettings(t *testing.T, flags *pflag.FlagSet, name string) {
	t.Helper()
	known := map[string]string{}
	flags.VisitAll(func(flag *pflag.Flag) { known[variableOf(flag.Name)] = flag.Name })
	set := 0
	for line := range strings.Lines(deployed(t, name)) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "#")
		variable, value, ok := strings.Cut(line, "=")
		if !ok || !strings.HasPrefix(variable, "WHIRL_") {
			continue // a comment
		}
		set++
		if flag := known[variable]; flag == "" {
			t.Errorf("%s: no flag has the variable %s", name, variable)
		} else if err := flags.Set(flag, value); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if set == 0 {
		t.Errorf("%s sets nothing", name)
	}
}

// commandOf returns the command that words begin with.
func commandOf(t *testing.T, words ...string) *cobra.Command {
	t.Helper()
	command, _, err := program{}.rootCommand().Find(words)
	if err != nil || !command.HasParent() {
		t.Fatalf("whirl has no command %q: %v", words, err)
	}
	return command
}

// TestDocumentedCommandsExist holds every command line of the pages for operators
// to the commands, and every variable there to the flags.
func TestDocumentedCommandsExist(t *testing.T) {
	pages := []string{
		"README.md", "../README.md", "../docs/operations.md", "../docs/agent.md", "../docs/performance.md",
		"../docs/performance/warm.md", "../docs/performance/overload.md", "../docs/performance/scheduler.md", "../docs/performance/stores.md",
	}
	for _, page := range pages {
		t.Run(filepath.Base(page), func(t *testing.T) { checkCommands(t, deployed(t, page)) })
	}
}

func checkCommands(t *testing.T, text string) {
	lines := regexp.MustCompile("(?m)(?:^|`)(?:[./a-z ]*/)?whirl ((?:[a-z]+ ?)+)[^`#\\n]*").FindAllStringSubmatch(text, -1)
	if len(lines) == 0 {
		t.Error("there is no command line")
	}
	for _, line := range lines {
		command := commandOf(t, strings.Fields(line[1])...)
		command.InitDefaultHelpFlag()
		for _, flag := range regexp.MustCompile(`--([a-z][a-zA-Z-]*)`).FindAllStringSubmatch(line[0], -1) {
			if command.Flags().Lookup(flag[1]) == nil {
				t.Errorf("%q has no flag --%s", command.CommandPath(), flag[1])
			}
		}
	}
	known := map[string]bool{}
	for _, command := range (program{}).rootCommand().Commands() {
		command.Flags().VisitAll(func(flag *pflag.Flag) { known[variableOf(flag.Name)] = true })
	}
	for _, variable := range regexp.MustCompile(`WHIRL_[A-Z_]+`).FindAllString(text, -1) {
		if !known[variable] {
			t.Errorf("no flag has the variable %s", variable)
		}
	}
}
