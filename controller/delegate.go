// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"

	"github.com/whirl-faas/whirl/whisk"
)

// An action may want the key of the namespace that invokes it. Where that is
// the owner's who did not call, as behind a web action, nobody has that key: the
// platform keeps only its hash. So it makes a key of its own, by a secret that
// is not in the store, that opens the namespace for as long as the owner's key does.

// delegatedKey returns the key that stands for the owner's, the zero AuthKey if
// the platform has no secret to make keys by.
func (c *Controller) delegatedKey(namespace whisk.SubjectNamespace) whisk.AuthKey {
	if len(c.deps.Secret) == 0 {
		return whisk.AuthKey{}
	}
	mac := hmac.New(sha256.New, c.deps.Secret)
	mac.Write([]byte(namespace.UUID + " " + string(namespace.Key)))
	return whisk.AuthKey{UUID: namespace.UUID, Key: hex.EncodeToString(mac.Sum(nil))} // 64 digits, as long as any key
}

// opens reports whether a key is the namespace's, or stands for it.
func (c *Controller) opens(key whisk.AuthKey, namespace whisk.SubjectNamespace) bool {
	if namespace.UUID != key.UUID {
		return false
	}
	if namespace.Key.Matches(key.Key) {
		return true
	}
	delegated := c.delegatedKey(namespace)
	return delegated.Key != "" && subtle.ConstantTimeCompare([]byte(delegated.Key), []byte(key.Key)) == 1
}
