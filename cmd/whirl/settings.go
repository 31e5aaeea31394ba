// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// A command's settings are its flags. What the command line does not give is
// taken from the environment, then from the file of --config, and last from the
// flag's default: one table for all three, and one place where values are checked.

// addConfigFlag gives cmd the flag --config.
func addConfigFlag(cmd *cobra.Command) {
	cmd.Flags().String("config", "", "YAML `FILE` with settings; flags and environment beat it")
}

// loadSettings fills the flags that the command line left unset.
func (p program) loadSettings(cmd *cobra.Command) error {
	if err := p.loadEnvironment(cmd.Flags()); err != nil {
		return err
	}
	file, err := cmd.Flags().GetString("config")
	if err != nil || file == "" {
		return err
	}
	return loadFile(cmd.Flags(), file)
}

func (p program) loadEnvironment(flags *pflag.FlagSet) error {
	var failed error
	flags.VisitAll(func(flag *pflag.Flag) {
		variable := variableOf(flag.Name)
		value, present := p.getenv(variable)
		if !present || flag.Changed || failed != nil {
			return
		}
		if err := flags.Set(flag.Name, value); err != nil {
			failed = usageErrorf("environment variable %s: %w", variable, err)
		}
	})
	return failed
}

func loadFile(flags *pflag.FlagSet, name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return usageErrorf("read the configuration file: %w", err)
	}
	values := map[string]any{}
	if err := yaml.Unmarshal(text, &values); err != nil {
		return usageErrorf("configuration file %s: %w", name, err)
	}
	for key, value := range values {
		flag := flags.Lookup(key)
		if flag == nil || key == "config" || key == "help" {
			return usageErrorf("configuration file %s: there is no setting %q; allowed are %s", name, key, strings.Join(settingNames(flags), ", "))
		}
		if flag.Changed {
			continue
		}
		if err := flags.Set(key, fmt.Sprint(value)); err != nil {
			return usageErrorf("configuration file %s: %s: %w", name, key, err)
		}
	}
	return nil
}

// variableOf returns the environment variable of a flag.
func variableOf(flag string) string {
	return "WHIRL_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

func settingNames(flags *pflag.FlagSet) []string {
	var names []string
	flags.VisitAll(func(flag *pflag.Flag) {
		if flag.Name != "config" && flag.Name != "help" {
			names = append(names, flag.Name)
		}
	})
	slices.Sort(names)
	return names
}
