// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"strings"
)

// announce tells the user where the platform is, what it is made of and how to
// use it.
func (s *standalone) announce(out io.Writer) {
	capabilities := s.back.driver.Capabilities()
	fmt.Fprintf(out, "Whirl %s is ready on %s\n\n", version, s.front.url())
	line(out, "data", s.front.settings.data)
	line(out, "memory", fmt.Sprintf("%s for actions", s.back.settings.memory))
	line(out, "runtimes", strings.Join(s.back.offer.manifest.Kinds(), ", "))
	for _, missing := range s.back.offer.missing {
		line(out, "missing", missing.Reason+mend(missing.Mend))
	}
	for _, fact := range capabilities.Isolation {
		line(out, "isolation", fact)
	}
	for _, weak := range capabilities.Weak {
		line(out, "weaker", weak)
	}
	fmt.Fprintf(out, `
Connect the clients you have:
  wsk property set --apihost %[1]s --auth %[2]s
  curl -u %[2]s %[1]s/api/v1/namespaces
`, s.front.url(), s.front.settings.auth)
}

// line prints one fact under its name.
func line(out io.Writer, name, fact string) {
	fmt.Fprintf(out, "  %-10s  %s\n", name, fact)
}

func mend(command string) string {
	if command == "" {
		return ""
	}
	return "; to have it: " + command
}
