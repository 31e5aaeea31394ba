// SPDX-License-Identifier: Apache-2.0

package drivertest

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// bench is what a test works at: a driver, and the sandboxes made of it. Its
// cleanup destroys what is left and closes the driver.
type bench struct {
	Harness
	driver whisk.Driver
	made   atomic.Int64
}

func newBench(t *testing.T, h Harness) *bench { return benchOf(t, h, h.New(t)) }

func benchOf(t *testing.T, h Harness, driver whisk.Driver) *bench {
	b := &bench{Harness: h, driver: driver}
	t.Cleanup(func() {
		if err := b.driver.Close(); err != nil {
			t.Errorf("Close = %v", err)
		}
	})
	return b
}

func (b *bench) request() whisk.CreateSandbox {
	id := fmt.Sprintf("suite_%d", b.made.Add(1))
	return whisk.CreateSandbox{ID: whisk.ContainerID(id), Spec: b.Spec, Label: "conformance"}
}

// specimen is a sandbox under test, with its output.
type specimen struct {
	whisk.Sandbox
	b      *bench
	client *http.Client
	out    [2]*transcript // stdout, stderr
	reads  sync.WaitGroup
	lost   bool // with the agent that made it: nothing is left to destroy it by
}

// create makes a sandbox that reads its own output.
func (b *bench) create(t *testing.T) *specimen {
	t.Helper()
	s, err := b.tryCreate(t, t.Context(), b.request())
	if err != nil {
		t.Fatalf("Create = %v", err)
	}
	return s
}

func (b *bench) tryCreate(t *testing.T, ctx context.Context, req whisk.CreateSandbox) (*specimen, error) {
	sandbox, err := b.driver.Create(ctx, req)
	if err != nil {
		return nil, err
	}
	return b.adopt(t, sandbox), nil
}

func (b *bench) adopt(t *testing.T, sandbox whisk.Sandbox) *specimen {
	s := b.bare(t, sandbox)
	stdout, stderr := sandbox.Output()
	for i, pipe := range []io.ReadCloser{stdout, stderr} {
		s.out[i] = newTranscript()
		s.reads.Go(func() { s.out[i].read(pipe) })
	}
	return s
}

// bare wraps a sandbox whose output nobody reads.
func (b *bench) bare(t *testing.T, sandbox whisk.Sandbox) *specimen {
	address := sandbox.Address()
	transport := &http.Transport{
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return b.Dial(ctx, address) },
		DisableKeepAlives: true,
	}
	s := &specimen{Sandbox: sandbox, b: b, client: &http.Client{Transport: transport}}
	t.Cleanup(func() {
		if !s.lost {
			s.destroy(t)
		}
		transport.CloseIdleConnections()
		s.reads.Wait() // ends only if the pipes do
	})
	return s
}

// destroy also checks what must hold after any Destroy. Cleanups call it, so
// it does not use the test's context, which has ended by then.
func (s *specimen) destroy(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), s.b.Patience)
	defer cancel()
	if err := s.Destroy(ctx); err != nil {
		t.Errorf("Destroy(%s) = %v", s.ID(), err)
		return
	}
	select {
	case <-s.Done():
	default:
		t.Errorf("Destroy(%s) returned before Done was closed", s.ID())
	}
	if conn, err := s.b.Dial(ctx, s.Address()); err == nil {
		_ = conn.Close()
		t.Errorf("the address of %s takes connections after Destroy", s.ID())
	}
}

func (s *specimen) awaitDone(t *testing.T) {
	t.Helper()
	select {
	case <-s.Done():
	case <-time.After(s.b.Patience):
		t.Fatalf("%s did not end", s.ID())
	}
}

// answer is what a sandbox said to a POST.
type answer struct {
	status int
	body   string
	err    error
}

func (s *specimen) post(ctx context.Context, path string, body any) answer {
	data, err := json.Marshal(body)
	if err != nil {
		return answer{err: err}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://sandbox"+path, bytes.NewReader(data))
	if err != nil {
		return answer{err: err}
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := s.client.Do(req)
	if err != nil {
		return answer{err: err}
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return answer{resp.StatusCode, string(text), err}
}

// init initialises the sandbox, or skips the test if there is no code for it.
func (s *specimen) init(t *testing.T, code string) {
	t.Helper()
	if code == "" {
		t.Skip("the harness has no code for this")
	}
	if err := s.tryInit(t.Context(), code); err != nil {
		t.Fatal(err)
	}
}

// tryInit sends /init, and again while the runtime does not listen yet, as a
// controller does.
func (s *specimen) tryInit(ctx context.Context, code string) error {
	ctx, cancel := context.WithTimeout(ctx, s.b.Patience)
	defer cancel()
	value := map[string]any{"name": "suite", "main": cmp.Or(s.b.Code.Main, "main"), "code": code, "binary": s.b.Code.Binary}
	for {
		got := s.post(ctx, "/init", map[string]any{"value": value})
		if got.err == nil && got.status == http.StatusOK {
			return nil
		}
		dial, ok := errors.AsType[*net.OpError](got.err)
		if !ok || dial.Op != "dial" || ctx.Err() != nil {
			return fmt.Errorf("/init of %s = %+v", s.ID(), got)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// run sends one /run and waits for its answer.
func (s *specimen) run(t *testing.T, params map[string]any) answer {
	ctx, cancel := context.WithTimeout(t.Context(), s.b.Patience)
	defer cancel()
	return s.post(ctx, "/run", map[string]any{
		"value":         params,
		"namespace":     "guest",
		"action_name":   "/guest/suite",
		"activation_id": strings.Repeat("0", 32),
		"deadline":      fmt.Sprint(time.Now().Add(s.b.Patience).UnixMilli()),
	})
}

func (s *specimen) mustRun(t *testing.T, params map[string]any) answer {
	t.Helper()
	got := s.run(t, params)
	if got.err != nil || got.status != http.StatusOK {
		t.Fatalf("/run = %+v", got)
	}
	return got
}

// runLater sends /run and returns where its answer will be.
func (s *specimen) runLater(t *testing.T, params map[string]any) <-chan answer {
	answers := make(chan answer, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		answers <- s.run(t, params)
	}()
	t.Cleanup(func() { <-done })
	return answers
}

// transcript is what was read of a pipe.
type transcript struct {
	mu    sync.Mutex
	lines []string
	ended bool
	pulse chan struct{} // closed and replaced at each change
}

func newTranscript() *transcript { return &transcript{pulse: make(chan struct{})} }

func (tr *transcript) read(pipe io.ReadCloser) {
	defer pipe.Close()
	scanner := bufio.NewScanner(pipe)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		tr.note(func() { tr.lines = append(tr.lines, scanner.Text()) })
	}
	tr.note(func() { tr.ended = true })
}

func (tr *transcript) note(change func()) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	change()
	close(tr.pulse)
	tr.pulse = make(chan struct{})
}

// await waits until enough says so, and returns the lines read until then.
func (tr *transcript) await(t *testing.T, patience time.Duration, enough func(lines []string, ended bool) bool) []string {
	t.Helper()
	timeout := time.After(patience)
	for {
		tr.mu.Lock()
		lines, ended, pulse := slices.Clone(tr.lines), tr.ended, tr.pulse
		tr.mu.Unlock()
		if enough(lines, ended) {
			return lines
		}
		select {
		case <-pulse:
		case <-timeout:
			t.Fatalf("output did not come: %d lines, ended %t, last %q", len(lines), ended, lines[max(0, len(lines)-3):])
		}
	}
}
