// SPDX-License-Identifier: Apache-2.0

package runtimetest

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Run holds a runtime to the contract: each check with a proxy of its own, all
// of them in parallel.
func Run(t *testing.T, runtime Runtime) {
	for _, check := range checks() {
		t.Run(check.name, func(t *testing.T) {
			t.Parallel()
			for _, code := range check.needs(runtime.Actions) {
				if code == (Code{}) {
					t.Skip("the language has no such thing")
				}
			}
			check.run(t, runtime.Start(t, check.env), runtime.Actions)
		})
	}
}

type check struct {
	name  string
	needs func(Actions) []Code
	run   func(*testing.T, *Proxy, Actions)
	env   map[string]string
}

func checks() []check {
	none := func(Actions) []Code { return nil }
	return []check{
		{name: "runs an action and frames its output", needs: none, run: checkEcho},
		{name: "is initialised once", needs: none, run: checkInitOnce},
		{name: "wants code", needs: none, run: checkNoCode},
		{name: "does not run before it is initialised", needs: none, run: checkNotInitialised},
		{name: "survives nonsense", needs: none, run: checkNonsense},
		{name: "refuses results that are no dictionary or array", needs: none, run: checkBadResults},
		{name: "passes an application's error on", needs: none, run: checkAppError},
		{name: "reports a failure in a run", needs: none, run: checkThrows},
		{name: "reports code that does not load", needs: none, run: checkBroken},
		{name: "reports a missing entry point", needs: func(a Actions) []Code { return []Code{a.NoEntry} }, run: checkNoEntry},
		{name: "calls another entry point", needs: func(a Actions) []Code { return []Code{a.OtherMain} }, run: checkOtherMain},
		{name: "sets the environment", needs: none, run: checkEnvironment, env: map[string]string{"__OW_API_HOST": "http://host"}},
		{name: "leaves out variables that no process can have", needs: none, run: checkBadEnvironment},
		{name: "keeps unicode", needs: none, run: checkUnicode},
		{name: "takes and returns arrays", needs: none, run: checkArrays},
		{name: "takes and returns megabytes", needs: none, run: checkLarge},
		{name: "writes all output before the sentinel", needs: none, run: checkChatty},
		{name: "unpacks archives", needs: none, run: checkArchive},
		{name: "refuses archives that leave their directory", needs: none, run: checkEscape},
		{name: "runs one activation at a time", needs: none, run: checkOneAtATime},
		{name: "runs many at a time where that is allowed", needs: func(a Actions) []Code { return []Code{a.Concurrent} }, run: checkConcurrent, env: map[string]string{"__OW_ALLOW_CONCURRENT": "true"}},
		{name: "breaks the connection when the action exits", needs: func(a Actions) []Code { return []Code{a.Exits} }, run: checkExits},
		{name: "keeps connections", needs: none, run: checkKeepsConnections},
		{name: "keeps idle connections", needs: none, run: checkKeepsIdleConnections},
	}
}

func checkEcho(t *testing.T, p *Proxy, actions Actions) {
	p.MustInit(t, actions.Echo, nil)
	for i := range 3 {
		args := map[string]any{"n": float64(i)}
		wantResult(t, p.Run(t, args, nil), args)
	}
	wantOutput(t, p, "hello stdout\n", "hello stderr\n", 3)
}

func checkInitOnce(t *testing.T, p *Proxy, actions Actions) {
	p.MustInit(t, actions.Silent, nil)
	wantError(t, p.Init(t, actions.Silent, nil), http.StatusForbidden, "Cannot initialize the action more than once.")
	wantResult(t, p.Run(t, map[string]any{}, nil), map[string]any{})
}

func checkNoCode(t *testing.T, p *Proxy, actions Actions) {
	wantError(t, p.Init(t, Code{}, nil), http.StatusForbidden, "Missing main/no code to execute.")
	p.MustInit(t, actions.Silent, nil)
}

func checkNotInitialised(t *testing.T, p *Proxy, actions Actions) {
	if reply := p.Run(t, map[string]any{}, nil); reply.Status < 400 || reply.Error() == "" {
		t.Errorf("/run answered %d %s, want an error", reply.Status, reply.Body)
	}
	p.MustInit(t, actions.Silent, nil)
}

func checkNonsense(t *testing.T, p *Proxy, actions Actions) {
	for _, path := range []string{"/init", "/run", "/"} {
		for _, body := range []string{"", "{", "[]", "null", `"text"`, `{"value":1}`, `{"value":[1]}`, "\xff\x00"} {
			if reply := p.Post(t, path, []byte(body)); reply.Status < 400 {
				t.Errorf("%s answered %d %s to %q (%v), want an error", path, reply.Status, reply.Body, body, reply.Err)
			}
		}
	}
	p.MustInit(t, actions.Silent, nil)
	if reply := p.Post(t, "/run", []byte("{")); reply.Status < 400 {
		t.Errorf("/run answered %d to half an object", reply.Status)
	}
	wantResult(t, p.Post(t, "/run", []byte("{\n \"value\":\n {\"a\":\n 1}\n}")), map[string]any{"a": 1.0})
	wantResult(t, p.Post(t, "/run", []byte(`{"value":null,"deadline":7,"api_key":null}`)), map[string]any{})
}

func checkBadResults(t *testing.T, p *Proxy, actions Actions) {
	p.MustInit(t, actions.BadResult, nil)
	for range 2 {
		wantError(t, p.Run(t, map[string]any{}, nil), http.StatusBadGateway, "The action did not return a dictionary or array.")
	}
	p.Stdout.Activations(t, 2)
	p.Stderr.Activations(t, 2)
}

func checkAppError(t *testing.T, p *Proxy, actions Actions) {
	p.MustInit(t, actions.AppError, nil)
	wantResult(t, p.Run(t, map[string]any{}, nil), map[string]any{"error": "sorry"})
	wantOutput(t, p, "", "", 1)
}

func checkThrows(t *testing.T, p *Proxy, actions Actions) {
	p.MustInit(t, actions.Throws, nil)
	reply := p.Run(t, map[string]any{}, nil)
	if reply.Status != actions.ThrowsStatus || reply.Error() == "" {
		t.Errorf("/run answered %d %s, want %d and an error", reply.Status, reply.Body, actions.ThrowsStatus)
	}
	p.Stdout.Activations(t, 1)
	if logged := p.Stderr.Activations(t, 1)[0]; !strings.Contains(logged, "nooooo") {
		t.Errorf("stderr has %q, want the failure in it", logged)
	}
}

func checkBroken(t *testing.T, p *Proxy, actions Actions) {
	reply := p.Init(t, actions.Broken, nil)
	if reply.Status != http.StatusBadGateway || len(reply.Error()) < 20 {
		t.Errorf("/init answered %d %s, want 502 and a text that helps", reply.Status, reply.Body)
	}
	p.Stdout.Activations(t, 1)
	if logged := p.Stderr.Activations(t, 1)[0]; logged == "" {
		t.Error("stderr says nothing")
	}
	if reply := p.Init(t, actions.Silent, nil); reply.Status != http.StatusForbidden {
		t.Errorf("another /init answered %d %s, want 403", reply.Status, reply.Body)
	}
	if reply := p.Run(t, map[string]any{}, nil); reply.Status != http.StatusForbidden {
		t.Errorf("/run answered %d %s, want 403", reply.Status, reply.Body)
	}
}

func checkNoEntry(t *testing.T, p *Proxy, actions Actions) {
	reply := p.Init(t, actions.NoEntry, nil)
	if reply.Status != http.StatusBadGateway || !strings.Contains(reply.Error(), "main") {
		t.Errorf("/init answered %d %s, want 502 and the name of what is missing", reply.Status, reply.Body)
	}
}

func checkOtherMain(t *testing.T, p *Proxy, actions Actions) {
	p.MustInit(t, actions.OtherMain, nil)
	wantResult(t, p.Run(t, map[string]any{}, nil), map[string]any{"niam": true})
}

func checkEnvironment(t *testing.T, p *Proxy, actions Actions) {
	p.MustInit(t, actions.Environment, map[string]string{"COLOUR": "blue", "__OW_NAMESPACE": "early", "EMPTY": ""})
	for _, id := range []string{"1", "2"} {
		want := map[string]any{
			"__OW_API_HOST": "http://host", "__OW_NAMESPACE": "guest", "__OW_ACTION_NAME": "/guest/test",
			"__OW_ACTION_VERSION": "0.0.1", "__OW_ACTIVATION_ID": id, "__OW_TRANSACTION_ID": "t",
			"__OW_DEADLINE": "1700000060000", "__OW_API_KEY": nil, "COLOUR": "blue", "EMPTY": "",
			"WHIRL_LISTEN_FD": nil, "WHIRL_ACTION_DIR": nil, "GOMAXPROCS": nil,
		}
		if id == "2" {
			want["__OW_API_KEY"] = "uuid:key"
		}
		var names []string
		for name := range want {
			names = append(names, name)
		}
		fields := map[string]string{"activation_id": id}
		if id == "2" {
			fields["api_key"] = "uuid:key"
		}
		wantResult(t, p.Run(t, map[string]any{"names": names}, fields), map[string]any{"env": want})
	}
}

// Parameters with init:true may have any name and value.
func checkBadEnvironment(t *testing.T, p *Proxy, actions Actions) {
	p.MustInit(t, actions.Environment, map[string]string{"": "x", "A=B": "x", "NUL": "a\x00b", "COLOUR": "blue"})
	wantResult(t, p.Run(t, map[string]any{"names": []string{"COLOUR"}}, nil), map[string]any{"env": map[string]any{"COLOUR": "blue"}})
}

func checkUnicode(t *testing.T, p *Proxy, actions Actions) {
	p.MustInit(t, actions.Silent, nil)
	args := map[string]any{"winter": "❄ ☃ ❄", "ключ": "𝄞 \u0000\u2028 \"\\\n"}
	wantResult(t, p.Run(t, args, nil), args)
	wantResult(t, p.Post(t, "/run", []byte(`{"value":{"half":"\ud83d","a":"\u00e9"}}`)), map[string]any{"half": "\ufffd", "a": "é"})
}

func checkArrays(t *testing.T, p *Proxy, actions Actions) {
	p.MustInit(t, actions.Silent, nil)
	wantResult(t, p.Run(t, []any{"a", 1.0, nil}, nil), []any{"a", 1.0, nil})
	wantResult(t, p.Run(t, []any{}, nil), []any{})
}

func checkLarge(t *testing.T, p *Proxy, actions Actions) {
	p.MustInit(t, actions.Silent, nil)
	for _, size := range []int{60 << 10, 128<<10 - 20, 1 << 20, 5 << 20} {
		args := map[string]any{"text": strings.Repeat("x", size)}
		wantResult(t, p.Run(t, args, nil), args)
	}
}

func checkChatty(t *testing.T, p *Proxy, actions Actions) {
	p.MustInit(t, actions.Chatty, nil)
	var want strings.Builder
	for i := range chattyLines {
		fmt.Fprintln(&want, "line", i)
	}
	for range 2 {
		wantResult(t, p.Run(t, map[string]any{}, nil), map[string]any{})
	}
	for i, got := range p.Stdout.Activations(t, 2) {
		if got != want.String() {
			t.Errorf("activation %d has %d bytes of output, want %d; its end is %q", i, len(got), want.Len(), got[max(0, len(got)-100):])
		}
	}
}

func checkArchive(t *testing.T, p *Proxy, actions Actions) {
	p.MustInit(t, actions.Archive, nil)
	wantResult(t, p.Run(t, map[string]any{}, nil), map[string]any{"text": archiveText})
}

func checkEscape(t *testing.T, p *Proxy, actions Actions) {
	if reply := p.Init(t, actions.Escape, nil); reply.Status != http.StatusBadGateway || !strings.Contains(reply.Error(), "../evil") {
		t.Errorf("/init answered %d %s, want 502 and the entry's name", reply.Status, reply.Body)
	}
	garbage := Code{Code: "UEsDBGFiY2RlZg==", Binary: true}
	if reply := p.Init(t, garbage, nil); reply.Status == http.StatusOK {
		t.Error("/init takes garbage for an archive")
	}
}

// checkOneAtATime sends a second /run during the first. It may be refused or
// wait for its turn, but must not overlap.
func checkOneAtATime(t *testing.T, p *Proxy, actions Actions) {
	p.MustInit(t, actions.Slow, nil)
	var first Reply
	var wg sync.WaitGroup
	wg.Go(func() { first = p.Run(t, map[string]any{}, nil) })
	p.Stdout.Await(t, "begin\n")
	second := p.Run(t, map[string]any{}, nil)
	wg.Wait()
	wantResult(t, first, map[string]any{})
	runs := 2
	if second.Status != http.StatusOK {
		wantError(t, second, http.StatusForbidden, "System not ready, status is running.")
		runs = 1
	}
	for i, got := range p.Stdout.Activations(t, runs) {
		if got != "begin\nend\n" {
			t.Errorf("activation %d printed %q", i, got)
		}
	}
}

func checkConcurrent(t *testing.T, p *Proxy, actions Actions) {
	const n = 20
	p.MustInit(t, actions.Concurrent, nil)
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() { wantResult(t, p.Run(t, map[string]any{"n": n}, nil), map[string]any{}) })
	}
	wg.Wait()
	p.Stdout.Activations(t, n)
	p.Stderr.Activations(t, n)
}

func checkExits(t *testing.T, p *Proxy, actions Actions) {
	p.MustInit(t, actions.Exits, nil)
	if reply := p.Run(t, map[string]any{}, nil); reply.Err == nil {
		t.Errorf("/run answered %d %s, want a broken connection", reply.Status, reply.Body)
	}
}

func checkKeepsConnections(t *testing.T, p *Proxy, actions Actions) {
	transport := p.Client.Transport.(*http.Transport)
	dial := transport.DialContext
	var dials atomic.Int32
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return dial(ctx, network, address)
	}
	wantError(t, p.Init(t, Code{}, nil), http.StatusForbidden, "Missing main/no code to execute.")
	p.MustInit(t, actions.Silent, nil)
	for range 20 {
		wantResult(t, p.Run(t, map[string]any{}, nil), map[string]any{})
	}
	if n := dials.Load(); n != 1 {
		t.Errorf("22 requests took %d connections, want 1", n)
	}
}

// checkKeepsIdleConnections waits longer than the usual servers do (node's
// closes after 5 s) for an end that must not come.
func checkKeepsIdleConnections(t *testing.T, p *Proxy, actions Actions) {
	if testing.Short() {
		t.Skip("it takes 6 s")
	}
	p.MustInit(t, actions.Silent, nil)
	conn, err := p.Client.Transport.(*http.Transport).DialContext(t.Context(), "tcp", "action:80")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const request = "POST /run HTTP/1.1\r\nHost: action\r\nContent-Length: 2\r\n\r\n{}"
	var buffer [4096]byte
	for _, idle := range []time.Duration{0, 6 * time.Second} {
		conn.SetReadDeadline(time.Now().Add(idle))
		if n, err := conn.Read(buffer[:]); !isTimeout(err) {
			t.Fatalf("an idle connection brought %q, %v", buffer[:n], err)
		}
		conn.SetReadDeadline(time.Time{})
		if _, err := conn.Write([]byte(request)); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Read(buffer[:])
		if err != nil || !strings.HasPrefix(string(buffer[:n]), "HTTP/1.1 200 ") {
			t.Fatalf("read %q, %v", buffer[:n], err)
		}
	}
}

func isTimeout(err error) bool {
	timeout, ok := err.(net.Error)
	return ok && timeout.Timeout()
}

func wantResult(t *testing.T, reply Reply, want any) {
	t.Helper()
	var got any
	if reply.Err != nil || reply.Status != http.StatusOK || json.Unmarshal(reply.Body, &got) != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("/run answered %d %.300s (%v), want 200 %.300v", reply.Status, reply.Body, reply.Err, want)
	}
}

func wantError(t *testing.T, reply Reply, status int, text string) {
	t.Helper()
	if reply.Err != nil || reply.Status != status || reply.Error() != text {
		t.Errorf("got %d %s (%v), want %d with the error %q", reply.Status, reply.Body, reply.Err, status, text)
	}
}

// wantOutput checks the output of each of n activations, and that nothing else
// was written.
func wantOutput(t *testing.T, p *Proxy, stdout, stderr string, n int) {
	t.Helper()
	for i := range n {
		if got := p.Stdout.Activations(t, n)[i]; got != stdout {
			t.Errorf("activation %d: stdout has %q, want %q", i, got, stdout)
		}
		if got := p.Stderr.Activations(t, n)[i]; got != stderr {
			t.Errorf("activation %d: stderr has %q, want %q", i, got, stderr)
		}
	}
}
