// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/whirl-faas/whirl/whisk"
)

// Caller is who makes a request, and the secret by which they proved it. The
// secret is only in memory, and in the durable queue as accepted.go tells;
// the platform stores its hash.
type Caller struct {
	whisk.Identity
	Key whisk.AuthKey

	limits   *whisk.Limits // of the namespace; nil for what all are allowed
	platform bool          // it is the platform itself
}

// What is wrong with a request's credentials. Both are for the user.
var (
	ErrNoCredentials = errors.New("The resource requires authentication, which was not supplied with the request")
	ErrCredentials   = errors.New("The supplied authentication is invalid")
)

// Authenticate finds out who sent a request with this Authorization header. The
// error is [ErrNoCredentials], [ErrCredentials], or one of the store.
//
// Proven headers are cached as they came: a hit decodes and hashes nothing. Refused ones
// are not, so a key works as soon as it was made.
func (c *Controller) Authenticate(ctx context.Context, header string) (*Caller, error) {
	if caller, ok := c.identities.get(header); ok {
		return caller, nil
	}
	if header == "" {
		return nil, ErrNoCredentials
	}
	scheme, token, _ := strings.Cut(header, " ")
	if !strings.EqualFold(scheme, "basic") {
		return nil, ErrCredentials
	}
	text, err := base64.StdEncoding.DecodeString(strings.TrimSpace(token))
	if err != nil {
		return nil, ErrCredentials
	}
	key, err := whisk.ParseAuthKey(string(text))
	if err != nil {
		return nil, ErrCredentials
	}
	return c.identities.load(ctx, header, header, func(ctx context.Context) (*Caller, error) {
		return c.prove(ctx, key)
	})
}

func (c *Controller) prove(ctx context.Context, key whisk.AuthKey) (*Caller, error) {
	subject, err := c.deps.Subjects.Lookup(ctx, key.UUID)
	switch {
	case err != nil && whisk.KindOf(err) == whisk.NotFound:
		return nil, ErrCredentials
	case err != nil:
		return nil, fmt.Errorf("look up the key %s: %w", key.UUID, err)
	case subject.Blocked:
		return nil, ErrCredentials
	}
	for _, namespace := range subject.Namespaces {
		if c.opens(key, namespace) {
			identity := whisk.Identity{Subject: subject.Name, Namespace: namespace.Name, UUID: namespace.UUID}
			limits, err := c.limitsOf(ctx, namespace.Name)
			return &Caller{Identity: identity, Key: key, limits: limits}, err
		}
	}
	return nil, ErrCredentials
}
