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
	capabilities := s.driver.Capabilities()
	fmt.Fprintf(out, "Whirl %s is ready on %s\n\n", version, s.url())
	line(out, "data", s.settings.data)
	line(out, "memory", fmt.Sprintf("%s for actions", s.settings.memory))
	line(out, "runtimes", strings.Join(s.manifest.Kinds(), ", "))
	for _, missing := range s.missing {
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
`, s.url(), s.settings.auth)
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

// url is where clients on this machine find the API.
func (s *standalone) url() string {
	return "http://" + s.listener.Addr().String()
}
