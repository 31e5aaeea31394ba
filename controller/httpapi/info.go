// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"encoding/json"
	"fmt"

	"github.com/whirl-faas/whirl/whisk"
)

// infoDocument is the answer of GET /, from which clients learn the kinds.
func infoDocument(limits whisk.Limits, manifest whisk.Manifest) []byte {
	type runtime struct {
		Kind        string `json:"kind"`
		Image       string `json:"image"`
		Deprecated  bool   `json:"deprecated"`
		Default     bool   `json:"default"`
		Attached    bool   `json:"attached"`
		RequireMain bool   `json:"requireMain"`
	}
	runtimes := map[string][]runtime{}
	for _, family := range manifest.Families {
		for _, r := range family.Runtimes {
			runtimes[family.Name] = append(runtimes[family.Name], runtime{r.Kind, r.Image, r.Deprecated, r.Default, r.Attached, r.RequireMain})
		}
	}
	low, high := limits.MinAction, limits.MaxAction
	return encode(map[string]any{
		"description": "OpenWhisk",
		"support":     map[string]string{"github": "https://github.com/whirl-faas/whirl/issues", "slack": "http://slack.openwhisk.org"},
		"api_paths":   []string{apiRoot},
		"limits": map[string]int64{
			"actions_per_minute": int64(limits.InvocationsPerMinute), "triggers_per_minute": int64(limits.FiresPerMinute),
			"concurrent_actions": int64(limits.ConcurrentActions), "sequence_length": int64(limits.SequenceLength),
			"default_min_action_duration": low.Timeout.Milliseconds(), "default_max_action_duration": high.Timeout.Milliseconds(),
			"default_min_action_memory": int64(low.Memory), "default_max_action_memory": int64(high.Memory),
			"default_min_action_logs": int64(low.Logs), "default_max_action_logs": int64(high.Logs),
			"min_action_duration": low.Timeout.Milliseconds(), "max_action_duration": high.Timeout.Milliseconds(),
			"min_action_memory": int64(low.Memory), "max_action_memory": int64(high.Memory),
			"min_action_logs": int64(low.Logs), "max_action_logs": int64(high.Logs),
		},
		"runtimes": runtimes,
	})
}

// versionDocument is the answer of GET /api/v1.
func versionDocument(build, number string) []byte {
	return encode(map[string]any{
		"description":      "OpenWhisk API",
		"api_version":      "1.0.0",
		"api_version_path": "v1",
		"build":            build,
		"buildno":          number,
		"swagger_paths":    map[string]string{"ui": "/docs", "api-docs": "/api-docs"},
	})
}

// limitsDocument is the answer of GET limits: what holds for the namespace.
func limitsDocument(limits *whisk.Limits) []byte {
	low, high := limits.MinAction, limits.MaxAction
	document := map[string]any{
		"invocationsPerMinute":  limits.InvocationsPerMinute,
		"concurrentInvocations": limits.ConcurrentActions,
		"firesPerMinute":        limits.FiresPerMinute,
		"minActionMemory":       low.Memory.Megabytes(),
		"maxActionMemory":       high.Memory.Megabytes(),
		"minActionLogs":         low.Logs.Megabytes(),
		"maxActionLogs":         high.Logs.Megabytes(),
		"minActionTimeout":      low.Timeout.Milliseconds(),
		"maxActionTimeout":      high.Timeout.Milliseconds(),
		"minActionConcurrency":  low.Concurrency,
		"maxActionConcurrency":  high.Concurrency,
		"maxParameterSize":      fmt.Sprintf("%d B", int64(limits.Parameters)),
		"maxActionInstances":    limits.ConcurrentActions,
	}
	if limits.Unrecorded {
		document["storeActivations"] = false
	}
	if len(limits.Kinds) > 0 {
		document["allowedKinds"] = limits.Kinds
	}
	return encode(document)
}

func encode(document map[string]any) []byte {
	text, err := json.Marshal(document)
	if err != nil {
		panic(err) // plain maps always encode
	}
	return text
}
