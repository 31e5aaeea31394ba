// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/whirl-faas/whirl/scheduler/httpapi"
)

func (p program) statusCommand() *cobra.Command {
	cmd := p.clusterCommand("status", "Show nodes, containers and what waits",
		`Show the cluster as its scheduler sees it: nodes and their pools of containers,
controllers, prewarmed containers, the containers of each action, and the
requests for containers that wait.`,
		noArguments,
		func(cmd *cobra.Command, scheduler *schedulerClient, _ []string) error {
			body, err := scheduler.ask(cmd.Context(), http.MethodGet, "/status")
			if err != nil {
				return err
			}
			if asJSON, _ := cmd.Flags().GetBool("json"); asJSON {
				return p.printJSON(body)
			}
			var status httpapi.Status
			if err := json.Unmarshal(body, &status); err != nil {
				return fmt.Errorf("read the scheduler's status: %w", err)
			}
			return printStatus(p.stdout, status)
		})
	cmd.Flags().Bool("json", false, "print what the scheduler says, as docs/operations.md describes it")
	return cmd
}

// printJSON prints JSON as it came, in lines.
func (p program) printJSON(body []byte) error {
	var lines bytes.Buffer
	if err := json.Indent(&lines, bytes.TrimSpace(body), "", "  "); err != nil {
		return fmt.Errorf("read the scheduler's status: %w", err)
	}
	fmt.Fprintln(p.stdout, &lines)
	return nil
}

func (p program) nodesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Take nodes out of service, and back",
		Args:  cobra.ArbitraryArgs,
		RunE:  needsCommand,
	}
	cmd.AddCommand(
		p.orderCommand("drain", "draining", "Have a node emptied",
			`Have a node emptied: nothing new is placed there, idle containers go at once, and
those at work when they are done. The command does not wait for that: the node is
empty when whirl admin status calls it drained. The order holds until undrain,
also if the agent or the scheduler starts anew in between.`),
		p.orderCommand("undrain", "back in service", "Take a node into service again",
			`Take a node into service again that was drained, or is being drained.`))
	return cmd
}

func (p program) orderCommand(verb, state, short, long string) *cobra.Command {
	return p.clusterCommand(verb+" NODE", short, long, oneArgument("NODE"),
		func(cmd *cobra.Command, scheduler *schedulerClient, args []string) error {
			if args[0] == "" {
				return usageErrorf("%s takes the name of a node", cmd.CommandPath())
			}
			if _, err := scheduler.ask(cmd.Context(), http.MethodPost, "/nodes/"+url.PathEscape(args[0])+"/"+verb); err != nil {
				return err
			}
			fmt.Fprintf(p.stdout, "%s: %s\n", args[0], state)
			return nil
		})
}

// clusterCommand is a command that talks to the scheduler.
func (p program) clusterCommand(use, short, long string, args cobra.PositionalArgs, run func(*cobra.Command, *schedulerClient, []string) error) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Long: long + `

It talks to the scheduler's HTTP address, with the certificate of an operator,
which whirl certs issue --role operator makes, or on one machine with the secret
of the scheduler's --http-secret.`,
		Args: args,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := p.loadSettings(cmd); err != nil {
				return err
			}
			scheduler, err := openSchedulerClient(cmd.Flags(), p.logger(slog.LevelWarn))
			if err != nil {
				return err
			}
			defer scheduler.close()
			return run(cmd, scheduler, args)
		},
	}
	addConfigFlag(cmd)
	addSchedulerClientFlags(cmd.Flags())
	return cmd
}
