// SPDX-License-Identifier: Apache-2.0

package balancer_test

import (
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/controller/balancer"
	"github.com/whirl-faas/whirl/whisk"
)

func TestValidate(t *testing.T) {
	valid := balancer.Default()
	valid.Controller = "c1"
	if err := valid.Validate(); err != nil {
		t.Fatal(err)
	}
	reached := valid
	reached.Peers = "c1:1"
	if _, err := balancer.New(reached, balancer.Deps{}); whisk.KindOf(err) != whisk.Invalid || !strings.Contains(err.Error(), "c1:1") {
		t.Errorf("reached by others, and reaching none: %v", err)
	}
	for _, test := range []struct {
		text   string
		change func(*balancer.Config)
	}{
		{"Controller is empty", func(c *balancer.Config) { c.Controller = "" }},
		{"PauseGrace -1s is negative", func(c *balancer.Config) { c.PauseGrace = -time.Second }},
		{"Forwards must be above 0", func(c *balancer.Config) { c.Forwards = 0 }},
		{"Waiting must be above 0", func(c *balancer.Config) { c.Waiting = 0 }},
		{"IdleTimeout must be above 0", func(c *balancer.Config) { c.IdleTimeout = 0 }},
		{"Silence 5s must be longer than KeepAlive 5s", func(c *balancer.Config) { c.Silence = c.KeepAlive }},
		{"ReconnectMax 1ms is below ReconnectMin", func(c *balancer.Config) { c.ReconnectMax = time.Millisecond }},
	} {
		config := valid
		test.change(&config)
		err := config.Validate()
		if err == nil || whisk.KindOf(err) != whisk.Invalid || !strings.Contains(err.Error(), test.text) {
			t.Errorf("got %v, want %q", err, test.text)
		}
		if _, err := balancer.New(config, balancer.Deps{}); err == nil {
			t.Errorf("New took it: %s", test.text)
		}
	}
}
