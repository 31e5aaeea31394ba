// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/pkg/stdcopy"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"
)

// tap carries what a container writes to whoever reads the sandbox's output.
//
// The way that is fast is an attachment: the engine copies output into a
// connection that was opened before the container started. A container whose
// reader is slow waits, so nothing is lost; but what it writes while nobody is
// attached, no attachment ever brings. So the engine also keeps a small journal,
// its log driver "local". A tap notes in a file how far it was read (position).
// When an attachment breaks, and in the next agent's process, reading goes on
// from the journal at the very byte, and stays there: the engine has no way to
// go from the journal to an attachment without a gap.
//
// In the bad case, a container that writes more than the journal's smallest
// size while nobody reads, the oldest of that is lost. And if it wrote more than
// that without a pause before the reader died, the place is found by time only,
// and some lines may come twice.
//
// When it is the engine that dies, or is restarted, what it had read of a container
// and neither passed on nor written down is lost with it: some lines, and none unless
// the container wrote at that moment. What it had passed on and not written down leaves
// the journal short of that, and as much of what comes next is lost.
type tap struct {
	sandbox  *sandbox
	readers  [2]*io.PipeReader
	writers  [2]*io.PipeWriter
	position *position
	skip     [2]uint64 // bytes of a journal that were read before
	removed  atomic.Bool
}

// journalSize is what a journal holds at least; at most it is twice as large.
const journalSize = 16 << 20

func journalConfig() container.LogConfig {
	return container.LogConfig{Type: "local", Config: map[string]string{
		"max-size": strconv.Itoa(journalSize), "max-file": "2", "compress": "false",
	}}
}

// newTap returns a tap of a new container, or of one that another process read from.
func (d *Driver) newTap(s *sandbox, known bool) (*tap, error) {
	position, err := d.state.openPosition(s.id, known)
	if err != nil {
		return nil, err
	}
	t := &tap{sandbox: s, position: position}
	for i := range t.readers {
		t.readers[i], t.writers[i] = io.Pipe()
	}
	return t, nil
}

// discard says that the container is gone, and nothing can be read anew.
func (t *tap) discard() {
	t.removed.Store(true)
	t.sandbox.driver.state.removePosition(t.sandbox.id)
}

// attachment is a live stream of the engine.
type attachment interface {
	io.Reader
	close()
}

type hijacked struct{ client.ContainerAttachResult }

func (h hijacked) Read(p []byte) (int, error) { return h.Reader.Read(p) }
func (h hijacked) close()                     { h.Close() }

type journal struct{ client.ContainerLogsResult }

func (j journal) close() { j.Close() }

// runLoop reads until the container has ended and all of its output was read,
// or until the driver closes. live is nil if there is no attachment.
func (t *tap) runLoop(live attachment) {
	defer t.position.close()
	defer t.finish()
	life := t.sandbox.driver.life
	certain := live != nil // that the stream before brought everything
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		if live != nil {
			err := t.copy(life, live)
			certain = certain && err == nil
			live = nil
		}
		if life.Err() != nil || t.removed.Load() {
			return
		}
		alive, err := t.sandbox.driver.isRunning(life, t.sandbox.engineID)
		if errdefs.IsNotFound(err) || err == nil && !alive && certain {
			return
		}
		certain = false
		if err == nil {
			if live, err = t.openJournal(life, alive); err == nil {
				certain = !alive
				pause = 20 * time.Millisecond
				continue
			}
		}
		select {
		case <-time.After(pause):
		case <-life.Done():
			return
		}
	}
}

// copy passes a stream on until it ends.
func (t *tap) copy(life context.Context, live attachment) error {
	defer live.close()
	defer context.AfterFunc(life, func() {
		live.close()
		t.finish()
	})()
	return newBatches(t, live).copy()
}

// finish ends the pipes. It is idempotent.
func (t *tap) finish() {
	for _, writer := range t.writers {
		_ = writer.Close() // never fails
	}
}

// openJournal goes on where the output was last read.
func (t *tap) openJournal(ctx context.Context, follow bool) (attachment, error) {
	since, skip := t.position.resume()
	t.skip = skip
	options := client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Follow: follow}
	if !since.IsZero() {
		options.Since = since.UTC().Format(time.RFC3339Nano)
	}
	stream, err := t.sandbox.driver.engine.ContainerLogs(ctx, t.sandbox.engineID, options)
	if err != nil {
		return nil, err
	}
	return journal{stream}, nil
}

func (d *Driver) isRunning(ctx context.Context, id string) (bool, error) {
	inspected, err := d.engine.ContainerInspect(ctx, id, client.ContainerInspectOptions{})
	if err != nil {
		return false, err
	}
	return inspected.Container.State != nil && inspected.Container.State.Running, nil
}

// lastWords returns the end of what a container wrote, "" if that is unknown.
func (d *Driver) lastWords(ctx context.Context, id string) string {
	const longest = 1000
	logs, err := d.engine.ContainerLogs(ctx, id, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true, Tail: "10"})
	if err != nil {
		return ""
	}
	defer logs.Close()
	var text bytes.Buffer
	if _, err := stdcopy.StdCopy(&text, &text, logs); err != nil && !errors.Is(err, io.EOF) {
		return ""
	}
	words := bytes.ToValidUTF8(text.Bytes(), []byte("?"))
	return string(words[max(0, len(words)-longest):])
}
