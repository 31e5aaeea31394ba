// SPDX-License-Identifier: Apache-2.0

package keeper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/whirl-faas/whirl/whisk"
)

// line is a connection to a keeper.
type line struct {
	dir     string
	former  bool // it was there before us
	conn    *net.UnixConn
	replies chan answer   // closed by readLoop, which alone sends
	gone    chan struct{} // closed with it

	data [maxMessage]byte // of who receives: introduce, and then readLoop
	oob  [128]byte        // holds maxFiles descriptors
}

// mismatchError says why a keeper that lives is of no use.
type mismatchError struct{ text string }

func (e *mismatchError) Error() string { return e.text }

// dial connects and introduces us. It is a *[mismatchError] if the keeper does
// not answer as ours do, and a *[laterError] if it does not at all.
func dial(config Config) (*line, error) {
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Net: "unixpacket", Name: filepath.Join(config.Dir, socketName)})
	if err != nil {
		return nil, &laterError{err}
	}
	l := &line{dir: config.Dir, conn: conn, replies: make(chan answer, 1), gone: make(chan struct{})}
	if err := l.introduce(config); err != nil {
		conn.Close()
		return nil, err
	}
	return l, nil
}

func (l *line) introduce(config Config) error {
	_ = l.conn.SetDeadline(time.Now().Add(attachTime / 2))
	defer func() { _ = l.conn.SetDeadline(time.Time{}) }()
	err := l.send(request{Kind: helloKind, Hello: &hello{version, config.Grace}, files: []int{int(config.Program.Fd())}})
	var r reply
	if err == nil {
		r, err = l.receive()
		closeAll(r.files)
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return &mismatchError{"it does not answer"}
	case errors.Is(err, io.EOF), errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return &laterError{err}
	case err != nil:
		return &mismatchError{err.Error()}
	case r.Version != version:
		return &mismatchError{fmt.Sprintf("it is of version %d, this agent knows %d", r.Version, version)}
	}
	return nil
}

// exchange sends a request and returns its reply. A keeper that gives none is no
// keeper any more.
func (l *line) exchange(req request) (reply, error) {
	if err := l.send(req); err != nil {
		l.conn.Close()
		return reply{}, ErrGone
	}
	patience := time.NewTimer(answerTime)
	defer patience.Stop()
	select {
	case got, ok := <-l.replies:
		if !ok {
			return reply{}, ErrGone
		}
		return got.reply, got.err
	case <-patience.C:
		_ = kill(l.dir)
		l.conn.Close()
		return reply{}, ErrGone
	}
}

func (l *line) readLoop() {
	defer close(l.gone)
	defer close(l.replies)
	defer l.conn.Close()
	for {
		r, err := l.receive()
		if err != nil {
			closeAll(r.files)
			return
		}
		select {
		case l.replies <- answer{reply: r}:
		default: // nobody asked
			closeAll(r.files)
			return
		}
	}
}

func (l *line) send(req request) error {
	data, oob, err := encode(req, req.files)
	if err != nil {
		return err
	}
	_, _, err = l.conn.WriteMsgUnix(data, oob, nil)
	return err
}

func (l *line) receive() (r reply, err error) {
	n, oobn, flags, _, err := l.conn.ReadMsgUnix(l.data[:], l.oob[:])
	if err != nil {
		return r, err
	}
	r.files, err = decode(l.data[:n], l.oob[:oobn], flags, &r)
	return r, err
}

// awaitEnd tells the keeper that there will be no more requests, and waits until it
// has ended.
func (l *line) awaitEnd() error {
	if err := l.conn.CloseWrite(); err != nil {
		return nil // it has ended
	}
	ctx, cancel := context.WithTimeout(context.Background(), attachTime)
	defer cancel()
	select {
	case <-l.gone:
	case <-ctx.Done():
	}
	for Lives(l.dir) { // the kernel closes its files one after the other
		if ctx.Err() != nil {
			return whisk.Errorf(whisk.Timeout, "the keeper of sandboxes did not end within %v", attachTime)
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}
