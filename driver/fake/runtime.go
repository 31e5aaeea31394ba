// SPDX-License-Identifier: Apache-2.0

package fake

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// sentinelLine ends a run's output on each stream.
const sentinelLine = whisk.LogSentinel + "\n"

// runtime is what the server inside a sandbox remembers; the sandbox's mutex
// guards it.
type runtime struct {
	concurrency  int
	initialising bool
	ready        bool
	code         string
	running      int
}

// envelope has the fields of /init and /run that the runtime looks at.
type envelope struct {
	Value      json.RawMessage    `json:"value"`
	Activation whisk.ActivationID `json:"activation_id"`
}

// gated is the server's end of a connection: a frozen process neither reads
// nor writes.
type gated struct {
	*conn
	s *sandbox
}

func (g gated) Read(b []byte) (int, error) {
	n, err := g.conn.Read(b)
	if !g.s.breathe() {
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}

// serve answers the requests of one connection until either side ends it.
func (s *sandbox) serve(c *conn) {
	requests := bufio.NewReader(gated{c, s})
	for {
		req, err := http.ReadRequest(requests)
		if err != nil {
			return
		}
		body, err := io.ReadAll(req.Body)
		if err != nil || !s.breathe() {
			return
		}
		if !s.handle(c, req.URL.Path, body) || req.Close {
			return
		}
	}
}

// handle answers one request; false ends the connection.
func (s *sandbox) handle(c *conn, path string, body []byte) bool {
	var request envelope
	if err := json.Unmarshal(body, &request); err != nil {
		return reply(c, http.StatusBadRequest, fmt.Appendf(nil, `{"error":%q}`, err.Error()))
	}
	call := Call{Container: s.ID(), Activation: request.Activation, Value: request.Value, Body: body}
	switch path {
	case "/init":
		return s.init(c, call)
	case "/run":
		return s.run(c, call)
	}
	return reply(c, http.StatusNotFound, []byte(`{"error":"no such path"}`))
}

func (s *sandbox) init(c *conn, call Call) bool {
	var init struct {
		Code string `json:"code"`
	}
	if err := json.Unmarshal(call.Value, &init); err != nil {
		return reply(c, http.StatusForbidden, []byte(`{"error":"Missing main/no code to execute."}`))
	}
	call.Code = init.Code
	if !s.beginInit() {
		s.history.blame(s.ID(), "initialised a second time")
		return reply(c, http.StatusForbidden, []byte(`{"error":"Cannot initialize the action more than once."}`))
	}
	s.history.note(InitStarted, s.ID(), "", nil)
	rng, n := s.draw(InitStarted)
	call.N = n
	answer := s.script.Init(rng, call)
	if !s.act(c, &answer, []byte(`{"ok":true}`)) {
		return false
	}
	failed := answer.Status != http.StatusOK
	s.mu.Lock()
	s.runtime.initialising, s.runtime.ready, s.runtime.code = false, !failed, init.Code
	s.mu.Unlock()
	if failed && !s.sentinels(answer) {
		return false
	}
	s.history.note(InitEnded, s.ID(), "", nil)
	return reply(c, answer.Status, answer.Body)
}

func (s *sandbox) beginInit() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.runtime.initialising || s.runtime.ready {
		return false
	}
	s.runtime.initialising = true
	return true
}

func (s *sandbox) run(c *conn, call Call) bool {
	var blame string
	s.mu.Lock()
	call.Code = s.runtime.code
	s.runtime.running++
	switch r := s.runtime; {
	case r.initialising:
		blame = "run while it is initialised"
	case !r.ready:
		blame = "run before a successful init"
	case r.running > r.concurrency:
		blame = fmt.Sprintf("%d runs at once, %d allowed", r.running, r.concurrency)
	}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.runtime.running--
	}()
	if blame != "" {
		s.history.blame(s.ID(), "activation %s: %s", call.Activation, blame)
	}
	s.history.note(RunStarted, s.ID(), call.Activation, nil)
	rng, n := s.draw(RunStarted)
	call.N = n
	answer := s.script.Run(rng, call)
	if !s.act(c, &answer, call.Value) || !s.sentinels(answer) {
		return false
	}
	s.history.note(RunEnded, s.ID(), call.Activation, nil)
	return reply(c, answer.Status, answer.Body)
}

// act does all of an answer that comes before its last line. It returns false
// if there will be no answer.
func (s *sandbox) act(c *conn, answer *Answer, body []byte) bool {
	if answer.Status == 0 {
		answer.Status = http.StatusOK
	}
	if answer.Body == nil {
		answer.Body = body
	}
	if !s.work(answer.Delay) || !s.print(answer.Stdout, answer.Stderr) {
		return false
	}
	switch {
	case answer.Crash != nil:
		s.end(Crashed, *answer.Crash)
		return false
	case answer.Hang:
		<-s.done
		return false
	case answer.Raw != nil:
		_, _ = c.Write(answer.Raw) // whoever reads it sees what is wrong
		return false
	}
	return true
}

// sentinels ends a run's output, now or later.
func (s *sandbox) sentinels(answer Answer) bool {
	switch {
	case answer.NoSentinels:
		return true
	case answer.Late > 0:
		s.serving.Go(func() {
			if s.work(answer.Late) {
				s.print(sentinelLine, sentinelLine)
			}
		})
		return true
	}
	return s.print(sentinelLine, sentinelLine)
}

// print blocks while nobody reads and the pipes are full; false if the process
// ended meanwhile.
func (s *sandbox) print(stdout, stderr string) bool {
	for i, text := range []string{stdout, stderr} {
		if text == "" {
			continue
		}
		// A reader that is gone is no reason to stop: a process that ignores
		// SIGPIPE goes on as well.
		_, _ = s.output[i].Write([]byte(text))
	}
	return s.breathe()
}

func reply(c *conn, status int, body []byte) bool {
	head := fmt.Appendf(make([]byte, 0, 128+len(body)), "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nDate: %s\r\n\r\n",
		status, http.StatusText(status), len(body), time.Now().UTC().Format(http.TimeFormat))
	_, err := c.Write(append(head, body...))
	return err == nil
}
