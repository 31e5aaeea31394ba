// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"io"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
)

// batches passes on what a stream of the engine brings, in batches. The engine sends each write of
// a container by itself, and an activation has two at least, its sentinels: to read, note
// and pass on each by itself takes longer than all else that is done with it. So what
// comes within a short time goes together, in its order within each of the two outputs.
//
// It is of one goroutine: [stdcopy.StdCopy] takes the stream apart, reads by Read, and
// writes what it finds by Write of the two outputs.
type batches struct {
	tap    *tap
	source io.Reader
	quiet  time.Time // when the source may be read next
	held   [2][]byte // taken apart, and not passed on
}

const (
	// gatherTime is how long after a little output more of it is awaited.
	gatherTime = 4 * time.Millisecond
	// littleOutput is how many bytes are so little, and what a batch keeps for the next one.
	littleOutput = 4 << 10
)

func newBatches(t *tap, source io.Reader) *batches { return &batches{tap: t, source: source} }

// copy goes on until the source ends.
func (b *batches) copy() error {
	_, err := stdcopy.StdCopy(batchedOutput{b, 0}, batchedOutput{b, 1}, b)
	if passed := b.pass(); err == nil {
		err = passed
	}
	return err
}

// Read implements [io.Reader]. All that was read before is passed on when it reads on.
func (b *batches) Read(p []byte) (int, error) {
	if err := b.pass(); err != nil {
		return 0, err
	}
	time.Sleep(time.Until(b.quiet))
	n, err := b.source.Read(p)
	b.quiet = time.Time{}
	if n < littleOutput {
		b.quiet = time.Now().Add(gatherTime)
	}
	return n, err
}

// pass passes on what is held. If the reader has gone, output is thrown away.
func (b *batches) pass() error {
	var failure error
	for i, data := range b.held {
		if len(data) == 0 {
			continue
		}
		n, err := b.tap.writers[i].Write(data)
		if err != nil && b.tap.sandbox.driver.life.Err() != nil {
			b.held[i], failure = data[:n], err
		}
	}
	b.tap.position.advance(b.held)
	for i, data := range b.held {
		if b.held[i] = data[:0]; cap(data) > littleOutput {
			b.held[i] = nil
		}
	}
	return failure
}

// batchedOutput is one of the two outputs.
type batchedOutput struct {
	*batches
	which int
}

// Write implements [io.Writer]. It keeps no part of data, and never fails.
func (o batchedOutput) Write(data []byte) (int, error) {
	skipped := min(uint64(len(data)), o.tap.skip[o.which])
	o.tap.skip[o.which] -= skipped
	o.held[o.which] = append(o.held[o.which], data[skipped:]...)
	return len(data), nil
}
