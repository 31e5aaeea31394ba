// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"net/http"

	"github.com/whirl-faas/whirl/agent"
)

// Authorize finds out who sent a request, by what proves it, such as a client
// certificate. An error of kind Denied says that it is known who asks, and that
// he may not; any other that it is not known. Calls may overlap.
type Authorize func(*http.Request) (agent.Caller, error)
