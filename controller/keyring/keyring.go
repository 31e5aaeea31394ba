// SPDX-License-Identifier: Apache-2.0

// Package keyring encrypts the values of parameters and decrypts them, byte for
// byte as OpenWhisk stores them: what either wrote the other reads. The scheme is
// part of the parameter, so values of several schemes and keys live side by
// side, and a scheme that is in use no longer stays readable for as long as its
// key is on the ring.
//
// It knows nothing of entities: which parameters are locked, and when, is the
// controller's business. docs/operations.md tells operators about keys.
package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/whirl-faas/whirl/whisk"
)

// Scheme is how a value is encrypted. Its name is that which OpenWhisk gives it.
type Scheme string

// The schemes: AES in Galois/Counter mode, with keys of 16 and of 32 bytes.
const (
	AES128 Scheme = "aes-128"
	AES256 Scheme = "aes-256"
)

// shape is what OpenWhisk settled for a scheme, in bytes.
type shape struct{ key, nonce int }

var shapes = map[Scheme]shape{
	AES128: {key: 16, nonce: 12},
	AES256: {key: 32, nonce: 128},
}

// Keyring holds keys. It is not changed after New, so it may be used
// concurrently. A nil Keyring has no keys: it locks nothing.
type Keyring struct {
	current Scheme
	ciphers map[Scheme][]cipher.AEAD // the first of each encrypts
}

// New returns a ring of keys, of which each scheme may have several: the first
// encrypts, all decrypt. current is the scheme in which values are written, ""
// for plain text. The error is Invalid and does not show the keys.
func New(current Scheme, keys map[Scheme][][]byte) (*Keyring, error) {
	ring := &Keyring{current: current, ciphers: map[Scheme][]cipher.AEAD{}}
	for scheme, list := range keys {
		form, known := shapes[scheme]
		if !known {
			return nil, whisk.Errorf(whisk.Invalid, "there is no scheme %q to encrypt with, only %s and %s", scheme, AES128, AES256)
		}
		for _, key := range list {
			if len(key) != form.key {
				return nil, whisk.Errorf(whisk.Invalid, "a key of %s has %d bytes, not %d", scheme, form.key, len(key))
			}
			block, err := aes.NewCipher(key)
			if err != nil {
				return nil, fmt.Errorf("key of %s: %w", scheme, err)
			}
			aead, err := cipher.NewGCMWithNonceSize(block, form.nonce)
			if err != nil {
				return nil, fmt.Errorf("key of %s: %w", scheme, err)
			}
			ring.ciphers[scheme] = append(ring.ciphers[scheme], aead)
		}
	}
	if current != "" && len(ring.ciphers[current]) == 0 {
		return nil, whisk.Errorf(whisk.Invalid, "there is no key of %s to encrypt with", current)
	}
	return ring, nil
}

// Lock returns the parameters with all values encrypted that are not encrypted
// yet: p itself where there is nothing to do.
func (r *Keyring) Lock(p whisk.Parameters) whisk.Parameters {
	if r == nil || r.current == "" || len(p) == 0 {
		return p
	}
	locked := make(whisk.Parameters, len(p))
	for i, parameter := range p {
		if parameter.Encryption == "" {
			parameter.Value = seal(r.ciphers[r.current][0], parameter.Value)
			parameter.Encryption = string(r.current)
		}
		locked[i] = parameter
	}
	return locked
}

// Unlock returns the parameters with all values in plain text: p itself where
// they are. What is marked with no scheme of ours is left as it is, as OpenWhisk
// leaves it. An error says of which parameter a key is missing, or no key fits.
func (r *Keyring) Unlock(p whisk.Parameters) (whisk.Parameters, error) {
	var plain whisk.Parameters
	for i, parameter := range p {
		if _, ours := shapes[Scheme(parameter.Encryption)]; !ours || parameter.Value[0] != '"' {
			continue
		}
		value, err := r.open(Scheme(parameter.Encryption), parameter.Value)
		if err != nil {
			return nil, fmt.Errorf("parameter %q: %w", parameter.Key, err)
		}
		if plain == nil {
			plain = append(make(whisk.Parameters, 0, len(p)), p...)
		}
		plain[i].Value, plain[i].Encryption = value, ""
	}
	if plain == nil {
		return p, nil
	}
	return plain, nil
}

// The encrypted form is the length of the nonce in four bytes, the nonce, and
// the sealed text with its tag, in base64, as a JSON string.
const lengthSize = 4

func seal(aead cipher.AEAD, value json.RawMessage) json.RawMessage {
	form := make([]byte, lengthSize+aead.NonceSize(), lengthSize+aead.NonceSize()+len(value)+aead.Overhead())
	binary.BigEndian.PutUint32(form, uint32(aead.NonceSize()))
	nonce := form[lengthSize:]
	rand.Read(nonce) // never fails
	form = aead.Seal(form, nonce, value, nil)
	text := append(make([]byte, 0, base64.StdEncoding.EncodedLen(len(form))+2), '"')
	text = base64.StdEncoding.AppendEncode(text, form)
	return append(text, '"')
}

func (r *Keyring) open(scheme Scheme, value json.RawMessage) (json.RawMessage, error) {
	if r == nil || len(r.ciphers[scheme]) == 0 {
		return nil, whisk.Errorf(whisk.Unavailable, "it is encrypted with %s, of which the platform has no key", scheme)
	}
	var text string
	if err := json.Unmarshal(value, &text); err != nil {
		return nil, whisk.Errorf(whisk.Invalid, "it is marked as encrypted with %s, but is no string", scheme)
	}
	form, err := base64.StdEncoding.DecodeString(text)
	size := shapes[scheme].nonce
	if err != nil || strings.ContainsAny(text, "\r\n") || len(form) < lengthSize+size || binary.BigEndian.Uint32(form) != uint32(size) {
		return nil, whisk.Errorf(whisk.Invalid, "it is marked as encrypted with %s, but has not that form", scheme)
	}
	for _, aead := range r.ciphers[scheme] {
		plain, err := aead.Open(nil, form[lengthSize:lengthSize+size], form[lengthSize+size:], nil)
		if err == nil && json.Valid(plain) {
			return plain, nil
		}
	}
	return nil, whisk.Errorf(whisk.Unavailable, "it is encrypted with %s, but with no key that the platform has", scheme)
}
