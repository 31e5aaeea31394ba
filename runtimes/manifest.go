// SPDX-License-Identifier: Apache-2.0

package runtimes

import (
	_ "embed" // of openWhisk
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

//go:embed openwhisk.json
var openWhisk []byte

// OpenWhisk returns the runtimes that OpenWhisk offers by default, as images.
func OpenWhisk() whisk.Manifest {
	manifest, err := Parse(openWhisk)
	if err != nil {
		panic(err) // a test parses it
	}
	return manifest
}

// Load reads the OpenWhisk runtimes.json at path. An error about what is in it
// is [whisk.Invalid] and names the file, and the family or kind.
func Load(path string) (whisk.Manifest, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return whisk.Manifest{}, fmt.Errorf("read the runtimes manifest: %w", err)
	}
	manifest, err := Parse(data)
	if err != nil {
		return whisk.Manifest{}, fmt.Errorf("%s: %w", path, err)
	}
	return manifest, nil
}

// Parse reads an OpenWhisk runtimes.json. Families come sorted by name, the
// runtimes of one in the file's order. Fields that OpenWhisk does not know are
// ignored, as it does. An error is [whisk.Invalid] and names the family or kind.
func Parse(data []byte) (whisk.Manifest, error) {
	var file manifestFile
	if err := json.Unmarshal(data, &file); err != nil {
		return whisk.Manifest{}, whisk.Errorf(whisk.Invalid, "runtimes manifest: %w", err)
	}
	if file.Runtimes == nil {
		return whisk.Manifest{}, whisk.Errorf(whisk.Invalid, "runtimes manifest: it has no field \"runtimes\"")
	}
	var manifest whisk.Manifest
	owner := make(map[string]string) // of each kind, its family
	for _, name := range slices.Sorted(maps.Keys(file.Runtimes)) {
		family, err := newFamily(name, file.Runtimes[name], owner)
		if err != nil {
			return whisk.Manifest{}, err
		}
		manifest.Families = append(manifest.Families, family)
	}
	for i, image := range file.Blackboxes {
		if image.Name == "" {
			return whisk.Manifest{}, whisk.Errorf(whisk.Invalid, "runtimes manifest: blackboxes[%d]: the image has no name", i)
		}
		manifest.Blackboxes = append(manifest.Blackboxes, image.String())
	}
	return manifest, nil
}

// The file as OpenWhisk defines it.
type (
	manifestFile struct {
		Runtimes   map[string][]runtimeEntry `json:"runtimes"`
		Blackboxes []imageEntry              `json:"blackboxes"`
	}

	runtimeEntry struct {
		Kind        string          `json:"kind"`
		Image       imageEntry      `json:"image"`
		Deprecated  bool            `json:"deprecated"`
		Default     bool            `json:"default"`
		Attached    json.RawMessage `json:"attached"`
		RequireMain bool            `json:"requireMain"`
		Sentinels   *bool           `json:"sentinelledLogs"` // nil stands for true
		StemCells   []stemCellEntry `json:"stemCells"`
	}

	imageEntry struct {
		Registry string `json:"registry"`
		Prefix   string `json:"prefix"`
		Name     string `json:"name"`
		Tag      string `json:"tag"`
	}

	stemCellEntry struct {
		InitialCount *int           `json:"initialCount"`
		Count        *int           `json:"count"` // its older name
		Memory       string         `json:"memory"`
		Reactive     *reactiveEntry `json:"reactive"`
	}

	reactiveEntry struct {
		MinCount  int    `json:"minCount"`
		MaxCount  int    `json:"maxCount"`
		TTL       string `json:"ttl"`
		Threshold int    `json:"threshold"`
		Increment int    `json:"increment"`
	}
)

// String returns the image's full name, registry and tag included if it has them.
func (i imageEntry) String() string {
	name := i.Name
	if i.Prefix != "" {
		name = i.Prefix + "/" + name
	}
	if i.Registry != "" {
		name = strings.TrimSuffix(i.Registry, "/") + "/" + name
	}
	if i.Tag != "" {
		name += ":" + i.Tag
	}
	return name
}

func newFamily(name string, entries []runtimeEntry, owner map[string]string) (whisk.RuntimeFamily, error) {
	family := whisk.RuntimeFamily{Name: name}
	var defaults []string
	for _, entry := range entries {
		runtime, err := newRuntime(entry)
		if err != nil {
			return family, whisk.Errorf(whisk.Invalid, "runtimes manifest: family %q: kind %q: %w", name, entry.Kind, err)
		}
		if other, taken := owner[runtime.Kind]; taken {
			return family, whisk.Errorf(whisk.Invalid, "runtimes manifest: family %q: kind %q is already in family %q", name, runtime.Kind, other)
		}
		owner[runtime.Kind] = name
		if runtime.Default {
			defaults = append(defaults, runtime.Kind)
		}
		family.Runtimes = append(family.Runtimes, runtime)
	}
	switch {
	case len(entries) == 0:
		return family, whisk.Errorf(whisk.Invalid, "runtimes manifest: family %q has no runtime", name)
	case len(entries) == 1:
		family.Runtimes[0].Default = true
	case len(defaults) == 0:
		return family, whisk.Errorf(whisk.Invalid, "runtimes manifest: family %q has %d runtimes and no default, want exactly one", name, len(entries))
	case len(defaults) > 1:
		return family, whisk.Errorf(whisk.Invalid, "runtimes manifest: family %q has several defaults (%s), want exactly one", name, strings.Join(defaults, ", "))
	}
	return family, nil
}

func newRuntime(entry runtimeEntry) (whisk.Runtime, error) {
	runtime := whisk.Runtime{
		Kind:        entry.Kind,
		Image:       entry.Image.String(),
		Default:     entry.Default,
		Deprecated:  entry.Deprecated,
		RequireMain: entry.RequireMain,
		Attached:    len(entry.Attached) > 0 && string(entry.Attached) != "null",
		Sentinels:   entry.Sentinels == nil || *entry.Sentinels,
	}
	switch {
	case entry.Kind == "":
		return runtime, whisk.Errorf(whisk.Invalid, "it is empty")
	case entry.Kind != strings.ToLower(strings.TrimSpace(entry.Kind)):
		return runtime, whisk.Errorf(whisk.Invalid, "no action can have it: kinds are lower case and have no space around them")
	case entry.Kind == "sequence" || entry.Kind == "blackbox":
		return runtime, whisk.Errorf(whisk.Invalid, "the platform reserves it")
	case entry.Image.Name == "":
		return runtime, whisk.Errorf(whisk.Invalid, "the image has no name")
	}
	for i, cell := range entry.StemCells {
		stemCell, err := newStemCell(cell)
		if err != nil {
			return runtime, whisk.Errorf(whisk.Invalid, "stemCells[%d]: %w", i, err)
		}
		runtime.StemCells = append(runtime.StemCells, stemCell)
	}
	return runtime, nil
}

func newStemCell(entry stemCellEntry) (whisk.StemCell, error) {
	var cell whisk.StemCell
	count := entry.InitialCount
	if count == nil {
		count = entry.Count
	}
	if count == nil || *count < 1 {
		return cell, whisk.Errorf(whisk.Invalid, "initialCount must be at least 1")
	}
	memory, err := whisk.ParseBytes(entry.Memory)
	if err != nil {
		return cell, whisk.Errorf(whisk.Invalid, "memory: %w", err)
	}
	if memory < whisk.MB {
		return cell, whisk.Errorf(whisk.Invalid, "memory: %s is too little", memory)
	}
	cell = whisk.StemCell{Count: *count, Memory: memory}
	if entry.Reactive != nil {
		cell.Reactive, err = newReactive(*entry.Reactive)
	}
	return cell, err
}

func newReactive(entry reactiveEntry) (*whisk.ReactiveStemCell, error) {
	ttl, err := parseDuration(entry.TTL)
	switch {
	case err != nil:
		return nil, whisk.Errorf(whisk.Invalid, "reactive: ttl: %w", err)
	case ttl <= 0:
		return nil, whisk.Errorf(whisk.Invalid, "reactive: ttl must be more than 0")
	case entry.MinCount < 0 || entry.MaxCount < entry.MinCount:
		return nil, whisk.Errorf(whisk.Invalid, "reactive: want 0 <= minCount <= maxCount, got %d and %d", entry.MinCount, entry.MaxCount)
	case entry.Threshold < 1:
		return nil, whisk.Errorf(whisk.Invalid, "reactive: threshold must be at least 1")
	case entry.Increment < 1:
		return nil, whisk.Errorf(whisk.Invalid, "reactive: increment must be at least 1")
	}
	return &whisk.ReactiveStemCell{
		Min:       entry.MinCount,
		Max:       entry.MaxCount,
		TTL:       ttl,
		Threshold: entry.Threshold,
		Increment: entry.Increment,
	}, nil
}

// parseDuration reads a duration as OpenWhisk's files write them, such as "2 minutes".
func parseDuration(text string) (time.Duration, error) {
	trimmed := strings.TrimSpace(text)
	unitText := strings.TrimLeft(trimmed, "0123456789")
	n, err := strconv.ParseInt(trimmed[:len(trimmed)-len(unitText)], 10, 64)
	unit, known := map[string]time.Duration{
		"d": 24 * time.Hour, "day": 24 * time.Hour, "days": 24 * time.Hour,
		"h": time.Hour, "hr": time.Hour, "hrs": time.Hour, "hour": time.Hour, "hours": time.Hour,
		"m": time.Minute, "min": time.Minute, "mins": time.Minute, "minute": time.Minute, "minutes": time.Minute,
		"s": time.Second, "sec": time.Second, "secs": time.Second, "second": time.Second, "seconds": time.Second,
		"ms": time.Millisecond, "milli": time.Millisecond, "millis": time.Millisecond,
		"millisecond": time.Millisecond, "milliseconds": time.Millisecond,
	}[strings.TrimSpace(unitText)]
	if err != nil || !known || n > int64(1<<63-1)/int64(unit) {
		return 0, whisk.Errorf(whisk.Invalid, "bad duration %q, want a number and a unit such as 2 minutes", text)
	}
	return time.Duration(n) * unit, nil
}
