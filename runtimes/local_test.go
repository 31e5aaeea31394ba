// SPDX-License-Identifier: Apache-2.0

package runtimes_test

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/whirl-faas/whirl/runtimes"
	"github.com/whirl-faas/whirl/runtimes/runtimetest"
)

// detected asks the machine once for all tests.
var detected = sync.OnceValue(func() []runtimes.Local {
	locals, _, _ := runtimes.Detect(context.Background(), runtimes.Options{
		Interpreters: strings.Fields(os.Getenv("WHIRL_TEST_INTERPRETERS")),
	})
	return locals
})

// localsOf returns what the machine has of a family.
func localsOf(t testing.TB, family string) []runtimes.Local {
	var locals []runtimes.Local
	for _, local := range detected() {
		if strings.HasPrefix(local.Kind, family+":") {
			locals = append(locals, local)
		}
	}
	if len(locals) == 0 {
		runtimetest.Need(t, "an interpreter for "+family)
	}
	return locals
}

// start starts the first local of a family.
func start(t testing.TB, family string, env map[string]string) *runtimetest.Proxy {
	local := localsOf(t, family)[0]
	return runtimetest.Process(t, local.Argv, local.Files, env)
}

func contract(t *testing.T, family string, actions runtimetest.Actions) {
	t.Parallel()
	for _, local := range localsOf(t, family) {
		t.Run(local.Kind, func(t *testing.T) {
			runtimetest.Run(t, runtimetest.Runtime{
				Actions: actions,
				Start: func(t testing.TB, env map[string]string) *runtimetest.Proxy {
					return runtimetest.Process(t, local.Argv, local.Files, env)
				},
			})
		})
	}
}

func TestNodeJSKeepsTheContract(t *testing.T) { contract(t, "nodejs", runtimetest.NodeJS()) }

func TestPythonKeepsTheContract(t *testing.T) { contract(t, "python", runtimetest.Python()) }
