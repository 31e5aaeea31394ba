// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// A connection's timer stays from one request to a later one. Each request has its
// own time all the same, to the instant, whether it is the writing or the reading
// that takes long.
func TestDeadlinesOfOneConnection(t *testing.T) {
	const limit = time.Minute
	for _, test := range []struct {
		name           string
		idle           time.Duration // after the first request
		reads, answers time.Duration // how long the container takes to, from the former answer and from there on
		late           bool
	}{
		{name: "soon"},
		{name: "answered after the former deadline", idle: 20 * time.Second, answers: 50 * time.Second},
		{name: "answered in the last moment", idle: 20 * time.Second, answers: limit - 1},
		{name: "read after the former deadline", idle: 20 * time.Second, reads: 70 * time.Second},
		{name: "read and answered slowly", idle: 29 * time.Second, reads: 61 * time.Second, answers: 27 * time.Second},
		{name: "after a long rest", idle: 2 * limit, answers: limit - 1},
		{name: "never answered", idle: 20 * time.Second, answers: limit + 1, late: true},
		{name: "never read", idle: 20 * time.Second, reads: 20*time.Second + limit + 1, late: true},
		{name: "never answered after a long rest", idle: 2 * limit, answers: limit + 1, late: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				first, container := true, sync.WaitGroup{}
				defer container.Wait()
				dial := func(context.Context, whisk.Address) (net.Conn, error) {
					near, far := net.Pipe()
					container.Go(func() {
						defer far.Close()
						in := bufio.NewReader(far)
						for {
							if !first {
								time.Sleep(test.reads)
							}
							request, err := http.ReadRequest(in)
							if err != nil {
								return
							}
							io.Copy(io.Discard, request.Body)
							if !first {
								time.Sleep(test.answers)
							}
							first = false
							io.WriteString(far, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
						}
					})
					return near, nil
				}
				w := newWire(dial, whisk.Address{Network: "unix", Address: "x"}, 0)
				defer w.cut()
				body := []byte(strings.Repeat("x", 10_000))
				post := func() (reply, error) {
					return w.post(t.Context(), "/run", body, time.Now().Add(limit), whisk.MB)
				}
				if _, err := post(); err != nil {
					t.Fatal(err)
				}
				time.Sleep(test.idle)
				begun := time.Now()
				rep, err := post()
				switch took := time.Since(begun); {
				case test.late && (!errors.Is(err, errLate) || took != limit):
					t.Errorf("%v after %v, want errLate after %v", err, took, limit)
				case !test.late && (err != nil || string(rep.body) != "{}" || took != max(0, test.reads-test.idle)+test.answers):
					t.Errorf("%s, %v after %v", rep.body, err, took)
				}
			})
		})
	}
}
