// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"fmt"

	"github.com/whirl-faas/whirl/whisk"
)

// SetLimits changes what a namespace has of its own, and returns the line that tells so.
func (s Subjects) SetLimits(ctx context.Context, namespace string, change func(*whisk.NamespaceLimits) error) (string, error) {
	if err := whisk.CheckNamespace(namespace); err != nil {
		return "", err
	}
	limits, err := s.Store.NamespaceLimits(ctx, namespace)
	if err != nil {
		return "", err
	}
	if err := change(&limits); err != nil {
		return "", err
	}
	if err := limits.Validate(); err != nil {
		return "", err
	}
	if err := s.Store.PutNamespaceLimits(ctx, namespace, limits); err != nil {
		return "", err
	}
	return fmt.Sprintf("Limits successfully set for %q", namespace), nil
}

// DeleteLimits has a namespace share the limits of all, and returns the line
// that tells so. NotFound if it does already.
func (s Subjects) DeleteLimits(ctx context.Context, namespace string) (string, error) {
	err := s.Store.DeleteNamespaceLimits(ctx, namespace)
	switch {
	case err != nil && whisk.KindOf(err) == whisk.NotFound:
		return "", whisk.Errorf(whisk.NotFound, "No limits found for %q", namespace)
	case err != nil:
		return "", err
	}
	return "Limits deleted", nil
}
