// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/whirl-faas/whirl/whisk"
)

// MaxMessage is the largest message in bytes. What grows is the list of a
// controller's or an agent's containers; there is room for 50,000.
const MaxMessage = 16 << 20

// mostElements bounds what a message of many tiny parts makes of our memory.
const mostElements = 200_000

// frame is a message in its wire form.
type frame interface {
	SizeVT() int
	MarshalToSizedBufferVT([]byte) (int, error)
	UnmarshalVT([]byte) error
}

// protocol is one direction of a session: how its messages become frames.
type protocol[M any] struct {
	encode func(*fields, M) frame
	decode func(*fields, []byte) M
}

// encodeOne converts a message, or says what is wrong with it.
func (p protocol[M]) encodeOne(message M) (frame, error) {
	f := &fields{now: time.Now()}
	out := p.encode(f, message)
	if f.err != nil {
		return nil, fmt.Errorf("a message that cannot be sent: %w", f.err)
	}
	if size := out.SizeVT(); size > MaxMessage {
		return nil, whisk.Errorf(whisk.TooLarge, "a message of %d bytes cannot be sent: at most %d are allowed", size, MaxMessage)
	}
	return out, nil
}

// decodeOne converts what arrived, or says what is wrong with it.
func (p protocol[M]) decodeOne(data []byte) (M, error) {
	f := &fields{now: time.Now()}
	in := p.decode(f, data)
	if f.err != nil {
		return in, fmt.Errorf("a message that is not understood: %w", f.err)
	}
	return in, nil
}

// wired makes the decoder of a wire type from its conversion.
func wired[W any, P interface {
	*W
	frame
}, M any](convert func(*fields, P) M) func(*fields, []byte) M {
	return func(f *fields, data []byte) (none M) {
		if err := countElements(data); err != nil {
			f.refuse("message", "%w", err)
			return none
		}
		wire := P(new(W))
		if err := wire.UnmarshalVT(data); err != nil {
			f.refuse("message", "%w", err)
			return none
		}
		return convert(f, wire)
	}
}

// countElements walks the two outer levels of a message, where its lists are.
func countElements(data []byte) error {
	count := 0
	for len(data) > 0 {
		inner, rest, err := nextField(data)
		if err != nil {
			return err
		}
		for data = rest; len(inner) > 0; count++ {
			if _, inner, err = nextField(inner); err != nil {
				break // not a message, but a string
			}
		}
		if count++; count > mostElements {
			return fmt.Errorf("has more than %d parts", mostElements)
		}
	}
	return nil
}

var errTruncated = errors.New("is cut short, or no message at all")

// nextField returns the content of the first field, if it has a length, and what follows it.
func nextField(data []byte) (content, rest []byte, err error) {
	number, kind, tag := protowire.ConsumeTag(data)
	if tag < 0 {
		return nil, nil, errTruncated
	}
	size := protowire.ConsumeFieldValue(number, kind, data[tag:])
	if size < 0 {
		return nil, nil, errTruncated
	}
	if kind == protowire.BytesType {
		content, _ = protowire.ConsumeBytes(data[tag : tag+size])
	}
	return content, data[tag+size:], nil
}

// arrival is where a received message is decoded to.
type arrival[M any] struct {
	protocol[M]
	message M
	err     error // Invalid
}

func (a *arrival[M]) take(data []byte) { a.message, a.err = a.decodeOne(data) }

// codec moves frames to and from gRPC without reflection.
type codec struct{}

var _ encoding.CodecV2 = codec{}

// Name is the content subtype: what we send is protobuf.
func (codec) Name() string { return "proto" }

// Marshal implements [encoding.CodecV2].
func (codec) Marshal(v any) (mem.BufferSlice, error) {
	out, ok := v.(frame)
	if !ok {
		return nil, fmt.Errorf("%T is no frame", v)
	}
	size := out.SizeVT()
	if mem.IsBelowBufferPoolingThreshold(size) {
		buffer := make([]byte, size)
		_, err := out.MarshalToSizedBufferVT(buffer)
		return mem.BufferSlice{mem.SliceBuffer(buffer)}, err
	}
	pool := mem.DefaultBufferPool()
	buffer := pool.Get(size)
	if _, err := out.MarshalToSizedBufferVT((*buffer)[:size]); err != nil {
		pool.Put(buffer)
		return nil, err
	}
	return mem.BufferSlice{mem.NewBuffer(buffer, pool)}, nil
}

// Unmarshal implements [encoding.CodecV2]. What is wrong with a message is kept
// with it, so that it ends the session in our words.
func (codec) Unmarshal(data mem.BufferSlice, v any) error {
	in, ok := v.(interface{ take([]byte) })
	if !ok {
		return fmt.Errorf("%T takes no message", v)
	}
	buffer := data.MaterializeToBuffer(mem.DefaultBufferPool())
	defer buffer.Free()
	in.take(buffer.ReadOnlyData())
	return nil
}
