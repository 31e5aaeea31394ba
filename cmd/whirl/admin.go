// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/whirl-faas/whirl/whisk"
)

func (p program) adminCommand() *cobra.Command {
	return &cobra.Command{Use: "admin"}
}

func ensureUsers(ctx context.Context, subjects whisk.SubjectStore, guest whisk.AuthKey) error {
	return subjects.PutSubject(ctx, whisk.Subject{Name: "guest", Namespaces: []whisk.SubjectNamespace{{Name: "guest", UUID: guest.UUID, Key: whisk.HashKey(guest.Key)}}})
}
