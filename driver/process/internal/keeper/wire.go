// SPDX-License-Identifier: Apache-2.0

package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/whirl-faas/whirl/driver/internal/cgroup"
)

// version is that of all messages but the first each way.
const version = 1

// The kinds of requests.
const (
	helloKind   = "hello"
	startKind   = "start"
	keepKind    = "keep"
	reapKind    = "reap"
	releaseKind = "release"
	recallKind  = "recall" // of what is kept, the next one after an id
)

// request is what an agent wants. Each has a reply, in order. Descriptors that come
// with it belong to who sent it, unless a nursery takes them.
type request struct {
	Kind  string
	ID    string          `json:",omitempty"`
	Hello *hello          `json:",omitempty"` // with the executable to start
	Order *Order          `json:",omitempty"`
	Note  json.RawMessage `json:",omitempty"`
	Group *cgroup.Group   `json:",omitempty"`

	files []int
}

// hello begins. A keeper of another version answers with its own and hangs up.
type hello struct {
	Version int
	Grace   time.Duration // how long to wait for the next agent
}

// reply is the answer. Descriptors that come with it belong to who gets it.
type reply struct {
	Version int             `json:",omitempty"` // in the first
	Error   string          `json:",omitempty"`
	Errno   syscall.Errno   `json:",omitempty"` // of the system call that failed
	PID     int             `json:",omitempty"`
	ID      string          `json:",omitempty"`
	Note    json.RawMessage `json:",omitempty"`
	Exit    *Exit           `json:",omitempty"`

	files []int
	lent  int // so many of the files stay the nursery's, the last ones
}

func refusal(err error) reply {
	errno, _ := errors.AsType[syscall.Errno](err)
	return reply{Error: err.Error(), Errno: errno}
}

// failure returns the error that a reply tells of.
func (r reply) failure() error {
	switch {
	case r.Error == "":
		return nil
	case r.Errno != 0:
		return &callError{r.Error, r.Errno}
	}
	return errors.New(r.Error)
}

// callError is a system call's error with the words of who made the call.
type callError struct {
	text  string
	errno syscall.Errno
}

func (e *callError) Error() string { return e.text }
func (e *callError) Unwrap() error { return e.errno }

// Bounds of a message. One that is longer is a stranger's.
const (
	maxMessage = 64 << 10
	maxFiles   = 16
)

// decode reads a message that the kernel delivered in these buffers. The descriptors
// are returned also with an error, to be closed.
func decode(data, oob []byte, flags int, message any) (files []int, err error) {
	controls, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, err
	}
	for _, control := range controls {
		if fds, err := unix.ParseUnixRights(&control); err == nil {
			files = append(files, fds...)
		}
	}
	switch {
	case flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0:
		return files, fmt.Errorf("a message of more than %d bytes or %d descriptors", maxMessage, maxFiles)
	case len(data) == 0:
		return files, io.EOF
	}
	return files, json.Unmarshal(data, message)
}

// encode returns what to send.
func encode(message any, files []int) (data, oob []byte, err error) {
	if data, err = json.Marshal(message); err != nil {
		return nil, nil, err
	}
	if len(data) > maxMessage || len(files) > maxFiles {
		return nil, nil, fmt.Errorf("a message of %d bytes and %d descriptors is too long", len(data), len(files))
	}
	if len(files) > 0 {
		oob = unix.UnixRights(files...)
	}
	return data, oob, nil
}

func closeAll(files []int) {
	for _, fd := range files {
		unix.Close(fd)
	}
}
