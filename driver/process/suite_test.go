// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"testing"

	"github.com/whirl-faas/whirl/driver/drivertest"
	"github.com/whirl-faas/whirl/driver/process"
	"github.com/whirl-faas/whirl/whisk"
)

func TestConformance(t *testing.T) {
	needRoot(t)
	drivertest.Run(t, func(t *testing.T) drivertest.Harness {
		return drivertest.Harness{
			New:  func(t *testing.T) whisk.Driver { return mustOpen(t, testConfig(t)) },
			Spec: testSpec,
			Code: drivertest.Code{Echo: "echo", Print: "print", Exit: "exit", Sleep: "sleep", Allocate: "allocate"},
			UserFault: func(t *testing.T) (whisk.Driver, whisk.CreateSandbox) {
				spec := whisk.ContainerSpec{Kind: "nosuch:1", Memory: 128 * whisk.MB}
				return mustOpen(t, testConfig(t)), whisk.CreateSandbox{ID: "userfault", Spec: spec}
			},
			NodeFault: func(t *testing.T) (whisk.Driver, whisk.CreateSandbox) {
				config := testConfig(t)
				config.Runtimes[0].Argv = []string{"/nosuch/runtime"}
				return mustOpen(t, config), whisk.CreateSandbox{ID: "nodefault", Spec: testSpec}
			},
		}
	})
}

// mustOpen opens a driver that the suite closes.
func mustOpen(t *testing.T, config process.Config) *process.Driver {
	t.Helper()
	driver, err := process.Open(config)
	if err != nil {
		t.Fatalf("Open = %v", err)
	}
	return driver
}
