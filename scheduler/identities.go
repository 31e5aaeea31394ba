// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"encoding/base32"
	"fmt"
	"io"
	"strings"

	"github.com/whirl-faas/whirl/whisk"
)

// longestID is the longest name that every driver can give a container: that of
// a DNS label.
const longestID = 63

// identities makes container ids that no other scheduler makes, nor this one
// after a restart: each start draws a tag.
type identities struct {
	prefix string
	count  uint64
}

// newIdentities draws the tag from random.
func newIdentities(epoch uint64, random io.Reader) (identities, error) {
	var tag [5]byte
	if _, err := io.ReadFull(random, tag[:]); err != nil {
		return identities{}, fmt.Errorf("draw the start tag: %w", err)
	}
	text := strings.ToLower(base32.StdEncoding.EncodeToString(tag[:]))
	return identities{prefix: fmt.Sprintf("wsk%d_%s", epoch, text)}, nil
}

// next returns an id that ends in as much of the label as fits.
func (i *identities) next(label string) whisk.ContainerID {
	i.count++
	id := fmt.Sprintf("%s_%d", i.prefix, i.count)
	if label = clean(label); label != "" {
		id += "_" + label
	}
	return whisk.ContainerID(strings.TrimRight(id[:min(len(id), longestID)], "_-"))
}

// clean makes a label fit for a container's id.
func clean(label string) string {
	return strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '-' {
			return r
		}
		return -1
	}, label)
}
