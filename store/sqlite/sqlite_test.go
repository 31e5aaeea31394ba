// SPDX-License-Identifier: Apache-2.0

package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/whirl-faas/whirl/store/sqlite"
	"github.com/whirl-faas/whirl/store/storetest"
	"github.com/whirl-faas/whirl/whisk"
)

var (
	_ whisk.EntityStore     = (*sqlite.Entities)(nil)
	_ whisk.SubjectStore    = (*sqlite.Entities)(nil)
	_ whisk.APIStore        = (*sqlite.Entities)(nil)
	_ whisk.Queue           = (*sqlite.Entities)(nil)
	_ whisk.Alarms          = (*sqlite.Entities)(nil)
	_ whisk.ActivationStore = (*sqlite.Activations)(nil)
	_ whisk.LogStore        = (*sqlite.Logs)(nil)
)

func TestEntities(t *testing.T)            { storetest.Entities(t, openEntities) }
func TestSubjects(t *testing.T)            { storetest.Subjects(t, openEntities) }
func TestAPIs(t *testing.T)                { storetest.APIs(t, openEntities) }
func TestQueue(t *testing.T)               { storetest.Queue(t, openEntities) }
func TestAlarms(t *testing.T)              { storetest.Alarms(t, openEntities) }
func TestArchive(t *testing.T)             { storetest.Archive(t, openEntities) }
func TestArchivedActivations(t *testing.T) { storetest.ArchivedActivations(t, openActivations) }
func TestActivations(t *testing.T)         { storetest.Activations(t, openActivations) }
func TestLogs(t *testing.T)                { storetest.Logs(t, openLogs) }

func openEntities(t *testing.T, dir string) *sqlite.Entities {
	t.Helper()
	s, err := sqlite.OpenEntities(t.Context(), filepath.Join(dir, "entities.db"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openActivations(t *testing.T, dir string) *sqlite.Activations {
	t.Helper()
	s, err := sqlite.OpenActivations(t.Context(), filepath.Join(dir, "activations.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func openLogs(t *testing.T, dir string) *sqlite.Logs {
	t.Helper()
	s, err := sqlite.OpenLogs(t.Context(), filepath.Join(dir, "logs.db"))
	if err != nil {
		t.Fatal(err)
	}
	return s
}
