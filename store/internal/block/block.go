// SPDX-License-Identifier: Apache-2.0

// Package block has the form in which a database keeps activation records by
// the dozen: a database takes as long for a row as for a block of them, and
// records that were made together have nearly all of their texts in common.
//
// A block is two byte strings. The heads have all that lists show, each text
// once; the bodies have the results and the lines, one after the other, so that
// a list need not read them.
//
// What this version wrote, all later ones read: the first byte of the heads
// tells the form.
package block

import (
	"cmp"
	"encoding/binary"
	"encoding/hex"

	"github.com/whirl-faas/whirl/whisk"
)

// Key is an activation's id, as bytes. Keys sort as the ids do.
type Key [16]byte

// KeyOf is Invalid if id is none.
func KeyOf(id whisk.ActivationID) (k Key, err error) {
	if err := whisk.CheckActivationID(string(id)); err != nil {
		return k, err
	}
	_, err = hex.Decode(k[:], []byte(id))
	return k, err
}

// ID returns the id.
func (k Key) ID() whisk.ActivationID { return whisk.ActivationID(hex.EncodeToString(k[:])) }

// Compare is -1, 0 or 1.
func (k Key) Compare(other Key) int {
	return cmp.Or(cmp.Compare(k.high(), other.high()), cmp.Compare(k.low(), other.low()))
}

func (k Key) high() uint64 { return binary.BigEndian.Uint64(k[:8]) }
func (k Key) low() uint64  { return binary.BigEndian.Uint64(k[8:]) }

// Milli is when the id was made, in ms since 1970, if it is a UUID of version 7;
// of other ids it is any number below 2^48.
func (k Key) Milli() int64 { return int64(k.high() >> 16) }

// Later returns the last key whose Milli is at most so much larger.
func (k Key) Later(milli int64) Key {
	var last Key
	for i := range last {
		last[i] = 0xff
	}
	if milli += k.Milli(); milli < 1<<48 {
		binary.BigEndian.PutUint64(last[:8], uint64(milli)<<16|0xffff)
	}
	return last
}

// form is the first byte of the heads.
const form = 1

// Bits that a head has.
const (
	publishes = 1 << iota
	hasEnd
	hasUsualEnd // the start and the duration
)

// Bits of an annotation that is not plain.
const isInit = 1

func damaged() error { return whisk.Errorf(whisk.Internal, "a block of records is damaged") }
