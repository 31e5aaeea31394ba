// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/whisk"
)

func (p program) adminCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "admin",
		Short: "Administer users, their keys and limits, and a cluster's nodes",
		Args:  cobra.ArbitraryArgs,
		RunE:  needsCommand,
	}
	user := &cobra.Command{
		Use:   "user",
		Short: "Make, show and remove users, namespaces and keys",
		Long: `Make, show and remove users, namespaces and keys, as OpenWhisk's wskadmin does.

The commands work on a platform's data directory, whether it runs or not. A
running platform notices within a second. Keys are stored hashed: a key is shown
once, when it is made.`,
		Args: cobra.ArbitraryArgs,
		RunE: needsCommand,
	}
	user.AddCommand(p.userCreateCommand(), p.userGetCommand(), p.userListCommand(), p.userWhoIsCommand(), p.userDeleteCommand(),
		p.userBlockCommand("block", "Make the platform refuse a user's keys", true),
		p.userBlockCommand("unblock", "Make the platform accept a blocked user's keys again", false))
	cmd.AddCommand(user, p.limitsCommand(), p.statusCommand(), p.nodesCommand())
	return cmd
}

func (p program) userCreateCommand() *cobra.Command {
	cmd := p.userCommand("create SUBJECT", "Make a user, or another namespace of one, and print its key", oneArgument("SUBJECT"),
		func(cmd *cobra.Command, subjects controller.Subjects, args []string) error {
			user := controller.NewUser{Subject: args[0]}
			user.Namespace, _ = cmd.Flags().GetString("namespace")
			user.Revoke, _ = cmd.Flags().GetBool("revoke")
			if text, _ := cmd.Flags().GetString("auth"); text != "" {
				key, err := whisk.ParseAuthKey(text)
				if err != nil {
					return usageErrorf("--auth: %w", err)
				}
				user.Key = &key
			}
			key, err := subjects.Create(cmd.Context(), user)
			if err != nil {
				return asUsage(err)
			}
			fmt.Fprintln(p.stdout, key)
			return nil
		})
	cmd.Flags().StringP("namespace", "n", "", "the namespace to make (default: named like the user)")
	cmd.Flags().StringP("auth", "u", "", "the key to use, `UUID:KEY` (default: a new random one)")
	cmd.Flags().BoolP("revoke", "r", false, "replace the key of a namespace that exists; the old one stops working")
	return cmd
}

func (p program) userGetCommand() *cobra.Command {
	return p.userCommand("get SUBJECT", "Show a user's namespaces", oneArgument("SUBJECT"),
		func(cmd *cobra.Command, subjects controller.Subjects, args []string) error {
			subject, err := subjects.Get(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			fmt.Fprintf(p.stdout, "subject: %s\n", subject.Name)
			if subject.Blocked {
				fmt.Fprintln(p.stdout, "blocked: true")
			}
			for _, namespace := range subject.Namespaces {
				fmt.Fprintf(p.stdout, "namespace: %s\tuuid: %s\n", namespace.Name, namespace.UUID)
			}
			return nil
		})
}

func (p program) userListCommand() *cobra.Command {
	return p.userCommand("list [NAMESPACE]", "List all users, or those who hold a key of a namespace", atMostOne,
		func(cmd *cobra.Command, subjects controller.Subjects, args []string) error {
			if len(args) == 0 {
				all, err := subjects.Store.Subjects(cmd.Context())
				for _, subject := range all {
					fmt.Fprintln(p.stdout, subject.Name)
				}
				return err
			}
			holders, err := subjects.List(cmd.Context(), args[0])
			for _, holder := range holders {
				fmt.Fprintf(p.stdout, "%s\tuuid: %s\n", holder.Subject, holder.Namespace.UUID)
			}
			return err
		})
}

func (p program) userWhoIsCommand() *cobra.Command {
	return p.userCommand("whois UUID:KEY", "Tell whose key that is", oneArgument("UUID:KEY"),
		func(cmd *cobra.Command, subjects controller.Subjects, args []string) error {
			key, err := whisk.ParseAuthKey(args[0])
			if err != nil {
				return asUsage(err)
			}
			holder, err := subjects.WhoIs(cmd.Context(), key)
			if err != nil {
				return err
			}
			fmt.Fprintf(p.stdout, "subject: %s\nnamespace: %s\n", holder.Subject, holder.Namespace.Name)
			return nil
		})
}

func (p program) userDeleteCommand() *cobra.Command {
	cmd := p.userCommand("delete SUBJECT", "Remove a user, or one namespace of it", oneArgument("SUBJECT"),
		func(cmd *cobra.Command, subjects controller.Subjects, args []string) error {
			namespace, _ := cmd.Flags().GetString("namespace")
			done, err := subjects.Delete(cmd.Context(), args[0], namespace)
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
	return p.userCommand(verb+" SUBJECT", short, oneArgument("SUBJECT"),
		func(cmd *cobra.Command, subjects controller.Subjects, args []string) error {
			done, err := subjects.Block(cmd.Context(), args[0], blocked)
			if err != nil {
				return err
			}
			fmt.Fprintln(p.stdout, done)
			return nil
		})
}

// userCommand is a command that works on the subjects of a data directory.
func (p program) userCommand(use, short string, args cobra.PositionalArgs, run func(*cobra.Command, controller.Subjects, []string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  args,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := p.loadSettings(cmd); err != nil {
				return err
			}
			dir, _ := cmd.Flags().GetString("data")
			return withSubjects(cmd.Context(), dir, func(subjects controller.Subjects) error {
				return run(cmd, subjects, args)
			})
		},
	}
	addConfigFlag(cmd)
	cmd.Flags().String("data", defaultDataDirectory(), "the platform's data `DIRECTORY`")
	return cmd
}

// withSubjects opens the entities of a data directory that a platform has used.
func withSubjects(ctx context.Context, dir string, use func(controller.Subjects) error) error {
	if _, err := os.Stat(filepath.Join(dir, "entities.db")); err != nil {
		return usageErrorf("--data %q: no platform has used this directory: %w", dir, err)
	}
	entities, err := openEntities(ctx, dir)
	if err != nil {
		return err
	}
	return errors.Join(use(controller.Subjects{Store: entities}), entities.Close())
}

// systemKey is the key of whisk.system in OpenWhisk's standalone distribution,
// as well known as the guest's.
const systemKey = "789c46b1-71f6-4ed5-8c54-816aa4f8c502:abczO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP"

// ensureUsers makes the users of a standalone platform. whisk.system has its
// well-known key for as long as the guest has, and else a random one.
func ensureUsers(ctx context.Context, store whisk.SubjectStore, guest whisk.AuthKey) error {
	const system = "whisk.system"
	subjects := controller.Subjects{Store: store}
	if err := subjects.Ensure(ctx, "guest", "guest", guest); err != nil {
		return err
	}
	wellKnown, err := whisk.ParseAuthKey(systemKey)
	if err != nil {
		return err
	}
	if guest.String() == guestKey {
		return subjects.Ensure(ctx, system, system, wellKnown)
	}
	_, err = subjects.WhoIs(ctx, wellKnown)
	isWellKnown := err == nil
	_, err = subjects.Get(ctx, system)
	if err == nil && !isWellKnown {
		return nil
	}
	_, err = subjects.Create(ctx, controller.NewUser{Subject: system, Revoke: true})
	return err
}
