// SPDX-License-Identifier: Apache-2.0

package block

import (
	"encoding/binary"

	"github.com/whirl-faas/whirl/store/internal/lines"
	"github.com/whirl-faas/whirl/whisk"
)

// Encode makes a block of records, in the order in which they are given. An id
// that is none is Invalid.
func Encode(records []*whisk.Activation) (heads, bodies []byte, err error) {
	e := encoder{texts: make(map[string]uint64, 32)}
	size := 0
	for _, r := range records {
		size += len(r.Response.Result)
	}
	e.bodies = make([]byte, 0, size)
	ids := make([]byte, 0, 16*len(records))
	for _, r := range records {
		key, err := KeyOf(r.ID)
		if err != nil {
			return nil, nil, err
		}
		ids = append(ids, key[:]...)
		e.add(r)
	}
	heads = make([]byte, 0, 12+len(ids)+len(e.encoded)+len(e.heads))
	heads = append(heads, form)
	heads = binary.AppendUvarint(heads, uint64(len(records)))
	heads = append(heads, ids...)
	heads = binary.AppendUvarint(heads, uint64(len(e.texts)))
	heads = binary.AppendUvarint(heads, uint64(len(e.encoded)))
	heads = append(append(heads, e.encoded...), e.heads...)
	return heads, e.bodies, nil
}

// encoder collects the parts of a block.
type encoder struct {
	texts   map[string]uint64 // to their numbers in the dictionary
	encoded []byte            // each text behind its length
	heads   []byte
	rest    []byte // of one head, behind its length so that readers can leave it out
	bodies  []byte
	start   int64 // of the record before
	former  [fields]former
}

// former is what a field's text was in the record before: most often it is the
// same again, and to compare is cheaper than to look it up.
type former struct {
	text   string
	number uint64
	known  bool
}

// Fields that are texts. An annotation has two; those behind the last share theirs.
const (
	namespaceField = iota
	nameField
	packageField
	subjectField
	causeField
	encryptionField
	annotationFields
	fields = annotationFields + 16
)

// add appends one record. What lists select by comes first.
func (e *encoder) add(r *whisk.Activation) {
	start := r.Start.UnixMilli()
	logs := lines.Encode(r.Logs)
	namespace, name, pkg := e.text(namespaceField, r.Namespace), e.text(nameField, r.Name), e.text(packageField, r.Package)
	e.addRest(r, start)
	h := binary.AppendUvarint(e.heads, namespace)
	h = binary.AppendUvarint(h, name)
	h = binary.AppendUvarint(h, pkg)
	h = binary.AppendVarint(h, start-e.start)
	h = appendLength(h, r.Response.Result)
	h = appendLength(h, logs)
	h = binary.AppendUvarint(h, uint64(len(e.rest)))
	e.heads = append(h, e.rest...)
	e.bodies = append(append(e.bodies, r.Response.Result...), logs...)
	e.start = start
}

// appendLength tells nothing from what is empty.
func appendLength(to, of []byte) []byte {
	if of == nil {
		return append(to, 0)
	}
	return binary.AppendUvarint(to, uint64(len(of))+1)
}

func (e *encoder) addRest(r *whisk.Activation, start int64) {
	bits, end := uint64(0), r.End.UnixMilli()
	if r.Publish {
		bits |= publishes
	}
	switch {
	case r.End.IsZero():
	case end == start+r.Duration.Milliseconds():
		bits |= hasEnd | hasUsualEnd
	default:
		bits |= hasEnd
	}
	h := binary.AppendUvarint(e.rest[:0], bits)
	if bits&(hasEnd|hasUsualEnd) == hasEnd {
		h = binary.AppendVarint(h, end-start)
	}
	h = binary.AppendVarint(h, int64(r.Duration))
	h = binary.AppendUvarint(h, e.text(subjectField, r.Subject))
	h = binary.AppendUvarint(h, e.text(causeField, string(r.Cause)))
	for _, n := range []int{r.Version.Major, r.Version.Minor, r.Version.Patch, int(r.Response.Status), r.Response.Size} {
		h = binary.AppendVarint(h, int64(n))
	}
	h = binary.AppendUvarint(h, uint64(len(r.Annotations)))
	for i := range r.Annotations {
		h = e.annotation(h, min(annotationFields+2*i, fields-2), &r.Annotations[i])
	}
	e.rest = h
}

func (e *encoder) annotation(h []byte, field int, a *whisk.Parameter) []byte {
	plain := !a.Init && a.Encryption == ""
	key := e.text(field, a.Key) << 1
	if !plain {
		key |= 1
	}
	h = binary.AppendUvarint(h, key)
	h = binary.AppendUvarint(h, e.bytes(field+1, a.Value))
	if plain {
		return h
	}
	bits := byte(0)
	if a.Init {
		bits = isInit
	}
	return binary.AppendUvarint(append(h, bits), e.text(encryptionField, a.Encryption))
}

// text returns the number of a text in the dictionary, where each has its place
// once.
func (e *encoder) text(field int, s string) uint64 {
	f := &e.former[field]
	if f.known && f.text == s {
		return f.number
	}
	n, known := e.texts[s]
	if !known {
		n = uint64(len(e.texts))
		e.texts[s] = n
		e.encoded = append(binary.AppendUvarint(e.encoded, uint64(len(s))), s...)
	}
	*f = former{s, n, true}
	return n
}

// bytes is text for what need not become a string of its own.
func (e *encoder) bytes(field int, b []byte) uint64 {
	if f := &e.former[field]; f.known && f.text == string(b) {
		return f.number
	}
	if n, known := e.texts[string(b)]; known {
		return n
	}
	return e.text(field, string(b))
}
