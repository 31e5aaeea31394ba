// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/whirl-faas/whirl/whisk"
)

// maxBody is the longest body that is read at all: the longest code, in JSON.
const maxBody = 50 * whisk.MB

// Long bodies share room; who finds none waits a while for it. There is some for
// entities, which need several times their length while they are worked on, and
// some for the payloads of calls, while they arrive: a client can take its time to
// send one, and who calls while all of that is taken is refused at once. When the
// payload is there, the call counts against the namespace's limits.
const (
	longBody        = 64 * int64(whisk.KB)
	roomForBodies   = 4 * int64(maxBody)
	roomForPayloads = 256 * int64(whisk.MB)
	roomPatience    = 30 * time.Second
	callPatience    = 20 * time.Millisecond // who calls is told at once when there is too much to do
)

// rooms are what long bodies share of each kind.
type rooms struct{ bodies, payloads *semaphore.Weighted }

func newRooms() rooms {
	return rooms{semaphore.NewWeighted(roomForBodies), semaphore.NewWeighted(roomForPayloads)}
}

// takeRoom takes room for the request's body, of which limit is read at most, to
// be left when it is not needed any more. It returns false after it answered that
// there is none.
func (x *exchange) takeRoom(room *semaphore.Weighted, size int64, limit whisk.Bytes, wait time.Duration) (leave func(), ok bool) {
	length := x.r.ContentLength
	switch {
	case length >= 0 && length <= longBody, length > int64(maxBody): // the latter is not going to be read
		return func() {}, true
	case length < 0, length > int64(limit): // it comes in chunks, or its end is thrown away
		length = int64(limit)
	}
	patience, cancel := context.WithTimeout(x.r.Context(), wait)
	defer cancel()
	if err := room.Acquire(patience, length); err != nil {
		x.refuse(whisk.Errorf(whisk.Unavailable, "Too many long requests at once (limit: %d bytes together).", size))
		return nil, false
	}
	return func() { room.Release(length) }, true
}

// isShort reports whether the body is one that the server skips after an answer that
// did not wait for it, so that the connection stays.
func (x *exchange) isShort() bool { return x.r.ContentLength >= 0 && x.r.ContentLength <= longBody }

// readPayload reads the body of a call into buffer. It returns false after it
// answered that the body is longer than limit, broke off, or finds no room.
func (x *exchange) readPayload(buffer *[]byte, limit whisk.Bytes) bool {
	leave, ok := x.takeRoom(x.rooms.payloads, roomForPayloads, min(limit, maxBody), callPatience)
	if !ok {
		return false
	}
	defer leave()
	return x.readBody(buffer, limit)
}

// readBody reads a request's body into buffer. It returns false after it
// answered that the body is longer than limit or broke off.
//
// A body that is too long is read to its end and thrown away if it is not
// absurdly long: a client that is cut off in the middle of sending never sees the answer.
func (x *exchange) readBody(buffer *[]byte, limit whisk.Bytes) bool {
	surplus, err := x.fill(buffer, limit)
	switch {
	case err != nil && isTooLong(err):
		x.fail(http.StatusRequestEntityTooLarge, defaultText(http.StatusRequestEntityTooLarge))
	case err != nil:
		x.refuse(whisk.Errorf(whisk.Invalid, "The request content was malformed:\nthe body ended early"))
	case surplus > 0:
		x.refuse(whisk.Errorf(whisk.TooLarge, "Request larger than allowed: %d > %d bytes.", int64(limit+surplus), int64(limit)))
	default:
		return true
	}
	return false
}

// fill reads the body up to limit into buffer, and counts what is beyond.
func (x *exchange) fill(buffer *[]byte, limit whisk.Bytes) (surplus whisk.Bytes, err error) {
	length := x.r.ContentLength
	switch {
	case length > int64(maxBody):
		return 0, &http.MaxBytesError{Limit: int64(maxBody)}
	case length >= 0 && length <= int64(limit):
		*buffer = slices.Grow((*buffer)[:0], int(length))[:length]
		_, err := io.ReadFull(x.r.Body, *buffer)
		return 0, err
	}
	body := http.MaxBytesReader(x.w, x.r.Body, int64(maxBody))
	filled := bytes.NewBuffer((*buffer)[:0])
	read, err := filled.ReadFrom(io.LimitReader(body, int64(limit)))
	*buffer = filled.Bytes()
	if err != nil || read < int64(limit) {
		return 0, err
	}
	beyond, err := io.Copy(io.Discard, body)
	return whisk.Bytes(beyond), err
}

func isTooLong(err error) bool {
	_, tooLong := errors.AsType[*http.MaxBytesError](err)
	return tooLong
}

// isJSON reports whether the request says that its body is JSON.
func (x *exchange) isJSON() bool {
	given := x.r.Header.Get("Content-Type")
	if given == "application/json" {
		return true
	}
	mediaType, _, err := mime.ParseMediaType(given)
	return err == nil && mediaType == "application/json"
}

func (x *exchange) unsupportedMediaType() {
	given := x.r.Header.Get("Content-Type")
	if given != "" {
		given = " [" + given + "]"
	}
	x.fail(http.StatusUnsupportedMediaType, "The request's Content-Type"+given+" is not supported. Expected:\napplication/json")
}
