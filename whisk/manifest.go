// SPDX-License-Identifier: Apache-2.0

package whisk

import (
	"slices"
	"strings"
	"time"
)

// Manifest lists the runtimes that a platform offers, in OpenWhisk's terms.
// Package runtimes reads it from runtimes.json or finds out what a machine has.
type Manifest struct {
	Families   []RuntimeFamily
	Blackboxes []string // full names of images that users give and that write sentinels all the same
}

// RuntimeFamily is one language, such as "nodejs", with its versions.
type RuntimeFamily struct {
	Name     string
	Runtimes []Runtime // exactly one of them is the default
}

// Runtime is one kind of action.
type Runtime struct {
	Kind        string // such as "nodejs:20"
	Image       string // full name of its image, as the API shows it
	Default     bool   // of its family
	Deprecated  bool   // may be read and deleted, but not written or run
	RequireMain bool   // actions must name their entry point
	Attached    bool   // the manifest has an attachment record, shown by the API
	Sentinels   bool   // it ends each run's output with the sentinel lines
	StemCells   []StemCell
}

// StemCell says how many prewarmed containers of a kind to keep.
type StemCell struct {
	Count    int
	Memory   Bytes
	Reactive *ReactiveStemCell // nil keeps Count for ever
}

// ReactiveStemCell lets the number of prewarmed containers follow the cold
// starts that found none.
type ReactiveStemCell struct {
	Min, Max  int
	TTL       time.Duration // unused prewarmed containers live this long
	Threshold int           // cold starts that raise the number by Increment
	Increment int
}

// Kinds returns all kinds, sorted.
func (m Manifest) Kinds() []string {
	var kinds []string
	for _, family := range m.Families {
		for _, runtime := range family.Runtimes {
			kinds = append(kinds, runtime.Kind)
		}
	}
	slices.Sort(kinds)
	return kinds
}

// Images returns the image of each kind.
func (m Manifest) Images() map[string]string {
	images := make(map[string]string)
	for _, family := range m.Families {
		for _, runtime := range family.Runtimes {
			images[runtime.Kind] = runtime.Image
		}
	}
	return images
}

// Blackbox returns the runtime of an image that a user names. Such images are not
// expected to write sentinels, but for those that the manifest lists.
func (m Manifest) Blackbox(image string) Runtime {
	listed := slices.ContainsFunc(m.Blackboxes, func(known string) bool { return withoutLatest(known) == withoutLatest(image) })
	return Runtime{Kind: Blackbox, Image: image, Sentinels: listed}
}

// withoutLatest makes the two names of an image without a tag the same.
func withoutLatest(image string) string { return strings.TrimSuffix(image, ":latest") }

// Resolve finds the runtime of a kind as users write it: in any case, with
// white space around it, and with "<family>:default" for the family's default.
func (m Manifest) Resolve(kind string) (Runtime, bool) {
	kind = strings.ToLower(strings.TrimSpace(kind))
	for _, family := range m.Families {
		for _, runtime := range family.Runtimes {
			if runtime.Kind == kind || runtime.Default && kind == family.Name+":default" {
				return runtime, true
			}
		}
	}
	return Runtime{}, false
}
