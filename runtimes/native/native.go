// SPDX-License-Identifier: Apache-2.0

// Package native is the action proxy of the kind native:default: it runs
// executables and scripts, with OpenWhisk's /init and /run on the outside.
//
// An action is a script that begins with "#!", an executable, or a zip archive
// that holds one by the name "exec". It is started once per activation, in the
// directory that it was unpacked to, the way OpenWhisk's docker skeleton does:
// the parameters are its only argument and its standard input, the last line
// of its output is the result, everything else that it prints is its log. A
// Linux argument has at most 131071 bytes; longer parameters come on standard
// input only.
//
// An archive that also holds "exec.env" was compiled for OpenWhisk's ActionLoop
// proxy. Its program stays: each activation is a line on its standard input and
// each result a line on its file descriptor 3. It announces itself by the line
// {"ok":true}.
//
// One activation runs at a time; another one meanwhile is refused. All of an
// activation's output is written before its sentinel lines, and those before
// its answer. The proxy never closes a connection by itself.
package native

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// drainTimeout is how long Run waits for answers after its ctx ended.
const drainTimeout = 2 * time.Second

// Config is what a proxy needs. All fields but Env are required.
type Config struct {
	Listener       net.Listener // closed by Run
	Dir            string       // where actions are unpacked; made if it is missing
	Env            []string     // of the action, as in [os.Environ]
	Stdout, Stderr *os.File     // take the action's output and the sentinels
}

// Inherit returns the Config of a process that a driver started: environ is its
// environment, WHIRL_LISTEN_FD in it names a socket that listens already. Without
// that it listens on WHIRL_PORT, or 8080. The action does not see these variables.
func Inherit(environ []string) (Config, error) {
	config := Config{Dir: "/tmp/action", Stdout: os.Stdout, Stderr: os.Stderr}
	var fd, port string
	for _, variable := range environ {
		name, value, _ := strings.Cut(variable, "=")
		switch name {
		case "WHIRL_LISTEN_FD":
			fd = value
		case "WHIRL_PORT":
			port = value
		case "WHIRL_ACTION_DIR":
			config.Dir = value
		case "GOMAXPROCS": // is set for the proxy alone
		default:
			config.Env = append(config.Env, variable)
		}
	}
	var err error
	if fd == "" {
		config.Listener, err = net.Listen("tcp", net.JoinHostPort("0.0.0.0", cmp.Or(port, "8080")))
	} else {
		config.Listener, err = inheritListener(fd)
	}
	return config, err
}

func inheritListener(fd string) (net.Listener, error) {
	n, err := strconv.ParseUint(fd, 10, 16)
	if err != nil {
		return nil, whisk.Errorf(whisk.Invalid, "WHIRL_LISTEN_FD must be a file descriptor: %w", err)
	}
	file := os.NewFile(uintptr(n), "listener")
	defer file.Close() // FileListener has its own copy, which programs do not inherit
	listener, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("inherit the listening socket: %w", err)
	}
	return listener, nil
}

// Argument is the only one of a program that is started as the proxy.
const Argument = "native-proxy"

// Main is the main of such a program: it serves as [Inherit] says, and returns the exit status.
func Main() int {
	config, err := Inherit(os.Environ())
	if err == nil {
		err = Run(context.Background(), config)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, Argument+":", err)
		return 1
	}
	return 0
}

// Run serves until ctx ends, kills what still runs then, and returns nil. Any
// other end is an error.
func Run(ctx context.Context, config Config) error {
	proxy := &proxy{config: config}
	server := newServer(ctx, map[string]operation{"/init": proxy.init, "/run": proxy.run})
	drained := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(drained)
		// The runs end as ctx did, but for one whose program has moved away from
		// its process group and holds on to its streams.
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
		defer cancel()
		server.ShutdownWithContext(grace) // what has not ended by then is left to the process's end
	})
	err := cmp.Or(server.Serve(config.Listener), net.ErrClosed) // Serve takes a closed listener for its order to end
	if !stop() {
		<-drained
		err = nil
	}
	proxy.close()
	if err == nil {
		return nil
	}
	return fmt.Errorf("serve actions: %w", err)
}

// proxy is one action's life: at most one handler at a time moves its status
// away from empty or ready, and only that one touches program and env.
type proxy struct {
	config  Config
	status  atomic.Uint32
	program program
	env     environment
}

// The statuses of a proxy. Stopped takes nothing any more: the init or the
// program went wrong.
const (
	empty uint32 = iota
	starting
	ready
	running
	stopped
)

// program is a loaded action. Run may be called one at a time.
type program interface {
	// run executes one activation and returns its result, a JSON object or
	// array. An error is a [*refusal].
	run(ctx context.Context, message runMessage, env environment) ([]byte, error)
	// alive reports whether run may be called again.
	alive() bool
	// close ends the program, during a run too. It is idempotent.
	close()
}

// refusal is an answer other than 200.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

const (
	notTwice  = "Cannot initialize the action more than once."
	noCode    = "Missing main/no code to execute."
	notReady  = "System not initialized."
	badResult = "The action did not return a dictionary or array."
	exited    = "command exited"
)

type initMessage struct {
	Value struct {
		Code   string                     `json:"code"`
		Binary bool                       `json:"binary"`
		Env    map[string]json.RawMessage `json:"env"`
	} `json:"value"`
}

func (p *proxy) init(ctx context.Context, body []byte) ([]byte, error) {
	var message initMessage
	if err := json.Unmarshal(body, &message); err != nil {
		return nil, &refusal{http.StatusBadRequest, "Bad request."}
	}
	if message.Value.Code == "" && p.status.Load() == empty {
		return nil, &refusal{http.StatusForbidden, noCode}
	}
	if !p.status.CompareAndSwap(empty, starting) {
		return nil, p.refuse()
	}
	p.env = newEnvironment(p.config.Env)
	for name, value := range message.Value.Env {
		p.env[name] = textOf(value)
	}
	loaded, err := load(ctx, p.config, message.Value.Code, message.Value.Binary, p.env)
	if err != nil {
		fmt.Fprintln(p.config.Stderr, err)
		p.endOutput()
		p.status.Store(stopped)
		return nil, &refusal{http.StatusBadGateway, "The action failed to generate or locate a binary. See logs for details. " + err.Error()}
	}
	p.program = loaded
	p.status.Store(ready)
	return []byte(`{"ok":true}`), nil
}

func (p *proxy) run(ctx context.Context, body []byte) ([]byte, error) {
	message, err := newRunMessage(body)
	if err != nil {
		return nil, err
	}
	if !p.status.CompareAndSwap(ready, running) {
		return nil, p.refuse()
	}
	result, err := p.program.run(ctx, message, p.env)
	p.endOutput()
	if p.program.alive() {
		p.status.Store(ready)
	} else {
		p.status.Store(stopped)
	}
	return result, err
}

// refuse says why the proxy takes no such request now.
func (p *proxy) refuse() error {
	text := notTwice
	switch p.status.Load() {
	case empty:
		text = notReady
	case starting:
		text = "System not ready, status is starting."
	case running:
		text = "System not ready, status is running."
	case stopped:
		text = "System not ready, status is stopped."
	}
	return &refusal{http.StatusForbidden, text}
}

func (p *proxy) endOutput() {
	for _, stream := range []*os.File{p.config.Stdout, p.config.Stderr} {
		writeAll(stream, []byte(whisk.LogSentinel+"\n"))
	}
}

// close ends the program, also one that still runs.
func (p *proxy) close() {
	if status := p.status.Load(); status != empty && status != starting && p.program != nil {
		p.program.close()
	}
}
