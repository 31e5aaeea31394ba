// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/whirl-faas/whirl/whisk"
)

// Files names what a process needs to prove who it is and to check who others
// are, all PEM.
type Files struct {
	CA   string // the authorities whose certificates are believed; may hold several
	Cert string // the process's own certificate
	Key  string // and its private key
}

// write makes the certificate's and the key's file, the key readable to its
// owner alone. It replaces nothing, and leaves nothing behind if it fails.
func (f Files) write(der []byte, key crypto.Signer) error {
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := writeNew(f.Key, "PRIVATE KEY", secret, 0o600); err != nil {
		return err
	}
	if err := writeNew(f.Cert, "CERTIFICATE", der, 0o644); err != nil {
		return errors.Join(err, os.Remove(f.Key))
	}
	return nil
}

func writeNew(name, kind string, der []byte, mode fs.FileMode) (err error) {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return whisk.Errorf(whisk.Conflict, "%s exists, and is never replaced: move it away first, or choose another directory", name)
	}
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, file.Close()); err != nil {
			err = errors.Join(err, os.Remove(name))
		}
	}()
	if err := file.Chmod(mode); err != nil { // whatever the umask says
		return err
	}
	if err := pem.Encode(file, &pem.Block{Type: kind, Bytes: der}); err != nil {
		return err
	}
	return file.Sync()
}

// pair loads the certificate and its key.
func (f Files) pair() (tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(f.Cert, f.Key)
	if err != nil {
		return pair, fmt.Errorf("load certificate %s with key %s: %w", f.Cert, f.Key, err)
	}
	return pair, nil
}

// authorities loads the certificates to believe.
func (f Files) authorities() (*x509.CertPool, error) {
	text, err := os.ReadFile(f.CA)
	if err != nil {
		return nil, fmt.Errorf("load the authorities: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, whisk.Errorf(whisk.Invalid, "%s holds no certificate in PEM form", f.CA)
	}
	return pool, nil
}
