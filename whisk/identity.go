// SPDX-License-Identifier: Apache-2.0

package whisk

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"strings"
)

// MinSubjectLength and KeyLength are OpenWhisk's: a subject's name has at least
// 5 characters, a key exactly 64.
const (
	MinSubjectLength = 5
	KeyLength        = 64
)

// Subject is a user of the platform, who may own several namespaces.
type Subject struct {
	Name       string             `json:"subject"`
	Namespaces []SubjectNamespace `json:"namespaces"`
	Blocked    bool               `json:"blocked,omitempty"` // its keys are refused
}

// SubjectNamespace is a namespace of a subject with the one key that opens it.
type SubjectNamespace struct {
	Name string  `json:"name"`
	UUID string  `json:"uuid"`
	Key  KeyHash `json:"key"`
}

// Identity is who a request speaks for, once its key was checked.
type Identity struct {
	Subject   string
	Namespace string
	UUID      string // of the namespace: what throttles count by
}

// AuthKey is the secret by which a client acts in a namespace, written "uuid:key".
type AuthKey struct {
	UUID string
	Key  string
}

// ParseAuthKey splits "uuid:key". It is Invalid unless the uuid is there and the
// key has 64 characters.
func ParseAuthKey(s string) (AuthKey, error) {
	uuid, key, ok := strings.Cut(s, ":")
	if !ok || uuid == "" || len(key) != KeyLength {
		return AuthKey{}, Errorf(Invalid, "bad key, want UUID:KEY with a KEY of %d characters", KeyLength)
	}
	return AuthKey{uuid, key}, nil
}

// String returns the secret itself; never log it.
func (k AuthKey) String() string { return k.UUID + ":" + k.Key }

// GenerateKey returns a fresh random key of 64 letters and digits.
func GenerateKey() string {
	return (rand.Text() + rand.Text() + rand.Text())[:KeyLength]
}

// KeyHash is the SHA-256 of a key in hex. Keys are random and long, so one
// round of a fast hash is enough, and it may be computed for every request.
type KeyHash string

// HashKey returns the hash under which key is stored.
func HashKey(key string) KeyHash {
	sum := sha256.Sum256([]byte(key))
	return KeyHash(hex.EncodeToString(sum[:]))
}

// Matches reports, in constant time, whether h is the hash of key.
func (h KeyHash) Matches(key string) bool {
	return subtle.ConstantTimeCompare([]byte(h), []byte(HashKey(key))) == 1
}
