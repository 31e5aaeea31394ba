// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"container/list"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/whirl-faas/whirl/controller/lookout"
)

const (
	slowLine    = 2 * time.Minute // what 50 MB may take
	longestWait = 2 * time.Minute // that a request waits for its answer: a blocking call, and what comes before and after
)

// Server returns an HTTP server with limits that keep slow, endless and many
// clients from using it up: as many as connections may be open at once, at least
// one. Address, listener and TLS are the caller's.
func Server(handler http.Handler, connections int, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       slowLine,
		WriteTimeout:      slowLine + longestWait + slowLine, // counted from the request's header on
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ConnState:         newGuests(connections, logger).follow,
		ConnContext:       lookout.With,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),

		DisableGeneralOptionsHandler: true, // OPTIONS * is answered like any other
	}
}

// guests bounds how many connections are open. When one more comes than there may
// be, the one is closed that has been waiting for a request for longest: it is
// idle, or its client never said anything or takes its time to. A connection whose
// request is being served is never closed for another, so if all are, it is the
// newcomer that has to go.
//
// To let newcomers wait instead would be no help: idle clients keep their
// connections for minutes, and who is turned away at once can go elsewhere.
type guests struct {
	most   int
	logger *slog.Logger

	mu     sync.Mutex
	places map[net.Conn]*list.Element // guarded by mu
	queue  *list.List                 // guarded by mu: who waits, the longest first; the border; who is served
	border *list.Element              // of the two parts of queue; it has no connection
	told   time.Time                  // guarded by mu: when the log was told last
	closed int                        // guarded by mu: connections since then
}

func newGuests(most int, logger *slog.Logger) *guests {
	g := &guests{most: max(most, 1), logger: logger, places: map[net.Conn]*list.Element{}, queue: list.New()}
	g.border = g.queue.PushBack(nil)
	return g
}

// follow is the server's ConnState.
func (g *guests) follow(conn net.Conn, state http.ConnState) {
	leaving := g.note(conn, state)
	if leaving == nil {
		return
	}
	_ = leaving.Close() // the server notices, and comes back with StateClosed
	if closed := g.toTell(time.Now()); closed > 0 {
		g.logger.Warn("too many connections: those are closed that wait for longest", "limit", g.most, "closed", closed)
	}
}

// complaints is how often the log is told.
const complaints = time.Minute

// toTell returns how many connections were closed since the log was told last, 0
// if that was not long ago.
func (g *guests) toTell(now time.Time) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if now.Sub(g.told) < complaints {
		return 0
	}
	closed := g.closed
	g.told, g.closed = now, 0
	return closed
}

// note keeps the books, and returns the connection to close, nil for none.
func (g *guests) note(conn net.Conn, state http.ConnState) net.Conn {
	g.mu.Lock()
	defer g.mu.Unlock()
	place, known := g.places[conn]
	switch {
	case state == http.StateNew:
		g.places[conn] = g.queue.InsertBefore(conn, g.border)
		if len(g.places) > g.most {
			leaving, _ := g.queue.Front().Value.(net.Conn)
			g.forget(leaving)
			g.closed++
			return leaving
		}
	case !known: // it was told to leave
	case state == http.StateActive:
		g.queue.MoveAfter(place, g.border)
	case state == http.StateIdle:
		g.queue.MoveBefore(place, g.border)
	default:
		g.forget(conn)
	}
	return nil
}

func (g *guests) forget(conn net.Conn) {
	g.queue.Remove(g.places[conn])
	delete(g.places, conn)
}
