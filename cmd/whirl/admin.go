// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/store/sqlite"
	"github.com/whirl-faas/whirl/whisk"
)

func (p program) adminCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "admin",
		Short: "Administer users, their keys and limits, what is stored, imports, and a cluster's nodes",
		Args:  cobra.ArbitraryArgs,
		RunE:  needsCommand,
	}
	cmd.AddCommand(p.usersCommand(), p.limitsCommand(), p.dbCommand(), p.importCommand(), p.statusCommand(), p.nodesCommand())
	return cmd
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

// withSubjects opens the subjects of a data directory that a platform has used.
func withSubjects(ctx context.Context, dir string, use func(controller.Subjects) error) error {
	return withEntities(ctx, dir, func(entities *sqlite.Entities) error {
		return use(controller.Subjects{Store: entities})
	})
}

// withEntities opens the entities of a data directory that a platform has used.
func withEntities(ctx context.Context, dir string, use func(*sqlite.Entities) error) error {
	if _, err := os.Stat(filepath.Join(dir, "entities.db")); err != nil {
		return usageErrorf("--data %q: no platform has used this directory: %w", dir, err)
	}
	entities, err := openEntities(ctx, dir)
	if err != nil {
		return err
	}
	return errors.Join(use(entities), entities.Close())
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
