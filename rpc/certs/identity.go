// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto/x509"
	"net/url"
	"slices"
	"strings"

	"github.com/whirl-faas/whirl/whisk"
)

// Role is a part that a process may play in the cluster.
type Role string

// The roles that certificates are issued for.
const (
	Controller Role = "controller"
	Scheduler  Role = "scheduler"
	Agent      Role = "agent"
	Operator   Role = "operator" // a person or a tool: opens no session, may call the roles' HTTP surfaces
)

// Roles returns every role, in the order in which people are told of them.
func Roles() []Role { return []Role{Controller, Scheduler, Agent, Operator} }

// Identity is who holds a certificate.
type Identity struct {
	Role Role
	Name string // unique among those of the role
}

// trustDomain is the host of every identity's URI. Clusters are kept apart by
// their authorities, not by it.
const trustDomain = "whirl"

// longestName is the longest name that fits into a certificate's common name.
const longestName = 64

// Check reports whether the identity may stand in a certificate. The error is
// Invalid and says what is allowed.
func (i Identity) Check() error {
	if !slices.Contains(Roles(), i.Role) {
		return whisk.Errorf(whisk.Invalid, "no role %q, want one of %v", string(i.Role), Roles())
	}
	legal := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("._-", r)
	}
	if i.Name == "" || len(i.Name) > longestName || strings.Trim(i.Name, ".") == "" ||
		strings.ContainsFunc(i.Name, func(r rune) bool { return !legal(r) }) {
		return whisk.Errorf(whisk.Invalid, "bad name %q, want 1 to %d letters, digits, dots, underscores and dashes", i.Name, longestName)
	}
	return nil
}

// Covers reports whether the holder may call itself id. That is its name; and
// for a controller its name, a slash and anything: it has a new id at each
// start, so that the leases of its former life are not taken for its own.
func (i Identity) Covers(id string) bool {
	instance, ok := strings.CutPrefix(id, i.Name+"/")
	return id == i.Name || i.Role == Controller && ok && instance != ""
}

// String returns "role name".
func (i Identity) String() string { return string(i.Role) + " " + i.Name }

// uri is the identity as a certificate has it.
func (i Identity) uri() *url.URL {
	return &url.URL{Scheme: "spiffe", Host: trustDomain, Path: "/" + string(i.Role) + "/" + i.Name}
}

// IdentityOf reads who a certificate was issued to. It is Denied if the
// certificate does not say so in exactly one URI. Whether the certificate is to
// be believed is another question.
func IdentityOf(certificate *x509.Certificate) (Identity, error) {
	if len(certificate.URIs) != 1 {
		return Identity{}, whisk.Errorf(whisk.Denied, "the certificate of %q has %d URIs, want one such as %s",
			certificate.Subject, len(certificate.URIs), Identity{Agent, "NAME"}.uri())
	}
	found := certificate.URIs[0]
	role, name, _ := strings.Cut(strings.TrimPrefix(found.Path, "/"), "/")
	identity := Identity{Role(role), name}
	if identity.Check() != nil || *found != *identity.uri() {
		return Identity{}, whisk.Errorf(whisk.Denied, "the certificate is for %q, want a URI such as %s", found, Identity{Agent, "NAME"}.uri())
	}
	return identity, nil
}
