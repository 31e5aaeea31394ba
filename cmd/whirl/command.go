// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/whirl-faas/whirl/whisk"
)

// Exit statuses. Anything that fails while it runs is statusFailed.
const (
	statusOK     = 0
	statusFailed = 1
	statusUsage  = 2 // wrong flags or impossible values
)

// usageError marks an error as the caller's: the command line or the
// configuration is wrong, and nothing was started.
type usageError struct{ error }

func usageErrorf(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// Run executes the command line. It returns when the command is done, for a
// role when ctx ended and the role has drained.
func (p program) Run(ctx context.Context) error {
	root := p.rootCommand()
	root.SetArgs(asPflag(p.args))
	root.SetOut(p.stdout)
	root.SetErr(p.stderr)
	return root.ExecuteContext(ctx)
}

// exitStatus reports err to the user, if it is one, and says how to exit.
func (p program) exitStatus(err error) int {
	if err == nil {
		return statusOK
	}
	fmt.Fprintf(p.stderr, "whirl: %v\n", err)
	if _, wrong := errors.AsType[usageError](err); wrong {
		fmt.Fprintln(p.stderr, "Run the command with --help for what is allowed.")
		return statusUsage
	}
	return statusFailed
}

func (p program) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "whirl",
		Short: "An OpenWhisk-compatible serverless platform",
		Long: `Whirl runs OpenWhisk actions. It speaks OpenWhisk's HTTP API, so the clients
you have (wsk, the openwhisk package of npm, curl) work with it unchanged.

Start with:

  whirl standalone

which runs the whole platform in this process and prints how to connect. The
commands controller, scheduler and agent run its roles as processes of their own.

Every setting can be given as a flag, as an environment variable, or in a YAML
file named by --config. A flag beats the environment, the environment beats the
file, and the file beats the default. The variable of --sandbox-network is
WHIRL_SANDBOX_NETWORK, its key in the file sandbox-network; the others likewise.`,
		SilenceErrors:     true,
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		Args:              cobra.ArbitraryArgs,
		RunE:              needsCommand,
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usageErrorf("%s: %w", cmd.CommandPath(), err)
	})
	root.AddCommand(p.standaloneCommand(), p.controllerCommand(), p.schedulerCommand(), p.agentCommand(),
		p.adminCommand(), p.certsCommand(), p.benchCommand(), p.versionCommand())
	root.SetHelpCommand(helpCommand())
	return root
}

// helpCommand takes the place of cobra's, which shows the root's help and exit
// status 0 for a command that does not exist.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Show the help of a command",
		RunE: func(cmd *cobra.Command, args []string) error {
			target, rest, err := cmd.Root().Find(args)
			if err != nil {
				return usageError{err}
			}
			if len(rest) > 0 && target.HasAvailableSubCommands() {
				return needsCommand(target, rest)
			}
			target.InitDefaultHelpFlag() // else the help does not list it
			return target.Help()
		},
	}
}

// needsCommand is what a command that only has commands below it does: it shows
// its help, and refuses a word that is none of them.
func needsCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	var names []string
	for _, command := range cmd.Commands() {
		if command.IsAvailableCommand() {
			names = append(names, command.Name())
		}
	}
	return usageErrorf("%s has no command %q; it has %s", cmd.CommandPath(), args[0], strings.Join(names, ", "))
}

// noArguments refuses positional arguments in our words.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageErrorf("%s takes no arguments, but was given %q", cmd.CommandPath(), args)
	}
	return nil
}

// oneArgument wants one positional argument, which the message calls by name.
func oneArgument(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return usageErrorf("%s takes one argument, %s, but was given %d", cmd.CommandPath(), name, len(args))
		}
		return nil
	}
}

// someArguments wants one positional argument or more, which the message calls by name.
func someArguments(name string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usageErrorf("%s takes at least one argument, %s, but was given none", cmd.CommandPath(), name)
		}
		return nil
	}
}

// atMostOne allows one positional argument.
func atMostOne(cmd *cobra.Command, args []string) error {
	if len(args) > 1 {
		return usageErrorf("%s takes at most one argument, but was given %q", cmd.CommandPath(), args)
	}
	return nil
}

// asUsage turns an error that blames the input into a usage error.
func asUsage(err error) error {
	if err != nil && whisk.KindOf(err) == whisk.Invalid {
		return usageError{err}
	}
	return err
}
