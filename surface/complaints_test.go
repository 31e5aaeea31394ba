// SPDX-License-Identifier: Apache-2.0

package surface_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/surface"
)

// journal returns a logger and the lines that it writes. Tests read each of them.
func journal() (*slog.Logger, *bufio.Scanner) {
	read, write := io.Pipe()
	return slog.New(slog.NewTextHandler(write, &slog.HandlerOptions{Level: slog.LevelDebug})), bufio.NewScanner(read)
}

// TestWhoIsRefusedIsInTheLog sends many requests of nobody, and a few of somebody
// who may not.
func TestWhoIsRefusedIsInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var text strings.Builder
		probes := watched(func(w *surface.Watch) {
			w.Profiles = true
			w.Logger = slog.New(slog.NewTextHandler(&text, nil))
		})
		lines := func() []string {
			defer text.Reset()
			return strings.Split(strings.TrimSpace(text.String()), "\n")
		}
		ask(probes, "controller ctl1", "GET", "/debug/pprof/heap")
		if got := lines(); len(got) != 1 || !strings.Contains(got[0], `level=WARN msg="caller refused"`) ||
			!strings.Contains(got[0], `path=/debug/pprof/heap err="profiles are for operators, not for controller ctl1"`) {
			t.Errorf("the log has %q", got)
		}
		for range 50 {
			ask(probes, "", "GET", "/metrics")
		}
		if got := lines(); len(got) != 19 || !strings.Contains(got[0], `err="who is there?"`) {
			t.Errorf("the log has %d lines about 50 requests, first %q", len(got), got[0])
		}
		time.Sleep(10 * time.Second)
		ask(probes, "", "GET", "/metrics")
		if got := lines(); len(got) != 1 || !strings.HasSuffix(got[0], "unsaid=31") {
			t.Errorf("later the log has %q", got)
		}
	})
}

// TestWhatIsNoRequestIsInTheLog connects to a server of TLS with what is none.
func TestWhatIsNoRequestIsInTheLog(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	secured := tls.NewListener(listener, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		return nil, errors.New("nobody gets that far")
	}})
	logger, lines := journal()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- surface.Serve(ctx, secured, http.NotFoundHandler(), surface.Default(), logger) }()
	for _, row := range []struct{ bytes, want string }{
		{"\x00\xff\x17garbage\r\n\r\n", `level=WARN msg="connection refused" err="http: TLS handshake error from 127.0.0.1`},
		{"", "level=DEBUG"}, // somebody looks whether the port is open
	} {
		conn, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(conn, row.bytes); err != nil {
			t.Fatal(err)
		}
		_ = conn.Close() // the line is what counts
		if !lines.Scan() || !strings.Contains(lines.Text(), row.want) {
			t.Errorf("%q: the log has %q, want %q", row.bytes, lines.Text(), row.want)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
