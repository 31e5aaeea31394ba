// SPDX-License-Identifier: Apache-2.0

package controller_test

import (
	"context"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/whisk"
)

func newController(t testing.TB, id whisk.ControllerID, store *controllertest.Store, balancer controller.Balancer, configure ...func(*controller.Config)) *controller.Controller {
	t.Helper()
	return newControllerWith(t, id, store, balancer, func(*controller.Deps) {}, configure...)
}

// newControllerWith lets a test change what the controller works with.
func newControllerWith(t testing.TB, id whisk.ControllerID, store *controllertest.Store, balancer controller.Balancer, provide func(*controller.Deps), configure ...func(*controller.Config)) *controller.Controller {
	t.Helper()
	config := controller.Default()
	config.ID = id
	config.Limits = controllertest.Unthrottled()
	config.DrainTimeout = time.Second
	config.Records.FlushTimeout = time.Second
	for _, set := range configure {
		set(&config)
	}
	deps := controller.Deps{
		Entities: store, Subjects: store, APIs: store, Blobs: store.Blobs(), Activations: store, Logs: store, Queue: store,
		Balancer: balancer, Manifest: nodejs,
	}
	provide(&deps)
	c, err := controller.New(config, deps)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func putHello(t testing.TB, c *controller.Controller) {
	t.Helper()
	if _, _, err := c.PutAction(t.Context(), guest, hello, []byte(helloJS), true); err != nil {
		t.Fatal(err)
	}
}

// running starts c; stop ends it and waits.
func running(c *controller.Controller) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()
	return func() error {
		cancel()
		return <-done
	}
}
