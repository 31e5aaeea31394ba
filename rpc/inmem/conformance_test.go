// SPDX-License-Identifier: Apache-2.0

package inmem_test

import (
	"context"
	"testing"

	"github.com/whirl-faas/whirl/rpc/inmem"
	"github.com/whirl-faas/whirl/rpc/rpctest"
	"github.com/whirl-faas/whirl/whisk"
)

func TestConformance(t *testing.T) {
	rpctest.Run(t, func(t *testing.T, roles rpctest.Roles) rpctest.Ends {
		exchange := inmem.NewExchange()
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- exchange.Run(ctx) }()
		return rpctest.Ends{
			ControllerToScheduler: func(context.Context) (whisk.ControllerToScheduler, error) {
				return inmem.Dial(exchange, roles.Controller)
			},
			AgentToScheduler: func(context.Context) (whisk.AgentToScheduler, error) {
				return inmem.Dial(exchange, roles.Agent)
			},
			ControllerToAgent: func(context.Context) (whisk.ControllerToAgent, error) {
				return inmem.Dial(exchange, roles.Sandbox)
			},
			ControllerToPeer: func(context.Context) (whisk.ControllerToPeer, error) {
				return inmem.Dial(exchange, roles.Peer)
			},
			Stop: func() {
				stop()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			},
		}
	})
}
