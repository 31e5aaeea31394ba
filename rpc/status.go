// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"errors"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/whirl-faas/whirl/whisk"
)

// Errors that end a session travel as gRPC statuses. These two functions are
// the only place that knows how.

var codeOf = [...]codes.Code{
	whisk.Internal:    codes.Internal,
	whisk.NotFound:    codes.NotFound,
	whisk.Conflict:    codes.Aborted,
	whisk.Invalid:     codes.InvalidArgument,
	whisk.TooLarge:    codes.ResourceExhausted,
	whisk.Denied:      codes.PermissionDenied,
	whisk.Throttled:   codes.Unavailable,
	whisk.Timeout:     codes.DeadlineExceeded,
	whisk.Unavailable: codes.Unavailable,
}

// toStatus converts the reason why a role ended a session; nil is its good end.
func toStatus(err error) error {
	if err == nil {
		return nil
	}
	return status.Error(codeOf[whisk.KindOf(err)], err.Error())
}

// fromStatus converts what ended a stream: io.EOF if the peer closed it.
func fromStatus(err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return io.EOF
	}
	s := status.Convert(err)
	switch s.Code() {
	case codes.NotFound:
		return whisk.Errorf(whisk.NotFound, "%s", s.Message())
	case codes.Aborted:
		return whisk.Errorf(whisk.Conflict, "%s", s.Message())
	case codes.InvalidArgument:
		return whisk.Errorf(whisk.Invalid, "%s", s.Message())
	case codes.ResourceExhausted:
		return whisk.Errorf(whisk.TooLarge, "%s", s.Message())
	case codes.PermissionDenied, codes.Unauthenticated:
		return whisk.Errorf(whisk.Denied, "%s", s.Message())
	case codes.DeadlineExceeded:
		return whisk.Errorf(whisk.Timeout, "%s", s.Message())
	case codes.Unimplemented:
		return whisk.Errorf(whisk.Invalid, "the peer serves no such session: %s", s.Message())
	}
	return whisk.Errorf(whisk.Unavailable, "the connection broke: %s", s.Message())
}
