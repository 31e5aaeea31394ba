// SPDX-License-Identifier: Apache-2.0

//go:build database

package postgres_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/store/postgres/postgrestest"
)

// selfSigned returns a certificate for a host, and its key.
func selfSigned(t *testing.T, host string) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "database"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	must(t, err)
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
}

// TestVerifiedServers connects by TLS to a server with a certificate, and to one
// that has another's.
func TestVerifiedServers(t *testing.T) {
	server := postgrestest.Start(t)
	root := filepath.Join(t.TempDir(), "root.crt")
	try := func(settings ...string) error {
		url := server.URL
		for i := 0; i < len(settings); i += 2 {
			url = postgrestest.With(url, settings[i], settings[i+1])
		}
		s := openAt(t, url)
		defer s.Close()
		return s.Ping(t.Context())
	}
	wantUnavailable(t, try("sslmode", "verify-full"), "TLS", "secret")
	for host, fits := range map[string]bool{"127.0.0.1": true, "elsewhere": false} {
		certificate, key := selfSigned(t, host)
		must(t, os.WriteFile(root, certificate, 0o600))
		for name, content := range map[string][]byte{"server.crt": certificate, "server.key": key} {
			text := base64.StdEncoding.EncodeToString(content)
			server.Query("COPY (SELECT '" + text + "') TO PROGRAM 'umask 077 && base64 -d >" + name + "'")
		}
		server.Query("ALTER SYSTEM SET ssl = on")
		server.Query("SELECT pg_reload_conf()")
		eventually(t, "the server speaks TLS", func() bool { return try("sslmode", "require") == nil })
		must(t, try()) // on this host nothing is asked for
		err := try("sslmode", "verify-full", "sslrootcert", root)
		if fits && err != nil {
			t.Errorf("%s: %v", host, err)
		}
		if !fits {
			wantUnavailable(t, err, "certificate", "secret")
		}
		if err := try("sslmode", "verify-full"); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("without its authority: %v", err)
		}
	}
}
