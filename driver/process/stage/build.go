// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrDied says that the stage ended without a word, as when it is killed.
var ErrDied = errors.New("the sandbox's first process died while it was set up")

// Build has the stage at the other end of conn, a stream socket on the poller, carry out
// the plan, and returns when the runtime was exec'ed. The device is the tun device of the plan, to be
// closed by the caller; nil if none was asked for. An error is a [*Failure] if
// the stage told what went wrong, and the caller kills the stage after any.
func Build(ctx context.Context, conn *os.File, plan Plan) (device *os.File, err error) {
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := json.NewEncoder(conn).Encode(plan); err != nil {
		return nil, buildError(ctx, err)
	}
	words, device, err := hear(conn)
	if err == nil {
		err = judge(bytes.TrimPrefix(words, []byte(tunWord)))
	}
	if err != nil {
		if device != nil {
			device.Close()
		}
		return nil, buildError(ctx, err)
	}
	return device, nil
}

func buildError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// judge reads the stage's words, without the device's: nil if it became the runtime.
func judge(words []byte) error {
	rest, ready := bytes.CutPrefix(words, []byte(readyWord))
	switch {
	case len(rest) > 0:
		failure := &Failure{}
		if err := json.Unmarshal(rest, failure); err != nil {
			return fmt.Errorf("bad words %q of the stage: %w", rest, err)
		}
		return failure
	case !ready:
		return ErrDied
	}
	return nil
}

// hear reads all that the stage says, and the descriptor that comes with it.
func hear(conn *os.File) (words []byte, device *os.File, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, nil, err
	}
	data, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(4))
	for len(words) < 1<<16 {
		n, oobn, err := receive(raw, data, oob)
		words = append(words, data[:max(n, 0)]...)
		if oobn > 0 {
			if fd, fdErr := receivedFD(oob[:oobn]); fdErr == nil {
				device = os.NewFile(uintptr(fd), "tun")
			}
		}
		// A stage that is killed with the plan unread resets the stream.
		if n == 0 && err == nil || errors.Is(err, unix.ECONNRESET) {
			return words, device, nil
		}
		if err != nil {
			return words, device, err
		}
	}
	return words, device, errors.New("the stage says too much")
}

// receive reads what is there, or waits for it. Package net would do the same, but have
// each stage wait for its initialisation: see [Argument].
func receive(raw syscall.RawConn, data, oob []byte) (n, oobn int, err error) {
	waited := raw.Read(func(fd uintptr) bool {
		for err = unix.EINTR; err == unix.EINTR; {
			n, oobn, _, _, err = unix.Recvmsg(int(fd), data, oob, unix.MSG_CMSG_CLOEXEC)
		}
		return err != unix.EAGAIN
	})
	if waited != nil {
		err = waited
	}
	return n, oobn, err
}

func receivedFD(oob []byte) (int, error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return -1, err
	}
	for _, message := range messages {
		fds, err := unix.ParseUnixRights(&message)
		if err == nil && len(fds) == 1 {
			return fds[0], unix.SetNonblock(fds[0], true)
		}
	}
	return -1, errors.New("no descriptor")
}
