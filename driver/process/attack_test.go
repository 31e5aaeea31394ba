// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
	"golang.org/x/sys/unix"
)

// TestSandboxInheritsNothing holds open what a shell may hand down to the agent,
// as `flock 9` and make do. A directory of the host would be a way out.
func TestSandboxInheritsNothing(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	leaked, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0) // not closed on exec
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(leaked) })
	var f sandboxFacts
	newBox(t, openDriver(t, testConfig(t)), testSpec).do("facts", nil, &f)
	checkFacts(t, f)
	if slices.ContainsFunc(f.Files, func(file string) bool { return strings.HasSuffix(file, filepath.Base(dir)) }) {
		t.Errorf("the sandbox holds %s open: %q", dir, f.Files)
	}
}

// TestSandboxSeesNoneOfTheHostsOwnDirectories puts one at the top whose name only
// looks like that of a library directory.
func TestSandboxSeesNoneOfTheHostsOwnDirectories(t *testing.T) {
	needRoot(t)
	dir, err := os.MkdirTemp("/", "library_")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	var f sandboxFacts
	newBox(t, openDriver(t, testConfig(t)), testSpec).do("facts", nil, &f)
	if slices.Contains(f.Root, filepath.Base(dir)) {
		t.Errorf("the sandbox is shown %s: %v", dir, f.Root)
	}
}

// TestSandboxCannotOutliveItsAgent has a sandbox withdraw its death signal. No
// cgroup would find it again where an ordinary user has none.
func TestSandboxCannotOutliveItsAgent(t *testing.T) {
	needRoot(t)
	config := testConfig(t)
	reports, kill := startAgent(t, config)
	address := reports[1].Address
	var errno int
	b := reach(t, address)
	b.do("call", values{"Number": unix.SYS_PRCTL, "A": unix.PR_SET_PDEATHSIG}, &errno)
	kill()
	refused := func() bool {
		conn, err := net.Dial(address.Network, address.Address)
		if err == nil {
			conn.Close()
		}
		return errors.Is(err, unix.ECONNREFUSED)
	}
	if !within(10*time.Second, refused) {
		t.Errorf("the sandbox lives on after its agent was killed (prctl: %v)", unix.Errno(errno))
	}
	openDriver(t, config) // removes its cgroups
}

func TestEmptyFilesAreBounded(t *testing.T) {
	needRoot(t)
	b := newBox(t, openDriver(t, testConfig(t)), whisk.ContainerSpec{Kind: kind, Memory: 96 * whisk.MB})
	var got struct {
		Count int
		Why   string
	}
	b.do("files", nil, &got)
	if got.Count < 24_000 || got.Count > 25_000 || !strings.Contains(got.Why, "no space") {
		t.Errorf("it made %d files until %q, want some 24000 and no space", got.Count, got.Why)
	}
}

// TestSocketsCountAsMemory fills connections within a sandbox. All TCP of a machine
// shares one bound, which a single sandbox could use up.
func TestSocketsCountAsMemory(t *testing.T) {
	needRoot(t)
	b := newBox(t, openDriver(t, testConfig(t)), testSpec)
	var got struct{ Connections, MB int }
	err := b.try("fillLoopback", values{"connections": 200}, &got)
	if err == nil && (got.Connections == 0 || got.MB > 160) { // it was 500
		t.Errorf("a sandbox of 128 MB has %d MB in %d connections", got.MB, got.Connections)
	}
	if err != nil { // with version 2 the kernel counts them together with all else
		<-b.Done()
		if !b.Exit().OutOfMemory {
			t.Errorf("it ended by %+v after %v, want out of memory", b.Exit(), err)
		}
	}
}

// TestOutOfMemoryWhileItIsSuspendedAndResumed freezes a sandbox again and again
// on its way over the limit: the end must come whichever wins.
func TestOutOfMemoryWhileItIsSuspendedAndResumed(t *testing.T) {
	needRoot(t)
	driver := openDriver(t, testConfig(t))
	for range 2 {
		b := newBox(t, driver, testSpec)
		answered := make(chan error, 1)
		go func() { answered <- b.try("allocate", values{"mb": 500}, nil) }()
		for b.Suspend(t.Context()) == nil && b.Resume(t.Context()) == nil {
		}
		select {
		case <-b.Done():
		case <-time.After(20 * time.Second):
			t.Fatal("it lives on")
		}
		if err := <-answered; err == nil || !b.Exit().OutOfMemory {
			t.Errorf("it got 500 MB of 128: %v, Exit = %+v", err, b.Exit())
		}
	}
}

// fillLoopback floods connections that nobody accepts.
func fillLoopback(params json.RawMessage) (any, error) {
	var p map[string]any
	if err := json.Unmarshal(params, &p); err != nil {
		return nil, err
	}
	sink, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer sink.Close()
	p["address"] = sink.Addr().String()
	again, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	return flood(again)
}

// flood opens connections and writes to each until no more is taken.
func flood(params json.RawMessage) (any, error) {
	var p struct {
		Address     string
		Connections int
	}
	if err := json.Unmarshal(params, &p); err != nil {
		return nil, err
	}
	var writers sync.WaitGroup
	var opened, written atomic.Int64
	for range p.Connections {
		writers.Go(func() {
			conn, err := net.DialTimeout("tcp", p.Address, 10*time.Second)
			if err != nil {
				return
			}
			opened.Add(1)
			chunk := make([]byte, 64<<10)
			for err == nil {
				_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
				var n int
				n, err = conn.Write(chunk)
				written.Add(int64(n))
			}
		})
	}
	writers.Wait()
	return map[string]int64{"connections": opened.Load(), "mb": written.Load() >> 20}, nil
}

// files makes empty files until no more is possible, and says how many and why.
func files(json.RawMessage) (any, error) {
	for count := 0; ; count++ {
		file, err := os.Create(fmt.Sprint("/tmp/", count))
		if err != nil {
			return map[string]any{"count": count, "why": err.Error()}, nil
		}
		file.Close()
		if count == 30_000 {
			return nil, errors.New("no limit met")
		}
	}
}
