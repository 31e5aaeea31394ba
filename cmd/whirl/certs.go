// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/whirl-faas/whirl/rpc/certs"
)

func (p program) certsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "certs",
		Short: "Make the certificates by which the roles know each other",
		Long: `Make the certificates by which the roles of a cluster know each other.

First make a certificate authority, once for a cluster. Then issue a certificate
for every process: it says which role its holder plays and under which name, and
the others let it do just that. Give each machine ca.crt and the two files of
its own role; ca.key stays with you.

No file is ever replaced. To renew a certificate, issue it into another directory
and move the new files over the old ones where they are used: the roles notice,
and use them from their next connection on. Likewise, to change the authority,
put both authorities' certificates into one ca.crt everywhere, then renew.`,
		Args: cobra.ArbitraryArgs,
		RunE: needsCommand,
	}
	cmd.AddCommand(p.certsAuthorityCommand(), p.certsIssueCommand())
	return cmd
}

func (p program) certsAuthorityCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ca",
		Short: "Make a certificate authority",
		Long: `Make a certificate authority: ca.crt, which everybody may have, and ca.key, with
which certificates are issued. Whoever has ca.key can play any role.`,
		Example: `  whirl certs ca --dir ./certs`,
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := p.certsDirectory(cmd)
			if err != nil {
				return err
			}
			file, err := certs.CreateAuthority(dir)
			if err != nil {
				return asUsage(err)
			}
			fmt.Fprintf(p.stdout, "authority: %s\nkey: %s\t(keep it to yourself)\n", file, filepath.Join(dir, "ca.key"))
			return nil
		},
	}
	addCertsFlags(cmd)
	return cmd
}

func (p program) certsIssueCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "issue",
		Short: "Issue a certificate for a role",
		Long: `Issue a certificate for a role, with a key of its own.

An agent's name is that of its node, as in the agent's --node. A controller's
name is what its ids begin with. A scheduler's and an operator's are for people.
An operator is a person or a tool that calls the roles' HTTP surfaces.

--host names the addresses by which HTTPS clients such as curl reach the holder.
The roles themselves go by role and name, wherever they find each other.`,
		Example: `  whirl certs issue --dir ./certs --role scheduler --name sched1
  whirl certs issue --dir ./certs --role agent --name node1 --host 10.0.0.1,node1.example.com
  whirl certs issue --dir ./certs --role controller --name ctl1 --out ./renewed`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir, err := p.certsDirectory(cmd)
			if err != nil {
				return err
			}
			role, _ := cmd.Flags().GetString("role")
			name, _ := cmd.Flags().GetString("name")
			r := certs.Request{Identity: certs.Identity{Role: certs.Role(role), Name: name}}
			r.Hosts, _ = cmd.Flags().GetStringSlice("host")
			r.Lifetime, _ = cmd.Flags().GetDuration("lifetime")
			r.Out, _ = cmd.Flags().GetString("out")
			if r.Lifetime <= 0 {
				return usageErrorf("--lifetime %v: want a positive time such as 720h", r.Lifetime)
			}
			files, err := certs.Issue(dir, r)
			if err != nil {
				return asUsage(err)
			}
			fmt.Fprintf(p.stdout, "authority: %s\ncertificate: %s\nkey: %s\n", files.CA, files.Cert, files.Key)
			return nil
		},
	}
	addCertsFlags(cmd)
	var roles []string
	for _, role := range certs.Roles() {
		roles = append(roles, string(role))
	}
	cmd.Flags().String("role", "", "the `ROLE` that the holder plays: "+strings.Join(roles, ", "))
	cmd.Flags().String("name", "", "the `NAME` under which it does")
	cmd.Flags().StringSlice("host", nil, "host names and IP addresses of the holder, separated by commas")
	cmd.Flags().Duration("lifetime", certs.DefaultLifetime, "how long the certificate is valid; never longer than the authority")
	cmd.Flags().String("out", "", "the `DIRECTORY` for the new files (default: that of --dir)")
	return cmd
}

func addCertsFlags(cmd *cobra.Command) {
	addConfigFlag(cmd)
	cmd.Flags().String("dir", "", "the authority's `DIRECTORY`")
}

// certsDirectory reads the settings and returns that of the authority.
func (p program) certsDirectory(cmd *cobra.Command) (string, error) {
	if err := p.loadSettings(cmd); err != nil {
		return "", err
	}
	dir, _ := cmd.Flags().GetString("dir")
	if dir == "" {
		return "", usageErrorf("%s needs --dir, the authority's directory", cmd.CommandPath())
	}
	return dir, nil
}
