// SPDX-License-Identifier: Apache-2.0

package files_test

import (
	"testing"

	"github.com/whirl-faas/whirl/store/files"
	"github.com/whirl-faas/whirl/store/storetest"
	"github.com/whirl-faas/whirl/whisk"
)

var _ whisk.Blobs = (*files.Blobs)(nil)

func TestBlobs(t *testing.T) { storetest.Blobs(t, open) }

func open(t *testing.T, dir string) *files.Blobs {
	t.Helper()
	b, err := files.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
