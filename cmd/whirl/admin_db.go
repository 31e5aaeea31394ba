// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"log/slog"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/store/sqlite"
)

func (p program) dbCommand() *cobra.Command {
	db := &cobra.Command{
		Use:   "db",
		Short: "Show what the platform has stored",
		Args:  cobra.ArbitraryArgs,
		RunE:  needsCommand,
	}
	db.AddCommand(p.dbGetCommand())
	return db
}

func (p program) dbGetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get DATABASE",
		Short: "Show all of a database: whisks, subjects or activations",
		Long: `Show all of a database, as OpenWhisk's wskadmin shows CouchDB's: whisks
(actions, packages, triggers, rules), subjects (users and namespaces' limits) or
activations (records, without the output of actions). Rows come in the order of
their documents, also those of a view. Keys are stored, and shown, as hashes.

The command works on a platform's data directory, whether it runs or not, and
takes little memory however much there is.`,
		Example: `  whirl admin db get whisks --docs
  whirl admin db get whisks --view whisks.v2.1.0/actions
  whirl admin db get activations --lines --docs | jq -c '.doc | select(.response.statusCode > 0)'`,
		Args: oneArgument("DATABASE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := p.loadSettings(cmd); err != nil {
				return err
			}
			return withArchive(cmd.Context(), textOf(cmd.Flags(), "data"), p.logger(slog.LevelWarn), func(archive controller.Archive) error {
				return p.showDatabase(cmd, archive, args[0])
			})
		},
	}
	addConfigFlag(cmd)
	flags := cmd.Flags()
	flags.String("data", defaultDataDirectory(), "the platform's data `DIRECTORY`")
	flags.StringP("view", "w", "", "the `VIEW` to show, such as whisks.v2.1.0/actions (default: the primary index)")
	flags.Bool("docs", false, "show the documents, too")
	flags.Bool("lines", false, "print a line of JSON for each row, and nothing else")
	return cmd
}

// withArchive opens all stores of a data directory that a platform has used.
func withArchive(ctx context.Context, dir string, logger *slog.Logger, use func(controller.Archive) error) error {
	return withEntities(ctx, dir, func(entities *sqlite.Entities) error {
		activations, err := sqlite.OpenActivations(ctx, filepath.Join(dir, "activations.db"), logger)
		if err != nil {
			return fmt.Errorf("open the activation records: %w", err)
		}
		archive := controller.Archive{Entities: entities, Subjects: entities, Activations: activations}
		return errors.Join(use(archive), activations.Close())
	})
}

func (p program) showDatabase(cmd *cobra.Command, archive controller.Archive, database string) error {
	flags := cmd.Flags()
	view := textOf(flags, "view")
	docs, _ := flags.GetBool("docs")
	lines, _ := flags.GetBool("lines")
	rows, err := archive.Rows(cmd.Context(), database, view, docs)
	if err != nil {
		return asUsage(err)
	}
	out := bufio.NewWriter(p.stdout)
	if lines {
		err = writeLines(out, rows)
	} else {
		index := view
		if index == "" {
			index = "primary index"
		}
		fmt.Fprintf(out, "getting contents for %s (%s)\n", database, index)
		err = writeTable(out, rows)
	}
	return errors.Join(err, out.Flush())
}

// writeLines writes a row to a line.
func writeLines(out io.Writer, rows iter.Seq2[controller.ArchiveRow, error]) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for row, err := range rows {
		if err == nil {
			err = encoder.Encode(row)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// writeTable writes the rows as wskadmin prints CouchDB's answer: members sorted,
// four spaces to a level. That puts the number of rows behind them.
func writeTable(out io.Writer, rows iter.Seq2[controller.ArchiveRow, error]) error {
	total := 0
	fmt.Fprint(out, "{\n    \"offset\": 0,\n    \"rows\": [")
	for row, err := range rows {
		var text []byte
		if err == nil {
			text, err = sorted(row)
		}
		if err != nil {
			return err
		}
		if total > 0 {
			fmt.Fprint(out, ",")
		}
		if _, err := fmt.Fprintf(out, "\n        %s", text); err != nil {
			return err
		}
		total++
	}
	if total > 0 {
		fmt.Fprint(out, "\n    ")
	}
	_, err := fmt.Fprintf(out, "],\n    \"total_rows\": %d\n}\n", total)
	return err
}

// sorted returns a row with the members of all objects in it sorted. Numbers stay
// as they are.
func sorted(row controller.ArchiveRow) ([]byte, error) {
	text, err := json.Marshal(row)
	if err != nil {
		return nil, err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var object any
	if err := decoder.Decode(&object); err != nil {
		return nil, err
	}
	var made bytes.Buffer
	encoder := json.NewEncoder(&made)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("        ", "    ")
	if err := encoder.Encode(object); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(made.Bytes()), nil
}
