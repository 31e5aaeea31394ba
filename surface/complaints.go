// SPDX-License-Identifier: Apache-2.0

package surface

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// How many warnings a logger of [Complaints] writes, and in what time.
const (
	complaintsAtOnce = 20
	complaintsEvery  = 10 * time.Second
)

// Complaints returns a logger whose warnings are bounded: who is refused must not
// fill our disk. The first one that is written after some were left out says how
// many are unsaid. All other lines pass.
func Complaints(logger *slog.Logger) *slog.Logger {
	return slog.New(complainer{logger.Handler(), &allowance{}})
}

// complainer is the handler of such a logger and of those made from it.
type complainer struct {
	slog.Handler
	allowance *allowance
}

// Handle implements [slog.Handler].
func (c complainer) Handle(ctx context.Context, line slog.Record) error {
	if line.Level == slog.LevelWarn {
		unsaid, ok := c.allowance.take(line.Time)
		if !ok {
			return nil
		}
		if unsaid > 0 {
			line = line.Clone()
			line.AddAttrs(slog.Int("unsaid", unsaid))
		}
	}
	return c.Handler.Handle(ctx, line)
}

// WithAttrs implements [slog.Handler].
func (c complainer) WithAttrs(attrs []slog.Attr) slog.Handler {
	return complainer{c.Handler.WithAttrs(attrs), c.allowance}
}

// WithGroup implements [slog.Handler].
func (c complainer) WithGroup(name string) slog.Handler {
	return complainer{c.Handler.WithGroup(name), c.allowance}
}

// allowance counts warnings.
type allowance struct {
	mu      sync.Mutex
	since   time.Time
	count   int
	dropped int // since the last one that was written
}

// take says whether a warning may be written, and how many were not before it.
func (a *allowance) take(now time.Time) (unsaid int, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Sub(a.since) >= complaintsEvery {
		a.since, a.count = now, 0
	}
	if a.count++; a.count > complaintsAtOnce {
		a.dropped++
		return 0, false
	}
	unsaid, a.dropped = a.dropped, 0
	return unsaid, true
}

// serverErrors is where an [net/http.Server] writes what went wrong with
// connections, a line at a time. Who leaves without a word, as load balancers do
// that look whether somebody listens, is not worth a warning.
type serverErrors struct{ log *slog.Logger }

// Write implements [io.Writer].
func (s serverErrors) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	level := slog.LevelWarn
	if strings.HasSuffix(text, ": EOF") {
		level = slog.LevelDebug
	}
	s.log.Log(context.Background(), level, "connection refused", "err", text)
	return len(line), nil
}
