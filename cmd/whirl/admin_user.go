// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/whisk"
)

// The commands about users print what OpenWhisk's wskadmin does, but for keys,
// which are stored as hashes, and for what goes wrong, which is told on stderr.

// hidden stands where wskadmin prints a key.
const hidden = "********"

func (p program) usersCommand() *cobra.Command {
	user := &cobra.Command{
		Use:   "user",
		Short: "Make, show and remove users, namespaces and keys",
		Long: `Make, show and remove users, namespaces and keys, as OpenWhisk's wskadmin does.

The commands work on a platform's data directory, whether it runs or not. A
running platform notices within a second. Keys are stored hashed: a key is shown
once, when it is made. The namespace may be given as -ns, too.`,
		Args: cobra.ArbitraryArgs,
		RunE: needsCommand,
	}
	user.AddCommand(p.userCreateCommand(), p.userGetCommand(), p.userListCommand(), p.userWhoIsCommand(), p.userDeleteCommand(),
		p.userBlockCommand("block", "Make the platform refuse users' keys", true),
		p.userBlockCommand("unblock", "Make the platform accept blocked users' keys again", false))
	return user
}

// asPflag returns a command line of which pflag understands all: it takes wskadmin's
// -ns for -n with the value s.
func asPflag(args []string) []string {
	if len(args) < 2 || args[0] != "admin" || args[1] != "user" {
		return args
	}
	understood := make([]string, len(args))
	for i, arg := range args {
		if arg == "-ns" || strings.HasPrefix(arg, "-ns=") {
			arg = "--namespace" + strings.TrimPrefix(arg, "-ns")
		}
		understood[i] = arg
	}
	return understood
}

func (p program) userCreateCommand() *cobra.Command {
	cmd := p.userCommand("create SUBJECT", "Make a user, or another namespace of one, and print its key", oneArgument("SUBJECT"),
		func(cmd *cobra.Command, subjects controller.Subjects, args []string) error {
			user, err := newUser(cmd, args[0])
			if err != nil {
				return err
			}
			create := subjects.Create
			if only, _ := cmd.Flags().GetBool("genonly"); only {
				create = subjects.Generate
			}
			key, err := create(cmd.Context(), user)
			if err != nil {
				return asUsage(err)
			}
			if silent, _ := cmd.Flags().GetBool("silent"); !silent {
				fmt.Fprintln(p.stdout, key)
			}
			return nil
		})
	flags := cmd.Flags()
	flags.StringP("namespace", "n", "", "the namespace to make (default: named like the user)")
	flags.StringP("auth", "u", "", "the key to use, `UUID:KEY` (default: a new random one)")
	flags.BoolP("revoke", "r", false, "replace the key of a namespace that exists; the old one stops working")
	flags.BoolP("force", "f", false, "replace the key, and the uuid, too")
	flags.BoolP("genonly", "g", false, "only make a key, and store nothing")
	flags.BoolP("silent", "s", false, "do not print the key")
	return cmd
}

func newUser(cmd *cobra.Command, subject string) (controller.NewUser, error) {
	user := controller.NewUser{Subject: strings.TrimSpace(subject)}
	flags := cmd.Flags()
	user.Namespace = strings.TrimSpace(textOf(flags, "namespace"))
	user.Revoke, _ = flags.GetBool("revoke")
	user.Force, _ = flags.GetBool("force")
	if user.Namespace == "" && flags.Changed("namespace") {
		return user, usageErrorf("Namespace must not be empty")
	}
	if text := textOf(flags, "auth"); text != "" {
		uuid, key, both := strings.Cut(text, ":")
		if !both {
			return user, usageErrorf("--auth: failed to determine authorization id and key: want UUID:KEY")
		}
		user.Key = &whisk.AuthKey{UUID: uuid, Key: key}
	}
	return user, nil
}

func (p program) userGetCommand() *cobra.Command {
	cmd := p.userCommand("get SUBJECT", "Show a user's namespaces", oneArgument("SUBJECT"),
		func(cmd *cobra.Command, subjects controller.Subjects, args []string) error {
			subject, err := subjects.Get(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if subject.Blocked {
				fmt.Fprintf(p.stderr, "%q is blocked\n", subject.Name)
			}
			if all, _ := cmd.Flags().GetBool("all"); all {
				for _, namespace := range subject.Namespaces {
					fmt.Fprintf(p.stdout, "%s\t%s:%s\n", namespace.Name, namespace.UUID, hidden)
				}
				return nil
			}
			wanted := textOf(cmd.Flags(), "namespace")
			if wanted == "" {
				wanted = subject.Name
			}
			for _, namespace := range subject.Namespaces {
				if namespace.Name == wanted {
					fmt.Fprintf(p.stdout, "%s:%s\n", namespace.UUID, hidden)
					return nil
				}
			}
			return whisk.Errorf(whisk.NotFound, "namespace %q not found for %q", wanted, subject.Name)
		})
	cmd.Flags().StringP("namespace", "n", "", "the namespace to show (default: named like the user)")
	cmd.Flags().BoolP("all", "a", false, "show all namespaces")
	return cmd
}

func (p program) userListCommand() *cobra.Command {
	cmd := p.userCommand("list [NAMESPACE]", "List all users, or those who hold a key of a namespace", atMostOne,
		func(cmd *cobra.Command, subjects controller.Subjects, args []string) error {
			if pick, _ := cmd.Flags().GetInt("pick"); pick < 1 {
				return usageErrorf("pick at least 1 identity to show")
			}
			if len(args) == 0 {
				all, err := subjects.Store.Subjects(cmd.Context())
				for _, subject := range all {
					fmt.Fprintln(p.stdout, subject.Name)
				}
				return err
			}
			return p.listHolders(cmd, subjects, args[0])
		})
	cmd.Flags().IntP("pick", "p", 1, "show no more than `N` identities")
	cmd.Flags().BoolP("all", "a", false, "show all identities")
	cmd.Flags().BoolP("key", "k", false, "show only the keys")
	return cmd
}

func (p program) listHolders(cmd *cobra.Command, subjects controller.Subjects, namespace string) error {
	holders, err := subjects.List(cmd.Context(), namespace)
	if err != nil {
		return err
	}
	if len(holders) == 0 {
		fmt.Fprintf(p.stdout, "no identities found for namespace %q\n", namespace)
	}
	all, _ := cmd.Flags().GetBool("all")
	pick, _ := cmd.Flags().GetInt("pick")
	if !all {
		holders = holders[:min(pick, len(holders))]
	}
	onlyKeys, _ := cmd.Flags().GetBool("key")
	for _, holder := range holders {
		line := holder.Namespace.UUID + ":" + hidden
		if !onlyKeys {
			line += "\t" + holder.Subject
		}
		fmt.Fprintln(p.stdout, line)
	}
	return nil
}

func (p program) userWhoIsCommand() *cobra.Command {
	return p.userCommand("whois UUID:KEY", "Tell whose key that is", oneArgument("UUID:KEY"),
		func(cmd *cobra.Command, subjects controller.Subjects, args []string) error {
			key, err := whisk.ParseAuthKey(args[0])
			if err != nil {
				return asUsage(err)
			}
			holder, err := subjects.WhoIs(cmd.Context(), key)
			switch {
			case err != nil && whisk.KindOf(err) == whisk.NotFound:
				fmt.Fprintln(p.stdout, err) // it is an answer
			case err != nil:
				return err
			default:
				fmt.Fprintf(p.stdout, "subject: %s\nnamespace: %s\n", holder.Subject, holder.Namespace.Name)
			}
			return nil
		})
}

func (p program) userDeleteCommand() *cobra.Command {
	cmd := p.userCommand("delete SUBJECT", "Remove a user, or one namespace of it", oneArgument("SUBJECT"),
		func(cmd *cobra.Command, subjects controller.Subjects, args []string) error {
			namespace := strings.TrimSpace(textOf(cmd.Flags(), "namespace"))
			if namespace == "" && cmd.Flags().Changed("namespace") {
				return usageErrorf("Namespace must not be empty")
			}
			done, err := subjects.Delete(cmd.Context(), strings.TrimSpace(args[0]), namespace)
			if err != nil {
				return err
			}
			fmt.Fprintln(p.stdout, done)
			return nil
		})
	cmd.Flags().StringP("namespace", "n", "", "remove only this namespace and its key")
	return cmd
}

func (p program) userBlockCommand(verb, short string, blocked bool) *cobra.Command {
	return p.userCommand(verb+" SUBJECT...", short, someArguments("SUBJECT"),
		func(cmd *cobra.Command, subjects controller.Subjects, args []string) error {
			var failed []error
			for _, name := range args {
				done, err := subjects.Block(cmd.Context(), strings.TrimSpace(name), blocked)
				if err != nil {
					failed = append(failed, fmt.Errorf("Failed to %s %q (%w)", verb, name, err))
					continue
				}
				fmt.Fprintln(p.stdout, done)
			}
			return errors.Join(failed...)
		})
}
