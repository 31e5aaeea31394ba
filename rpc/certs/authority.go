// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Lifetimes. A certificate never outlives the authority that issued it.
const (
	AuthorityLifetime = 10 * 365 * 24 * time.Hour
	DefaultLifetime   = 365 * 24 * time.Hour // of a role's certificate
)

// skew is how far a certificate's validity reaches back: clocks differ.
const skew = 5 * time.Minute

// The authority's files in its directory.
const (
	authorityCert = "ca.crt"
	authorityKey  = "ca.key"
)

// CreateAuthority makes a certificate authority in dir, which is made if need
// be, and returns its certificate's file. Conflict if there is one already.
func CreateAuthority(dir string) (file string, err error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	now := time.Now()
	template := &x509.Certificate{
		Subject:               pkix.Name{Organization: []string{"Whirl"}, CommonName: "Whirl cluster authority"},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(AuthorityLifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	files := Files{Cert: filepath.Join(dir, authorityCert), Key: filepath.Join(dir, authorityKey)}
	return files.Cert, files.write(der, key)
}

// Request is what a certificate is issued for.
type Request struct {
	Identity Identity
	Hosts    []string      // names and IP addresses by which HTTPS clients reach the holder; may be empty
	Lifetime time.Duration // 0 for [DefaultLifetime]
	Out      string        // the directory of the new files; "" for the authority's
}

// Issue makes a key and a certificate with the authority in dir, as files named
// ROLE-NAME.key and ROLE-NAME.crt. Invalid if the request is wrong, NotFound if
// dir holds no authority, Conflict if one of the files exists.
func Issue(dir string, r Request) (Files, error) {
	template, err := r.template(time.Now())
	if err != nil {
		return Files{}, err
	}
	authority, signer, err := openAuthority(dir)
	if err != nil {
		return Files{}, err
	}
	if template.NotAfter.After(authority.NotAfter) {
		template.NotAfter = authority.NotAfter
	}
	if time.Now().After(template.NotAfter) {
		return Files{}, whisk.Errorf(whisk.Invalid, "the authority in %s expired at %v: make another one", dir, authority.NotAfter)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Files{}, err
	}
	der, err := x509.CreateCertificate(rand.Reader, template, authority, key.Public(), signer)
	if err != nil {
		return Files{}, err
	}
	out := r.Out
	if out == "" {
		out = dir
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return Files{}, err
	}
	base := filepath.Join(out, string(r.Identity.Role)+"-"+r.Identity.Name)
	files := Files{CA: filepath.Join(dir, authorityCert), Cert: base + ".crt", Key: base + ".key"}
	return files, files.write(der, key)
}

func (r Request) template(now time.Time) (*x509.Certificate, error) {
	if err := r.Identity.Check(); err != nil {
		return nil, err
	}
	lifetime := r.Lifetime
	if lifetime == 0 {
		lifetime = DefaultLifetime
	}
	if lifetime < 0 {
		return nil, whisk.Errorf(whisk.Invalid, "bad lifetime %v, want a positive one", lifetime)
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{Organization: []string{"Whirl"}, OrganizationalUnit: []string{string(r.Identity.Role)}, CommonName: r.Identity.Name},
		NotBefore:             now.Add(-skew),
		NotAfter:              now.Add(lifetime),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		URIs:                  []*url.URL{r.Identity.uri()},
	}
	for _, host := range r.Hosts {
		switch ip := net.ParseIP(host); {
		case ip != nil:
			template.IPAddresses = append(template.IPAddresses, ip)
		case isHostName(host):
			template.DNSNames = append(template.DNSNames, host)
		default:
			return nil, whisk.Errorf(whisk.Invalid, "bad host %q, want a host name or an IP address, without a port", host)
		}
	}
	return template, nil
}

func isHostName(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		illegal := func(r rune) bool {
			return (r < 'a' || 'z' < r) && (r < 'A' || 'Z' < r) && (r < '0' || '9' < r) && r != '-'
		}
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, illegal) {
			return false
		}
	}
	return true
}

// openAuthority loads what signs certificates.
func openAuthority(dir string) (*x509.Certificate, crypto.Signer, error) {
	name := filepath.Join(dir, authorityKey)
	if _, err := os.Stat(name); err != nil {
		return nil, nil, whisk.Errorf(whisk.NotFound, "%s holds no certificate authority: %w", dir, err)
	}
	pair, err := Files{Cert: filepath.Join(dir, authorityCert), Key: name}.pair()
	if err != nil {
		return nil, nil, err
	}
	signer, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || !pair.Leaf.IsCA {
		return nil, nil, whisk.Errorf(whisk.Invalid, "%s is no certificate authority's", filepath.Join(dir, authorityCert))
	}
	return pair.Leaf, signer, nil
}
