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
	fmt.Fprintf(out, "Whirl %s is ready on %s\n\n", version, s.front.url())
	s.front.announceOffice(out)
	line(out, "data", s.front.settings.data)
	line(out, "logs", s.front.settings.logs.String())
	line(out, "limits", s.front.settings.throttles.String())
	s.back.announce(out)
	s.front.announce(out)
}

// announce tells what the containers are.
func (b *back) announce(out io.Writer) {
	line(out, "memory", fmt.Sprintf("%s for actions", b.settings.memory))
	line(out, "runtimes", strings.Join(b.offer.manifest.Kinds(), ", "))
	for _, missing := range b.offer.missing {
		line(out, "missing", missing.Reason+mend(missing.Mend))
	}
	capabilities := b.driver.Capabilities()
	for _, fact := range capabilities.Isolation {
		line(out, "isolation", fact)
	}
	for _, weak := range capabilities.Weak {
		line(out, "weaker", weak)
	}
}

// announceOffice tells where operators are answered, if they are.
func (f *front) announceOffice(out io.Writer) {
	if f.office != nil {
		line(out, "operators", f.office.listener.Addr().String())
	}
}

// announce tells how to connect.
func (f *front) announce(out io.Writer) {
	fmt.Fprintf(out, `
Connect the clients you have:
  wsk property set --apihost %[1]s --auth %[2]s
  curl -u %[2]s %[1]s/api/v1/namespaces
`, f.url(), f.settings.auth)
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
