// SPDX-License-Identifier: Apache-2.0

package surface

import (
	"context"
	"errors"
	"log"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// maxHeader bounds a request's line and headers.
const maxHeader = 16 << 10

// Serve has the handler answer what comes by the listener until ctx ends, and
// closes it. It returns when no request is under way any more, and nil unless the
// listener failed.
func Serve(ctx context.Context, listener net.Listener, handler http.Handler, bounds Bounds, logger *slog.Logger) error {
	clients := clients{most: int64(bounds.Connections)}
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: bounds.Read,
		ReadTimeout:       bounds.Read,
		WriteTimeout:      bounds.Read + bounds.Write, // of what the server answers by itself
		IdleTimeout:       bounds.Idle,
		MaxHeaderBytes:    maxHeader,
		ConnState:         clients.count,
		ErrorLog:          log.New(serverErrors{Complaints(logger)}, "", 0),
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
		patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), bounds.Stop)
		defer cancel()
		_ = server.Shutdown(patience) // Close ends what it has not
		<-failed
	}
	err = errors.Join(err, server.Close())
	clients.serving.Wait()
	return err
}

// clients counts connections.
type clients struct {
	most    int64
	open    atomic.Int64
	serving sync.WaitGroup
}

// count is the server's ConnState. It closes connections that come when there
// are enough.
func (c *clients) count(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		c.serving.Add(1)
		if c.open.Add(1) > c.most {
			_ = conn.Close() // the server notices, and comes back with StateClosed
		}
	case http.StateClosed, http.StateHijacked:
		c.open.Add(-1)
		c.serving.Done()
	}
}
