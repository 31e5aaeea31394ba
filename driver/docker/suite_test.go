// SPDX-License-Identifier: Apache-2.0

//go:build docker

package docker_test

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/driver/docker"
	"github.com/whirl-faas/whirl/driver/drivertest"
	"github.com/whirl-faas/whirl/whisk"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	drivertest.Run(t, func(t *testing.T) drivertest.Harness {
		config := testConfig(t)
		return drivertest.Harness{
			New:       func(t *testing.T) whisk.Driver { return mustOpen(t, config) },
			Spec:      nodejsSpec,
			Code:      nodejsCode(),
			Sandboxes: 4,
			// Nobody answers at the address of a container that is gone, so a
			// dial learns of that by waiting only.
			Dial: func(ctx context.Context, address whisk.Address) (net.Conn, error) {
				dialer := net.Dialer{Timeout: time.Second}
				return dialer.DialContext(ctx, address.Network, address.Address)
			},
			UserFault: func(t *testing.T) (whisk.Driver, whisk.CreateSandbox) {
				return mustOpen(t, testConfig(t)), whisk.CreateSandbox{ID: "userfault", Spec: whisk.ContainerSpec{Kind: "nosuch:1", Memory: 256 * whisk.MB}}
			},
			NodeFault: func(t *testing.T) (whisk.Driver, whisk.CreateSandbox) {
				broken := testConfig(t)
				// The OCI runtime is not for users to choose.
				broken.Options = []byte(`{"Runtime": "no-such-runtime"}`)
				return mustOpen(t, broken), whisk.CreateSandbox{ID: "nodefault", Spec: nodejsSpec}
			},
			Killed: func(t *testing.T, old whisk.Driver) whisk.Driver {
				if err := old.(*docker.Driver).Die(); err != nil {
					t.Fatalf("Die = %v", err)
				}
				return mustOpen(t, config)
			},
		}
	})
}

func nodejsCode() drivertest.Code {
	return drivertest.Code{
		Echo: `function main(args) { return args }`,
		Print: `function main({lines}) {
  for (let i = 0; i < lines; i++) { console.log('out', i); console.error('err', i) }
  return {};
}`,
		Exit:  `function main({code}) { process.exit(code) }`,
		Sleep: `function main({ms}) { return new Promise((done) => setTimeout(() => done({}), ms)) }`,
		Allocate: `function main({mb}) {
  const blocks = [];
  for (let i = 0; i < mb; i++) blocks.push(Buffer.alloc(1 << 20, 1));
  return {mb: blocks.length};
}`,
	}
}
