// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/whirl-faas/whirl/runtimes"
	"github.com/whirl-faas/whirl/whisk"
)

// offer is the runtimes that actions may ask for.
type offer struct {
	manifest whisk.Manifest
	images   bool               // and images of their own
	locals   []runtimes.Local   // of this machine, for the process driver
	missing  []runtimes.Missing // that this machine could have
}

// localOffer is what this machine has.
func localOffer(ctx context.Context, logger *slog.Logger) offer {
	locals, manifest, missing := runtimes.Detect(ctx, runtimes.Options{Logger: logger})
	return offer{manifest: manifest, locals: locals, missing: missing}
}

// runtimesUsage explains the flag that readOffer reads.
const runtimesUsage = "the kinds on offer: local (what this machine has, for the process driver), or, where the agents have the docker driver, openwhisk (those that OpenWhisk has images of) or a `FILE` in the form of OpenWhisk's runtimes.json"

// readOffer finds out what --runtimes stands for.
func readOffer(ctx context.Context, choice string, logger *slog.Logger) (offer, error) {
	switch choice {
	case "local":
		return localOffer(ctx, logger), nil
	case "openwhisk":
		return offer{manifest: runtimes.OpenWhisk(), images: true}, nil
	}
	manifest, err := runtimes.Load(choice)
	if err != nil {
		return offer{}, usageErrorf("--runtimes: want local, openwhisk or a file: %w", err)
	}
	return offer{manifest: manifest, images: true}, nil
}

// hint says how to get a runtime that is not offered, "" if nothing is known.
func (o offer) hint(kind string) string {
	if kind == whisk.Blackbox && !o.images {
		return "Container images need --driver docker."
	}
	family, _, _ := strings.Cut(kind, ":")
	for _, missing := range o.missing {
		if missing.Family == family {
			return "On this machine " + missing.Reason + mend(missing.Mend) + "."
		}
	}
	if o.locals == nil {
		return ""
	}
	if runtime, known := o.manifest.Resolve(family + ":default"); known && family != "native" {
		return fmt.Sprintf("This machine has %s, which %s:default stands for; it offers the version that is first on the platform's PATH.", runtime.Kind, family)
	}
	return ""
}
