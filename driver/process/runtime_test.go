// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/whirl-faas/whirl/whisk"
	"golang.org/x/sys/unix"
)

// lives are what the test binary is beside a test: see TestMain.
var lives = map[string]func(args []string){
	"whirl-test-runtime":  func([]string) { serveRuntime() },
	"whirl-test-child":    func(args []string) { mustRun(args[0], json.RawMessage(args[1])) },
	"whirl-test-agent":    testAgent,
	"whirl-test-host":     testHost,
	"whirl-test-creator":  testCreator,
	"whirl-test-replaced": testReplaced,

	"whirl-test-other-version": otherVersion,
}

// serveRuntime is an action runtime whose code is the name of a behaviour.
func serveRuntime() {
	listener, err := net.FileListener(os.NewFile(3, "listener"))
	if err != nil {
		panic(err)
	}
	var code string
	mux := http.NewServeMux()
	mux.HandleFunc("POST /init", func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Value struct{ Code string } }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		code = body.Value.Code
		fmt.Fprint(w, `{"ok":true}`)
	})
	mux.HandleFunc("POST /run", func(w http.ResponseWriter, r *http.Request) {
		var body struct{ Value json.RawMessage }
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		name := code
		if wanted := r.URL.Query().Get("do"); wanted != "" {
			name = wanted
		}
		result := mustRun(name, body.Value)
		fmt.Println(whisk.LogSentinel)
		fmt.Fprintln(os.Stderr, whisk.LogSentinel)
		_ = json.NewEncoder(w).Encode(result)
	})
	panic(http.Serve(listener, mux))
}

func mustRun(name string, params json.RawMessage) any {
	behaviour, ok := behaviours[name]
	if !ok {
		return map[string]string{"error": "no behaviour " + name}
	}
	result, err := behaviour(params)
	if err != nil {
		return map[string]string{"error": err.Error()}
	}
	return result
}

// behaviours are what the runtime can be asked to do.
var behaviours = map[string]func(params json.RawMessage) (any, error){
	"echo": func(params json.RawMessage) (any, error) { return params, nil },
	"print": func(params json.RawMessage) (any, error) {
		var p struct{ Lines int }
		err := json.Unmarshal(params, &p)
		for i := range p.Lines {
			fmt.Println("out", i)
			fmt.Fprintln(os.Stderr, "err", i)
		}
		return struct{}{}, err
	},
	"exit": func(params json.RawMessage) (any, error) {
		var p struct{ Code int }
		if err := json.Unmarshal(params, &p); err != nil {
			return nil, err
		}
		os.Exit(p.Code)
		return nil, nil
	},
	"sleep": func(params json.RawMessage) (any, error) {
		var p struct{ MS int }
		err := json.Unmarshal(params, &p)
		time.Sleep(time.Duration(p.MS) * time.Millisecond)
		return struct{}{}, err
	},
	"allocate":       allocate,
	"childAllocates": func(params json.RawMessage) (any, error) { return child("allocate", params) },
	"spin":           spin,
	"forks":          forks,
	"facts":          facts,
	"read":           readFile,
	"write":          writeFile,
	"call":           call,
	"dial":           dial,
	"get":            get,
	"resolve":        resolve,
	"flood":          flood,
	"files":          files,
	"fillLoopback":   fillLoopback,
}

func allocate(params json.RawMessage) (any, error) {
	var p struct{ MB int }
	err := json.Unmarshal(params, &p)
	block := make([]byte, p.MB<<20)
	for i := 0; i < len(block); i += 4096 {
		block[i] = 1
	}
	return map[string]int{"mb": len(block) >> 20}, err
}

// child runs a behaviour in a process of its own.
func child(name string, params json.RawMessage) (any, error) {
	output, err := exec.Command("/whirl-self", "whirl-test-child", name, string(params)).CombinedOutput()
	return string(output), err
}

var spinning sync.Once

// spin starts a process that uses the CPU for ever.
func spin(json.RawMessage) (any, error) {
	spinning.Do(func() {
		go func() {
			for time.Now().Year() > 0 {
			}
		}()
	})
	return struct{}{}, nil
}

// forks starts as many processes as it can, and says how many that were.
func forks(json.RawMessage) (any, error) {
	for count := 0; ; count++ {
		if count == 5000 {
			return nil, errors.New("no limit met")
		}
		if err := exec.Command("/bin/sleep", "60").Start(); err != nil {
			return map[string]any{"started": count, "why": err.Error()}, nil
		}
	}
}

// sandboxFacts are what a sandbox sees of itself.
type sandboxFacts struct {
	Pid, UID, GID int
	Groups        []int
	Host          string
	Status        string // of /proc/self/status
	Mounts        string
	Processes     []int
	Environment   []string
	Files         []string // open descriptors and what they are
	Interfaces    []string
	Root          []string
	Session       int
	Cgroups       string
	NoFile, Core  uint64
	RealTime      uint64
}

func facts(json.RawMessage) (any, error) {
	f := sandboxFacts{Pid: os.Getpid(), UID: os.Getuid(), GID: os.Getgid(), Environment: os.Environ()}
	var errs [8]error
	f.Groups, errs[0] = os.Getgroups()
	f.Host, errs[1] = os.Hostname()
	for path, target := range map[string]*string{"status": &f.Status, "mountinfo": &f.Mounts, "cgroup": &f.Cgroups} {
		data, err := os.ReadFile("/proc/self/" + path)
		errs[2] = errors.Join(errs[2], err)
		*target = string(data)
	}
	entries, err := os.ReadDir("/proc")
	errs[3] = err
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			f.Processes = append(f.Processes, pid)
		}
	}
	descriptors, err := os.ReadDir("/proc/self/fd")
	errs[4] = err
	for _, entry := range descriptors {
		if target, err := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil {
			f.Files = append(f.Files, entry.Name()+" "+target)
		}
	}
	top, err := os.ReadDir("/")
	errs[5] = err
	for _, entry := range top {
		f.Root = append(f.Root, entry.Name())
	}
	interfaces, err := net.Interfaces()
	errs[6] = err
	for _, one := range interfaces {
		f.Interfaces = append(f.Interfaces, one.Name+" "+one.Flags.String())
	}
	f.Session, errs[7] = unix.Getsid(0)
	var limit unix.Rlimit
	_ = unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	f.NoFile = limit.Max
	_ = unix.Getrlimit(unix.RLIMIT_CORE, &limit)
	f.Core = limit.Max
	_ = unix.Getrlimit(unix.RLIMIT_RTPRIO, &limit)
	f.RealTime = limit.Max
	return f, errors.Join(errs[:]...)
}

func readFile(params json.RawMessage) (any, error) {
	var p struct{ Path string }
	if err := json.Unmarshal(params, &p); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(p.Path)
	return string(data), err
}

func writeFile(params json.RawMessage) (any, error) {
	var p struct {
		Path string
		Size int
	}
	if err := json.Unmarshal(params, &p); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(p.Path), 0o755); err != nil {
		return nil, err
	}
	file, err := os.OpenFile(p.Path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o755)
	if err != nil {
		return nil, err
	}
	chunk := make([]byte, min(p.Size, 1<<20))
	for left := p.Size; left > 0 && err == nil; left -= len(chunk) {
		_, err = file.Write(chunk)
	}
	return struct{}{}, errors.Join(err, file.Close())
}

// call makes a system call and returns its errno.
func call(params json.RawMessage) (any, error) {
	var p struct{ Number, A, B, C uintptr }
	if err := json.Unmarshal(params, &p); err != nil {
		return nil, err
	}
	_, _, errno := unix.RawSyscall(p.Number, p.A, p.B, p.C)
	return int(errno), nil
}

// dial connects, sends a line and returns the line that comes back.
func dial(params json.RawMessage) (any, error) {
	var p struct{ Network, Address, Line string }
	if err := json.Unmarshal(params, &p); err != nil {
		return nil, err
	}
	conn, err := net.DialTimeout(p.Network, p.Address, 2*time.Second)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := io.WriteString(conn, p.Line); err != nil {
		return nil, err
	}
	buf := make([]byte, len(p.Line)+100)
	n, err := conn.Read(buf)
	return string(buf[:n]), err
}

func get(params json.RawMessage) (any, error) {
	var p struct{ URL string }
	if err := json.Unmarshal(params, &p); err != nil {
		return nil, err
	}
	client := http.Client{Timeout: 20 * time.Second}
	response, err := client.Get(p.URL)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	start := make([]byte, 64)
	size, err := io.ReadFull(response.Body, start)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	rest, err := io.Copy(io.Discard, response.Body)
	return map[string]any{"size": int64(size) + rest, "start": string(start[:size])}, err
}

func resolve(params json.RawMessage) (any, error) {
	var p struct{ Name string }
	if err := json.Unmarshal(params, &p); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	resolver := net.Resolver{PreferGo: true}
	addresses, err := resolver.LookupHost(ctx, p.Name)
	return strings.Join(addresses, " "), err
}
