// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/whisk"
)

func (p program) limitsCommand() *cobra.Command {
	limits := &cobra.Command{
		Use:   "limits",
		Short: "Set, show and remove what a namespace may have of its own",
		Long: `Set, show and remove what a namespace may have of its own, as OpenWhisk's
wskadmin does. What is not set is as for all namespaces.

The commands work on a platform's data directory, whether it runs or not. A
running platform notices within a second.`,
		Args: cobra.ArbitraryArgs,
		RunE: needsCommand,
	}
	limits.AddCommand(p.limitsSetCommand(), p.limitsGetCommand(), p.limitsDeleteCommand())
	return limits
}

func (p program) limitsSetCommand() *cobra.Command {
	cmd := p.userCommand("set NAMESPACE", "Set limits of a namespace; those not named stay as they are", someArguments("NAMESPACE"),
		func(cmd *cobra.Command, subjects controller.Subjects, args []string) error {
			given, err := givenLimits(cmd, args[1:])
			if err != nil {
				return err
			}
			if given == nil {
				return usageErrorf("%s needs a limit to set, such as --%s", cmd.CommandPath(), limitFields[0].name)
			}
			done, err := subjects.SetLimits(cmd.Context(), args[0], func(limits *whisk.NamespaceLimits) error {
				return json.Unmarshal(given, limits)
			})
			if err != nil {
				return asUsage(err)
			}
			fmt.Fprintln(p.stdout, done)
			return nil
		})
	flags := cmd.Flags()
	flags.SortFlags = false
	for _, field := range limitFields {
		switch field.example.(type) {
		case int:
			flags.Int64(field.name, 0, field.usage)
		case bool:
			flags.String(field.name, "true", "`BOOLEAN`: "+field.usage)
		case []string:
			flags.StringSlice(field.name, nil, field.usage)
		default:
			flags.String(field.name, "", field.usage)
		}
	}
	return cmd
}

// limitFields are the settings of wskadmin's limits, under its names, which are
// also those of the documents.
var limitFields = []struct {
	name    string
	example any // of its type
	usage   string
}{
	{"invocationsPerMinute", 60, "calls of actions in a minute; 0 for none"},
	{"concurrentInvocations", 30, "activations at once; 0 for none"},
	{"firesPerMinute", 60, "fires of triggers in a minute; 0 for none"},
	{"allowedKinds", []string{"nodejs:20"}, "`KINDS` of actions, such as nodejs:20,python:3 or nodejs:20 python:3; empty for all"},
	{"storeActivations", true, "whether activations leave records: true or false"},
	{"minActionMemory", 128, "least memory of an action, in MB"},
	{"maxActionMemory", 512, "greatest memory of an action, in MB"},
	{"minActionLogs", 0, "least log limit of an action, in MB"},
	{"maxActionLogs", 10, "greatest log limit of an action, in MB"},
	{"minActionTimeout", 100, "least time limit of an action, in ms"},
	{"maxActionTimeout", 300000, "greatest time limit of an action, in ms"},
	{"minActionConcurrency", 1, "least concurrency of an action"},
	{"maxActionConcurrency", 1, "greatest concurrency of an action"},
	{"maxParameterSize", "1 MB", "`SIZE` of an entity's parameters, such as 512k"},
	{"maxPayloadSize", "1 MB", "`SIZE` of an activation's parameters"},
	{"truncationSize", "1 MB", "`SIZE` beyond which a result is truncated"},
}

// givenLimits returns the limits on the command line as a document; nil if there are
// none. more is what follows the namespace: kinds, as wskadmin takes them.
func givenLimits(cmd *cobra.Command, more []string) ([]byte, error) {
	flags := cmd.Flags()
	if len(more) > 0 && !flags.Changed("allowedKinds") {
		return nil, usageErrorf("%s takes one argument, NAMESPACE, but was given %d", cmd.CommandPath(), len(more)+1)
	}
	given := map[string]any{}
	for _, field := range limitFields {
		if !flags.Changed(field.name) {
			continue
		}
		switch field.example.(type) {
		case int:
			given[field.name], _ = flags.GetInt64(field.name)
		case bool:
			value, err := readBoolean(textOf(flags, field.name))
			if err != nil {
				return nil, usageErrorf("--%s: %w", field.name, err)
			}
			given[field.name] = value
		case []string:
			kinds, _ := flags.GetStringSlice(field.name)
			given[field.name] = append(kinds, more...)
		default:
			given[field.name], _ = flags.GetString(field.name)
		}
	}
	if len(given) == 0 {
		return nil, nil
	}
	return json.Marshal(given)
}

// readBoolean reads what wskadmin takes for one.
func readBoolean(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "yes", "true":
		return true, nil
	case "no", "false":
		return false, nil
	}
	return false, fmt.Errorf("%q is not a valid boolean: want true or false", text)
}

func (p program) limitsGetCommand() *cobra.Command {
	return p.userCommand("get NAMESPACE", "Show what a namespace has of its own", oneArgument("NAMESPACE"),
		func(cmd *cobra.Command, subjects controller.Subjects, args []string) error {
			limits, err := subjects.Store.NamespaceLimits(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			text, err := json.Marshal(limits)
			if err != nil {
				return err
			}
			var own map[string]json.RawMessage
			if err := json.Unmarshal(text, &own); err != nil {
				return err
			}
			if len(own) == 0 {
				fmt.Fprintln(p.stdout, "No limits found, default system limits apply")
			}
			for _, field := range limitFields {
				if value, set := own[field.name]; set {
					fmt.Fprintf(p.stdout, "%s = %s\n", field.name, asPrinted(value))
				}
			}
			return nil
		})
}

// asPrinted is a value as wskadmin prints it, which is as Python does.
func asPrinted(value json.RawMessage) string {
	var decoded any
	if err := json.Unmarshal(value, &decoded); err != nil {
		return string(value)
	}
	switch decoded := decoded.(type) {
	case string:
		return decoded
	case bool:
		if decoded {
			return "True"
		}
		return "False"
	case []any:
		quoted := make([]string, len(decoded))
		for i, element := range decoded {
			quoted[i] = fmt.Sprintf("'%v'", element)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	}
	return string(value)
}

func (p program) limitsDeleteCommand() *cobra.Command {
	return p.userCommand("delete NAMESPACE", "Have a namespace share the limits of all", oneArgument("NAMESPACE"),
		func(cmd *cobra.Command, subjects controller.Subjects, args []string) error {
			done, err := subjects.DeleteLimits(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			fmt.Fprintln(p.stdout, done)
			return nil
		})
}
