// SPDX-License-Identifier: Apache-2.0

//go:build database

package postgres_test

import (
	"testing"

	"github.com/whirl-faas/whirl/store/postgres"
	"github.com/whirl-faas/whirl/store/postgres/postgrestest"
	"github.com/whirl-faas/whirl/store/storetest"
	"github.com/whirl-faas/whirl/whisk"
)

var _ whisk.LogStore = (*postgres.Logs)(nil)

func TestLogs(t *testing.T) { storetest.Logs(t, openLogs) }

func openLogs(t *testing.T, place string) *postgres.Logs {
	t.Helper()
	return openAt(t, postgrestest.Schema(t, place))
}

// openAt opens the logs of a URL with the usual settings. The caller closes them.
func openAt(t testing.TB, url string) *postgres.Logs {
	t.Helper()
	config := postgres.Default()
	config.URL = url
	s, err := postgres.OpenLogs(config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
