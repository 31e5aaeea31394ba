// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"github.com/whirl-faas/whirl/agent/gate"
	"github.com/whirl-faas/whirl/driver/docker"
	"github.com/whirl-faas/whirl/driver/process"
)

// addPublishFlags adds those that matter where controllers are on other hosts.
func addPublishFlags(flags *pflag.FlagSet) {
	flags.String("publish", "", "`ADDRESS` of this machine by which controllers on other hosts reach containers (default: none, all controllers are on this machine)")
	flags.String("publish-ports", publishedPorts(gate.Default()), "with --publish: the ports `FIRST-LAST` that containers get there")
}

func publishedPorts(config gate.Config) string {
	return fmt.Sprintf("%d-%d", config.First, config.Last)
}

func (s *backSettings) readPublish(text func(string) string) (err error) {
	s.publish = gate.Default()
	first, last, _ := strings.Cut(text("publish-ports"), "-")
	for _, bound := range []struct {
		text string
		port *uint16
	}{{first, &s.publish.First}, {last, &s.publish.Last}} {
		number, err := strconv.ParseUint(bound.text, 10, 16)
		if err != nil {
			return usageErrorf("--publish-ports %q: want a range such as %s", text("publish-ports"), publishedPorts(gate.Default()))
		}
		*bound.port = uint16(number)
	}
	if text("publish") == "" {
		return nil
	}
	if s.publish.Address, err = netip.ParseAddr(text("publish")); err != nil {
		return usageErrorf("--publish %q: want an IP address of this machine, such as 10.0.0.2", text("publish"))
	}
	config := s.publish
	config.Instance = "any"
	if err := config.Validate(); err != nil {
		return usageErrorf("--publish %s, --publish-ports %s: %w", text("publish"), text("publish-ports"), err)
	}
	if s.driver == dockerDriver && s.network != string(docker.Outbound) {
		return usageErrorf("--publish with --driver docker needs --sandbox-network outbound, not %s: the engine publishes nothing else", s.network)
	}
	return nil
}

// readDenied reads which networks actions are kept from.
func (s *backSettings) readDenied(text string) error {
	for one := range strings.SplitSeq(text, ",") {
		if one == "" {
			continue
		}
		network, err := netip.ParsePrefix(strings.TrimSpace(one))
		if err != nil {
			return usageErrorf("--sandbox-denied %q: want networks such as 10.0.0.0/24,192.0.2.7/32", text)
		}
		s.denied = append(s.denied, network.Masked())
	}
	if len(s.denied) > 0 && s.network == string(process.Host) {
		return usageErrorf("--sandbox-denied: actions of this machine's own network cannot be kept from any, want --sandbox-network outbound")
	}
	return nil
}
