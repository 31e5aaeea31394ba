// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"slices"
	"strings"

	"github.com/whirl-faas/whirl/whisk"
)

// Texts that several use cases have in common. All are OpenWhisk's.

func errNotFound() error {
	return whisk.Errorf(whisk.NotFound, "The requested resource does not exist.")
}

func errOtherCollection() error {
	return whisk.Errorf(whisk.Conflict, "Resource by this name exists but is not in this collection.")
}

func errCorrupted() error {
	return whisk.Errorf(whisk.Internal, "Resource is corrupted and cannot be read.")
}

func errExists() error {
	return whisk.Errorf(whisk.Conflict, "resource already exists")
}

// errConcurrentWrite says that somebody else wrote at the same time.
var errConcurrentWrite = whisk.Errorf(whisk.Conflict, "Concurrent modification to resource detected.")

func errMalformed(format string, args ...any) error {
	return whisk.Errorf(whisk.Invalid, "The request content was malformed:\n"+format, args...)
}

// errTooLarge is the text for what exceeds a size limit.
func errTooLarge(what string, size, limit whisk.Bytes) error {
	return whisk.Errorf(whisk.TooLarge, "%s larger than allowed: %d > %d bytes.", what, int64(size), int64(limit))
}

func errDenied(resource string) error {
	return whisk.Errorf(whisk.Denied, "The supplied authentication is not authorized to access '%s'.", resource)
}

// errAllDenied is errDenied for several resources, nil for none.
func errAllDenied(resources []string) error {
	if len(resources) == 0 {
		return nil
	}
	return errDenied(strings.Join(slices.Sorted(slices.Values(resources)), ", "))
}

func errCircular(binding whisk.FullName) error {
	return whisk.Errorf(whisk.Invalid, "Package binding '%s' contains a circular reference.", binding.Path())
}

// is reports whether err is of that kind; no error is of none.
func is(err error, kind whisk.Kind) bool { return err != nil && whisk.KindOf(err) == kind }
