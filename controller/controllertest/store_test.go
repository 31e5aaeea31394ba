// SPDX-License-Identifier: Apache-2.0

package controllertest_test

import (
	"sync"
	"testing"

	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/store/storetest"
	"github.com/whirl-faas/whirl/whisk"
)

// process is one of those that use a store; the store outlives it.
type process struct{ *controllertest.Store }

func (process) Close() error { return nil }

// blobs are what the store keeps of code; the store outlives them, too.
type blobs struct{ whisk.Blobs }

func (blobs) Close() error { return nil }

// opener opens processes: those of one place share a store.
func opener() func(t *testing.T, place string) process {
	var mu sync.Mutex
	stores := map[string]*controllertest.Store{}
	return func(_ *testing.T, place string) process {
		mu.Lock()
		defer mu.Unlock()
		if stores[place] == nil {
			stores[place] = controllertest.NewStore()
		}
		return process{stores[place].Another()}
	}
}

func TestEntities(t *testing.T)            { storetest.Entities(t, opener()) }
func TestSubjects(t *testing.T)            { storetest.Subjects(t, opener()) }
func TestAPIs(t *testing.T)                { storetest.APIs(t, opener()) }
func TestActivations(t *testing.T)         { storetest.Activations(t, opener()) }
func TestLogs(t *testing.T)                { storetest.Logs(t, opener()) }
func TestQueue(t *testing.T)               { storetest.Queue(t, opener()) }
func TestAlarms(t *testing.T)              { storetest.Alarms(t, opener()) }
func TestArchive(t *testing.T)             { storetest.Archive(t, opener()) }
func TestArchivedActivations(t *testing.T) { storetest.ArchivedActivations(t, opener()) }

func TestBlobs(t *testing.T) {
	open := opener()
	storetest.Blobs(t, func(t *testing.T, place string) blobs { return blobs{open(t, place).Blobs()} })
}
