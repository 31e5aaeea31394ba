// SPDX-License-Identifier: Apache-2.0

// Package certs is the identity of Whirl's processes: a certificate authority
// of the cluster's own, certificates that say which role their holder plays and
// under which name, and the TLS configurations that check them.
//
// Who a peer is stands in its certificate's URI, spiffe://whirl/ROLE/NAME. Where
// it is found does not matter: host names and addresses are in a certificate for
// HTTPS clients that are not part of Whirl, such as curl.
//
// An authority is a directory with ca.crt and ca.key. [CreateAuthority] makes it
// and [Issue] makes certificates from it; neither ever replaces a file. Only
// ca.crt and a role's own two files belong on the machine that runs the role.
//
// A [Source] reads such files again when they change, so that a certificate is
// replaced, or another authority trusted, without a restart.
// docs/adr/0009-roles-in-certificates.md has the reasons.
package certs
