// SPDX-License-Identifier: Apache-2.0

package whisk

import (
	"errors"
	"fmt"
	"time"
)

// Kind says what a caller can do about an error. The set is closed; the HTTP
// API and the wire map it in one function each.
type Kind uint8

// The kinds of errors. The zero Kind is Internal, so that an error nobody
// classified counts as our own fault.
const (
	Internal    Kind = iota // our own fault
	NotFound                // no such thing
	Conflict                // somebody else changed it, or it is of another type
	Invalid                 // the caller's input is wrong
	TooLarge                // the caller's input exceeds a size limit
	Denied                  // the caller may not do this
	Throttled               // the caller does this too often; later is fine
	Timeout                 // it did not happen in time
	Unavailable             // a part of the platform is missing right now
)

var kindNames = [...]string{"internal", "not found", "conflict", "invalid", "too large", "denied", "throttled", "timeout", "unavailable"}

// String returns the kind in words.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Error is an error with a kind and a text that a user may see.
type Error struct {
	Kind Kind
	Text string
	// RetryAfter is when the same may work; 0 if nothing is known about that.
	RetryAfter time.Duration
	err        error // the wrapped cause, if any
}

// Errorf makes an Error; its text is formatted as by [fmt.Errorf], %w included.
func Errorf(kind Kind, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Text: err.Error(), err: errors.Unwrap(err)}
}

// Later is Errorf for what may work when it is tried again after a while.
func Later(kind Kind, after time.Duration, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &Error{Kind: kind, Text: err.Error(), RetryAfter: after, err: errors.Unwrap(err)}
}

// Error returns the text.
func (e *Error) Error() string { return e.Text }

// Unwrap returns the cause, or nil.
func (e *Error) Unwrap() error { return e.err }

// KindOf returns the kind of the outermost [Error] in err's chain, and Internal
// if there is none. KindOf(nil) is Internal too: ask only about errors.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return Internal
}
