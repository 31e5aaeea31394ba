// SPDX-License-Identifier: Apache-2.0

package controllertest_test

import (
	"sync"
	"testing"

	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/store/storetest"
)

// process is one of those that use a store; the store outlives it.
type process struct{ *controllertest.Store }

func (process) Close() error { return nil }

func TestQueue(t *testing.T)  { storetest.Queue(t, opener()) }
func TestAlarms(t *testing.T) { storetest.Alarms(t, opener()) }

func opener() func(*testing.T, string) process {
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
