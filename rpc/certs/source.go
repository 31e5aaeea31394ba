// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Source is a process's certificate and the authorities that it believes. It
// looks at its files at each handshake and loads them again when they changed.
// Files that do not fit together are not taken: the former ones stay in use, and
// the log says why. All methods may be called concurrently.
type Source struct {
	files Files
	log   *slog.Logger

	mu      sync.Mutex
	stamp   stamp // of the files as they were last looked at
	current material
}

// material is what was loaded together.
type material struct {
	identity    Identity
	certificate tls.Certificate
	authorities *x509.CertPool
}

// stamp tells whether files changed.
type stamp [3]struct {
	modified time.Time
	size     int64
}

// Open loads the files. The error says what is wrong with them, if they are not
// a valid certificate of a believed authority that says who its holder is.
func Open(files Files, log *slog.Logger) (*Source, error) {
	s := &Source{files: files, log: log.With("component", "certs")}
	var err error
	if s.stamp, err = files.stamp(); err != nil {
		return nil, err
	}
	s.current, err = files.load()
	return s, err
}

// Identity returns who the process is.
func (s *Source) Identity() Identity { return s.fresh().identity }

// Server returns the configuration of a server that lets in only who has a
// valid certificate of a believed authority; see [IdentityOf] for whose.
// protocols are those of ALPN, such as "h2" and "http/1.1".
func (s *Source) Server(protocols ...string) *tls.Config {
	return s.server(tls.RequireAndVerifyClientCert, protocols)
}

// OpenServer is like Server, but serves clients without a certificate too: those
// that ask for what is everybody's. One that is shown must be valid.
func (s *Source) OpenServer(protocols ...string) *tls.Config {
	return s.server(tls.VerifyClientCertIfGiven, protocols)
}

func (s *Source) server(clients tls.ClientAuthType, protocols []string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: protocols,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			now := s.fresh()
			return &tls.Config{
				MinVersion:             tls.VersionTLS13,
				NextProtos:             protocols,
				Certificates:           []tls.Certificate{now.certificate},
				ClientAuth:             clients,
				ClientCAs:              now.authorities,
				SessionTicketsDisabled: true, // a resumed session would not be checked against today's files
				VerifyConnection: func(state tls.ConnectionState) error {
					if len(state.PeerCertificates) == 0 {
						return nil // if ClientAuth allows that
					}
					_, err := IdentityOf(state.PeerCertificates[0])
					return err
				},
			}, nil
		},
	}
}

// Client returns the configuration for one connection to a server of which
// accept approves.
func (s *Source) Client(accept func(Identity) error, protocols ...string) *tls.Config {
	now := s.fresh()
	return &tls.Config{
		MinVersion:   tls.VersionTLS13,
		NextProtos:   protocols,
		Certificates: []tls.Certificate{now.certificate},
		// The check by host name is replaced, not left out: what counts is which
		// role the server plays and under which name.
		InsecureSkipVerify: true,
		VerifyConnection: func(state tls.ConnectionState) error {
			if err := verify(state.PeerCertificates, now.authorities, x509.ExtKeyUsageServerAuth); err != nil {
				return err
			}
			identity, err := IdentityOf(state.PeerCertificates[0])
			if err != nil {
				return err
			}
			return accept(identity)
		},
	}
}

// fresh returns what the files hold now, or held when they last fitted together.
func (s *Source) fresh() material {
	now, err := s.files.stamp()
	s.mu.Lock()
	known, current := s.stamp, s.current
	s.mu.Unlock()
	if now == known {
		return current
	}
	var loaded material
	if err == nil {
		loaded, err = s.files.load()
	}
	if err != nil {
		s.log.Error("changed certificates are not used", "err", err)
		loaded = current
	} else {
		s.log.Info("certificates loaded again", "identity", loaded.identity, "expires", loaded.certificate.Leaf.NotAfter)
	}
	s.mu.Lock()
	s.stamp, s.current = now, loaded
	s.mu.Unlock()
	return loaded
}

// stamp of files of which one is missing is the zero stamp.
func (f Files) stamp() (now stamp, err error) {
	for i, name := range [...]string{f.CA, f.Cert, f.Key} {
		info, err := os.Stat(name)
		if err != nil {
			return stamp{}, err
		}
		now[i].modified, now[i].size = info.ModTime(), info.Size()
	}
	return now, nil
}

func (f Files) load() (m material, err error) {
	if m.certificate, err = f.pair(); err != nil {
		return m, err
	}
	if m.authorities, err = f.authorities(); err != nil {
		return m, err
	}
	if m.identity, err = IdentityOf(m.certificate.Leaf); err != nil {
		return m, fmt.Errorf("%s: %w", f.Cert, err)
	}
	chain := []*x509.Certificate{m.certificate.Leaf}
	for _, der := range m.certificate.Certificate[1:] {
		between, err := x509.ParseCertificate(der)
		if err != nil {
			return m, fmt.Errorf("%s: %w", f.Cert, err)
		}
		chain = append(chain, between)
	}
	if err := verify(chain, m.authorities, x509.ExtKeyUsageAny); err != nil {
		return m, fmt.Errorf("%s by the authorities in %s: %w", f.Cert, f.CA, err)
	}
	return m, nil
}

// verify checks a chain, its own certificate first.
func verify(chain []*x509.Certificate, authorities *x509.CertPool, usage x509.ExtKeyUsage) error {
	if len(chain) == 0 {
		return errors.New("no certificate")
	}
	between := x509.NewCertPool()
	for _, certificate := range chain[1:] {
		between.AddCert(certificate)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots: authorities, Intermediates: between, KeyUsages: []x509.ExtKeyUsage{usage},
	})
	if err != nil {
		return whisk.Errorf(whisk.Denied, "certificate of %q: %w", chain[0].Subject.CommonName, err)
	}
	return nil
}
