// SPDX-License-Identifier: Apache-2.0

package block

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/whirl-faas/whirl/store/internal/lines"
	"github.com/whirl-faas/whirl/whisk"
)

// Keys calls visit for each id of a block, until it returns false.
func Keys(heads []byte, visit func(i int, k Key) bool) error {
	_, keys, err := open(heads)
	if err != nil {
		return err
	}
	for i := range len(keys) / 16 {
		if !visit(i, Key(keys[16*i:])) {
			break
		}
	}
	return nil
}

// open checks the first bytes and returns a reader of what follows the ids, and the ids.
func open(heads []byte) (*reader, []byte, error) {
	if len(heads) == 0 || heads[0] != form {
		return nil, nil, damaged()
	}
	r := &reader{rest: heads[1:]}
	keys := r.take(r.count(16) * 16)
	return r, keys, r.err
}

// Head is one record of a block. Its fields are what lists select by.
type Head struct {
	Key                      Key
	Namespace, Name, Package string
	Start                    int64 // ms since 1970

	texts  *dictionary
	rest   []byte
	body   int // where it begins in the bodies
	result int // the length and one; 0 for none
	logs   int // the same
}

// Filter says which records of a block are wanted. Its zero value wants those
// whose namespace is "", see [Select].
type Filter struct {
	Namespace   string
	Name        string  // "" for all
	Package     *string // with Name: nil for any
	Since, Upto int64   // of the start, both inclusive
	Key         *Key    // nil for all
}

// Heads returns the heads of all records of a block, in their order. They share
// memory with each other, and with heads.
func Heads(heads []byte) ([]Head, error) { return selectHeads(heads, nil) }

// Select returns the heads of those records of a block that are wanted, in their
// order. It looks at the others as briefly as it can.
func Select(heads []byte, wanted *Filter) ([]Head, error) { return selectHeads(heads, wanted) }

func selectHeads(heads []byte, wanted *Filter) ([]Head, error) {
	r, keys, err := open(heads)
	if err != nil {
		return nil, err
	}
	if wanted != nil && wanted.Key != nil && !hasKey(keys, *wanted.Key) {
		return nil, nil
	}
	texts, err := r.dictionary()
	if err != nil {
		return nil, err
	}
	want, any := texts.numbers(wanted)
	if !any {
		return nil, nil
	}
	var found []Head
	if wanted == nil {
		found = make([]Head, 0, len(keys)/16)
	}
	start, body := int64(0), 0
	for i := range len(keys) / 16 {
		names := numbers{r.uvarint(), r.uvarint(), r.uvarint()}
		start += r.varint()
		result, logs := r.length(), r.length()
		rest := r.take(r.count(1))
		if wanted == nil || want.match(names) && start >= wanted.Since && start <= wanted.Upto &&
			(wanted.Key == nil || *wanted.Key == Key(keys[16*i:])) {
			found = append(found, Head{
				Key: Key(keys[16*i:]), Namespace: r.textOf(texts, names.namespace), Name: r.textOf(texts, names.name), Package: r.textOf(texts, names.pkg),
				Start: start, texts: texts, rest: rest, body: body, result: result, logs: logs,
			})
		}
		body += max(result-1, 0) + max(logs-1, 0)
	}
	if len(r.rest) > 0 {
		r.fail()
	}
	return found, r.err
}

func hasKey(keys []byte, k Key) bool {
	for i := range len(keys) / 16 {
		if Key(keys[16*i:]) == k {
			return true
		}
	}
	return false
}

// numbers are those of texts in the dictionary.
type numbers struct{ namespace, name, pkg uint64 }

const anyText = math.MaxUint64

func (n numbers) match(of numbers) bool {
	return n.namespace == of.namespace && (n.name == anyText || n.name == of.name) && (n.pkg == anyText || n.pkg == of.pkg)
}

// numbers returns those of the texts that are wanted. It reports false if the block
// has not all of them.
func (d *dictionary) numbers(wanted *Filter) (n numbers, all bool) {
	n = numbers{anyText, anyText, anyText}
	if wanted == nil {
		return n, true
	}
	all = d.number(wanted.Namespace, &n.namespace)
	if all && wanted.Name != "" {
		all = d.number(wanted.Name, &n.name)
		if all && wanted.Package != nil {
			all = d.number(*wanted.Package, &n.pkg)
		}
	}
	return n, all
}

func (d *dictionary) number(text string, n *uint64) bool {
	for i, p := range d.parts {
		if p.to-p.from == len(text) && d.all[p.from:p.to] == text {
			*n = uint64(i)
			return true
		}
	}
	return false
}

// Record returns the record without what is in the bodies.
func (h *Head) Record() (whisk.Activation, error) {
	r := &reader{rest: h.rest}
	start := time.UnixMilli(h.Start).UTC()
	bits := r.uvarint()
	record := whisk.Activation{
		ID: h.Key.ID(), Namespace: h.Namespace, Name: h.Name, Package: h.Package,
		Publish: bits&publishes != 0, Start: start,
	}
	end := int64(0)
	if bits&(hasEnd|hasUsualEnd) == hasEnd {
		end = h.Start + r.varint()
	}
	record.Duration = time.Duration(r.varint())
	if bits&hasUsualEnd != 0 {
		end = h.Start + record.Duration.Milliseconds()
	}
	if bits&hasEnd != 0 {
		record.End = time.UnixMilli(end).UTC()
	}
	record.Subject, record.Cause = r.text(h.texts), whisk.ActivationID(r.text(h.texts))
	record.Version = whisk.Version{Major: int(r.varint()), Minor: int(r.varint()), Patch: int(r.varint())}
	record.Response = whisk.Response{Status: whisk.Status(r.varint()), Size: int(r.varint())}
	record.Annotations = r.annotations(h.texts)
	return record, r.err
}

// Whole returns the record with its result and its lines. The result shares
// memory with bodies.
func (h *Head) Whole(bodies []byte) (whisk.Activation, error) {
	record, err := h.Record()
	if err != nil {
		return record, err
	}
	r := &reader{rest: bodies}
	r.take(h.body)
	if h.result > 0 {
		record.Response.Result = r.take(h.result - 1)
	}
	if h.logs > 0 {
		encoded := r.take(h.logs - 1)
		if r.err == nil {
			record.Logs, r.err = lines.Decode(encoded)
		}
	}
	return record, r.err
}

// reader takes values from the front. After the first error it has zeros only.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) fail() {
	r.rest, r.err = nil, damaged()
}

// take returns n bytes, that are not nil.
func (r *reader) take(n int) []byte {
	if n > len(r.rest) || r.err != nil {
		r.fail()
		return []byte{}
	}
	taken := r.rest[:n:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) uvarint() uint64 {
	if len(r.rest) > 0 && r.rest[0] < 0x80 { // nearly all
		v := r.rest[0]
		r.rest = r.rest[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(r.rest)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.rest)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// count is a number of things that take so many bytes each at least, here.
func (r *reader) count(size int) int {
	n := r.uvarint()
	if n > uint64(len(r.rest)/size) {
		r.fail()
		return 0
	}
	return int(n)
}

// length is one of appendLength; the bytes are elsewhere.
func (r *reader) length() int {
	n := r.uvarint()
	if n > 1<<40 {
		r.fail()
		return 0
	}
	return int(n)
}

// dictionary has the texts of a block, which are parts of one string, and of
// the heads.
type dictionary struct {
	all   string
	bytes []byte // the same
	parts []part
}

type part struct{ from, to int }

func (r *reader) dictionary() (*dictionary, error) {
	n := r.uvarint()
	encoded := r.take(r.count(1))
	if n > uint64(len(encoded)) {
		r.fail()
		return nil, r.err
	}
	d := &dictionary{string(encoded), encoded, make([]part, n)}
	texts := reader{rest: encoded}
	for i := range d.parts {
		length := len(texts.take(texts.count(1)))
		to := len(encoded) - len(texts.rest)
		d.parts[i] = part{to - length, to}
	}
	if texts.err != nil || len(texts.rest) > 0 {
		r.fail()
	}
	return d, r.err
}

func (r *reader) part(d *dictionary, n uint64) part {
	if n >= uint64(len(d.parts)) {
		r.fail()
		return part{}
	}
	return d.parts[n]
}

func (r *reader) text(d *dictionary) string { return r.textOf(d, r.uvarint()) }

func (r *reader) textOf(d *dictionary, n uint64) string {
	p := r.part(d, n)
	return d.all[p.from:p.to]
}

func (r *reader) annotations(d *dictionary) whisk.Parameters {
	n := r.count(2)
	if n == 0 {
		return nil
	}
	all := make(whisk.Parameters, n)
	for i := range all {
		key := r.uvarint()
		all[i].Key = r.textOf(d, key>>1)
		if value := r.part(d, r.uvarint()); value.to > value.from {
			all[i].Value = d.bytes[value.from:value.to:value.to]
		}
		if key&1 != 0 {
			all[i].Init = r.uvarint()&isInit != 0
			all[i].Encryption = r.text(d)
		}
	}
	return all
}
