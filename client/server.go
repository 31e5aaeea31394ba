// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"net/http"

	"github.com/whirl-faas/whirl/whisk"
)

// Namespaces returns the namespaces that the key opens: one.
func (c *Client) Namespaces(ctx context.Context) (namespaces []string, err error) {
	return namespaces, c.call(ctx, request{method: http.MethodGet, root: "/api/v1/namespaces"}, &namespaces)
}

// ServerInfo is what a server tells everybody about itself.
type ServerInfo struct {
	Description string                     `json:"description"`
	APIPaths    []string                   `json:"api_paths"`
	Limits      map[string]int64           `json:"limits"` // milliseconds, bytes and counts
	Runtimes    map[string][]ServerRuntime `json:"runtimes"`
}

// ServerRuntime is a kind of action that the server runs.
type ServerRuntime struct {
	Kind       string `json:"kind"`
	Image      string `json:"image"`
	Default    bool   `json:"default"`
	Deprecated bool   `json:"deprecated"`
}

// ServerInfo returns what the server tells about itself. It needs no key.
func (c *Client) ServerInfo(ctx context.Context) (info ServerInfo, err error) {
	return info, c.call(ctx, request{method: http.MethodGet, root: "/"}, &info)
}

// APIInfo is the version of the API and of the server.
type APIInfo struct {
	Description string `json:"description"`
	Version     string `json:"api_version"`
	Build       string `json:"build"`
	BuildNumber string `json:"buildno"`
}

// APIInfo returns the version of the API and of the server. It needs no key.
func (c *Client) APIInfo(ctx context.Context) (info APIInfo, err error) {
	return info, c.call(ctx, request{method: http.MethodGet, root: "/api/v1"}, &info)
}

// Ping reports whether the server answers. It needs no key.
func (c *Client) Ping(ctx context.Context) error {
	got, err := c.send(ctx, request{method: http.MethodGet, root: "/ping"})
	if err != nil {
		return err
	}
	if got.status != http.StatusOK {
		return whisk.Errorf(whisk.Unavailable, "ping answered with status %d", got.status)
	}
	return nil
}
