// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/whirl-faas/whirl/rpc/proto"
	"github.com/whirl-faas/whirl/whisk"
)

// What a field may hold.
const (
	longestContainer = 128                   // a container's id
	longestName      = 256                   // any other name
	longestAddress   = 1024                  // an address, an image's reference
	longestText      = 16 << 10              // what people read; longer ones are cut by the sender
	mostCount        = 1 << 30               // a number of slots or lines
	mostBytes        = 1 << 60               // a size
	longestTime      = 1000 * 24 * time.Hour // a duration, a distance of a time from now
)

// fields converts the fields of one message, in either direction, and keeps the
// first thing that is wrong. Both directions have the same rules: a peer never
// gets what we would refuse.
type fields struct {
	now time.Time // from which the distances of times count
	err error     // Invalid
}

func (f *fields) refuse(field, format string, args ...any) {
	if f.err == nil {
		f.err = whisk.Errorf(whisk.Invalid, field+": "+format, args...)
	}
}

// name checks an identifier that must be there.
func (f *fields) name(field, s string) string {
	if s == "" {
		f.refuse(field, "is missing")
	}
	return f.optional(field, s)
}

// optional checks an identifier that may be empty.
func (f *fields) optional(field, s string) string { return f.line(field, s, longestName) }

// line checks what holds no control characters.
func (f *fields) line(field, s string, longest int) string {
	switch {
	case len(s) > longest:
		f.refuse(field, "has %d bytes, more than %d", len(s), longest)
	case !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl):
		f.refuse(field, "%q holds control characters, or is no UTF-8", s)
	}
	return s
}

// container checks a container's id.
func (f *fields) container(s string) string {
	illegal := func(r rune) bool {
		return (r < 'a' || 'z' < r) && (r < 'A' || 'Z' < r) && (r < '0' || '9' < r) && r != '_' && r != '-'
	}
	switch {
	case s == "":
		f.refuse("container", "is missing")
	case len(s) > longestContainer:
		f.refuse("container", "has %d bytes, more than %d", len(s), longestContainer)
	case strings.ContainsFunc(s, illegal):
		f.refuse("container", "%q is not of letters, digits, _ and - alone", s)
	}
	return s
}

// text checks what people read.
func (f *fields) text(field, s string) string {
	switch {
	case len(s) > longestText:
		f.refuse(field, "has %d bytes, more than %d", len(s), longestText)
	case !utf8.ValidString(s):
		f.refuse(field, "is no UTF-8")
	}
	return s
}

// legible makes a text that others may have written fit to be sent.
func legible(s string) string {
	if len(s) > longestText {
		const cut = " [...]"
		s = s[:longestText-len(cut)] + cut
	}
	return strings.ToValidUTF8(s, "?")
}

func (f *fields) outCount(field string, n, least int) uint32 {
	if n < least || n > mostCount {
		f.refuse(field, "is %d, not between %d and %d", n, least, mostCount)
		return 0
	}
	return uint32(n)
}

func (f *fields) inCount(field string, n uint64, least int) int {
	if n < uint64(least) || n > mostCount {
		f.refuse(field, "is %d, not between %d and %d", n, least, mostCount)
		return 0
	}
	return int(n)
}

func (f *fields) outBytes(field string, n whisk.Bytes) uint64 {
	if n < 0 || n > mostBytes {
		f.refuse(field, "is %d bytes, not between 0 and %d", int64(n), int64(mostBytes))
		return 0
	}
	return uint64(n)
}

func (f *fields) inBytes(field string, n uint64) whisk.Bytes {
	if n > mostBytes {
		f.refuse(field, "is %d bytes, more than %d", n, int64(mostBytes))
		return 0
	}
	return whisk.Bytes(n)
}

func (f *fields) outDuration(field string, d time.Duration) uint64 {
	if d < 0 || d > longestTime {
		f.refuse(field, "is %v, not between 0 and %v", d, longestTime)
		return 0
	}
	return uint64(d)
}

func (f *fields) inDuration(field string, d uint64) time.Duration {
	if d > uint64(longestTime) {
		f.refuse(field, "is %d ns, more than %v", d, longestTime)
		return 0
	}
	return time.Duration(d)
}

// outTime converts a time to its distance from now, nil for the zero time.
func (f *fields) outTime(field string, t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	distance := t.Sub(f.now)
	if distance < -longestTime || distance > longestTime {
		f.refuse(field, "is %v away from now, more than %v", distance, longestTime)
	}
	return new(int64(distance))
}

func (f *fields) inTime(field string, distance *int64) time.Time {
	if distance == nil {
		return time.Time{}
	}
	if d := time.Duration(*distance); d < -longestTime || d > longestTime {
		f.refuse(field, "is %v away from now, more than %v", d, longestTime)
		return time.Time{}
	}
	return f.now.Add(time.Duration(*distance))
}

// outEnum converts a value of whisk's to the wire's, where 0 stands for a value
// that was forgotten and all others are one more.
func outEnum[Wire ~int32, Ours ~uint8](f *fields, field string, value, last Ours) Wire {
	if value > last {
		f.refuse(field, "is %d, more than %d", uint8(value), uint8(last))
	}
	return Wire(value) + 1
}

func inEnum[Wire ~int32, Ours ~uint8](f *fields, field string, value Wire, last Ours) Ours {
	if value < 1 || value > Wire(last)+1 {
		f.refuse(field, "is of unknown kind %d", int32(value))
		return 0
	}
	return Ours(value - 1)
}

func (f *fields) outKey(k whisk.ActionKey) *proto.ActionKey {
	return &proto.ActionKey{
		Namespace: f.name("namespace", k.Namespace),
		Action: &proto.FullName{
			Namespace: f.name("action's namespace", k.Action.Namespace),
			Package:   f.optional("action's package", k.Action.Package),
			Name:      f.name("action's name", k.Action.Name),
		},
		Revision:    int64(k.Revision),
		Environment: k.Environment,
	}
}

func (f *fields) inKey(k *proto.ActionKey) whisk.ActionKey {
	if k.GetAction() == nil {
		f.refuse("action key", "is missing")
		return whisk.ActionKey{}
	}
	return whisk.ActionKey{
		Namespace: f.name("namespace", k.Namespace),
		Action: whisk.FullName{
			Namespace: f.name("action's namespace", k.Action.Namespace),
			Package:   f.optional("action's package", k.Action.Package),
			Name:      f.name("action's name", k.Action.Name),
		},
		Revision:    whisk.Revision(k.Revision),
		Environment: k.Environment,
	}
}

func (f *fields) outSpec(s whisk.ContainerSpec) *proto.ContainerSpec {
	return &proto.ContainerSpec{
		Kind:   f.optional("kind", s.Kind),
		Image:  f.line("image", s.Image, longestAddress),
		Memory: f.outBytes("memory", s.Memory),
	}
}

func (f *fields) inSpec(s *proto.ContainerSpec) whisk.ContainerSpec {
	if s == nil {
		f.refuse("spec", "is missing")
		return whisk.ContainerSpec{}
	}
	return whisk.ContainerSpec{
		Kind:   f.optional("kind", s.Kind),
		Image:  f.line("image", s.Image, longestAddress),
		Memory: f.inBytes("memory", s.Memory),
	}
}

func (f *fields) outContainer(c whisk.Container) *proto.Container {
	out := &proto.Container{
		Id:   f.container(string(c.ID)),
		Node: f.name("node", string(c.Node)),
		Spec: f.outSpec(c.Spec),
	}
	if c.Address != (whisk.Address{}) {
		out.Address = &proto.Address{
			Network: f.name("network", c.Address.Network),
			Address: f.line("address", c.Address.Address, longestAddress),
		}
	}
	return out
}

func (f *fields) inContainer(c *proto.Container) whisk.Container {
	if c == nil {
		f.refuse("container", "is missing")
		return whisk.Container{}
	}
	in := whisk.Container{
		ID:   whisk.ContainerID(f.container(c.Id)),
		Node: whisk.NodeID(f.name("node", c.Node)),
		Spec: f.inSpec(c.Spec),
	}
	if c.Address != nil {
		in.Address = whisk.Address{
			Network: f.name("network", c.Address.Network),
			Address: f.line("address", c.Address.Address, longestAddress),
		}
	}
	return in
}
