// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/controller/keyring"
	"github.com/whirl-faas/whirl/whisk"
)

// An activation that was accepted while the key was there ends in a record that
// says what is missing, and the parameters are what they were.
func TestRecoveryWithoutTheKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys, err := keyring.New(keyring.AES128, map[keyring.Scheme][][]byte{keyring.AES128: {make([]byte, 16)}})
		if err != nil {
			t.Fatal(err)
		}
		store := controllertest.NewStore()
		first := newControllerWith(t, "first", store, &controllertest.Balancer{}, func(deps *controller.Deps) { deps.Keys = keys })
		body := strings.Replace(helloJS, "{", `{"parameters":[{"key":"p","value":"sesame"}],`, 1)
		if _, _, err := first.PutAction(t.Context(), guest, hello, []byte(body), true); err != nil {
			t.Fatal(err)
		}
		before, err := store.Get(t.Context(), hello)
		if err != nil {
			t.Fatal(err)
		}
		// It dies before the activation has a container.
		store.SetFault(func(op string, _ bool) error {
			if op == "Claim" || op == "PutActivations" {
				return errKilled
			}
			return nil
		})
		id, err := first.Submit(t.Context(), controller.Call{Caller: guest, Action: hello, Transaction: "tid"})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		store.SetFault(nil)

		second := newController(t, "second", store, &controllertest.Balancer{})
		stop := running(second)
		time.Sleep(time.Second)
		if err := stop(); err != nil {
			t.Error(err)
		}
		response := store.Records()[id].Response
		if response.Status != whisk.WhiskError || !strings.Contains(string(response.Result), `it is encrypted with aes-128, of which the platform has no key`) {
			t.Errorf("the record says %v %s", response.Status, response.Result)
		}
		if after, err := store.Get(t.Context(), hello); err != nil || string(after.Body) != string(before.Body) || strings.Contains(string(after.Body), "sesame") {
			t.Errorf("the action is %s, %v; it was %s", after.Body, err, before.Body)
		}
		if queued := store.Queued(); len(queued) > 0 {
			t.Errorf("still queued: %v", queued)
		}
	})
}
