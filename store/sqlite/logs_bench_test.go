// SPDX-License-Identifier: Apache-2.0

package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/whirl-faas/whirl/store/sqlite"
	"github.com/whirl-faas/whirl/store/storetest"
)

func BenchmarkLogs(b *testing.B) {
	s, err := sqlite.OpenLogs(b.Context(), filepath.Join(b.TempDir(), "logs.db"))
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	storetest.BenchmarkLogs(b, s, nil)
}
