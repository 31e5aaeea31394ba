// SPDX-License-Identifier: Apache-2.0

package runtimetest

import (
	"context"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Process starts a proxy as a plain process, as a driver does it in a sandbox:
// with a listening socket as file descriptor 3. Its files are put into a
// directory that stands for /whirl in its arguments.
func Process(t testing.TB, argv []string, files fs.FS, env map[string]string) *Proxy {
	t.Helper()
	dir, err := os.MkdirTemp("", "proxy") // short, for the socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if files != nil {
		if err := os.CopyFS(filepath.Join(dir, "whirl"), files); err != nil {
			t.Fatal(err)
		}
	}
	var args []string
	for _, arg := range argv {
		args = append(args, strings.Replace(arg, "/whirl/", dir+"/whirl/", 1))
	}
	socket := filepath.Join(dir, "socket")
	proxy := &Proxy{Client: client(t, socket), Stdout: new(Output), Stderr: new(Output)}
	command := exec.Command(args[0], args[1:]...)
	command.Stdout, command.Stderr = proxy.Stdout, proxy.Stderr
	command.WaitDelay = time.Second
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "WHIRL_LISTEN_FD=3", "WHIRL_ACTION_DIR=" + filepath.Join(dir, "action")}
	for name, value := range env {
		command.Env = append(command.Env, name+"="+value)
	}
	command.ExtraFiles = []*os.File{listen(t, socket)}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	proxy.PID = command.Process.Pid
	command.ExtraFiles[0].Close()
	t.Cleanup(func() {
		command.Process.Kill()
		command.Wait() // it was killed, or ended as its action wished
	})
	return proxy
}

// Serving returns a proxy that the test itself serves on a Unix socket, and the
// streams that it is to write to.
func Serving(t testing.TB, socket string) (proxy *Proxy, stdout, stderr *os.File) {
	t.Helper()
	proxy = &Proxy{Client: client(t, socket), Stdout: new(Output), Stderr: new(Output)}
	return proxy, pipe(t, proxy.Stdout), pipe(t, proxy.Stderr)
}

// pipe returns the writing end of a pipe into output.
func pipe(t testing.TB, output *Output) *os.File {
	t.Helper()
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var copying sync.WaitGroup
	copying.Go(func() { io.Copy(output, reader) })
	t.Cleanup(func() {
		writer.Close()
		copying.Wait()
		reader.Close()
	})
	return writer
}

// listen returns a listening socket without keeping another handle on it.
func listen(t testing.TB, path string) *os.File {
	t.Helper()
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	listener.SetUnlinkOnClose(false)
	file, err := listener.File()
	if err != nil {
		t.Fatal(err)
	}
	return file
}

func client(t testing.TB, socket string) *http.Client {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var dialer net.Dialer
			return dialer.DialContext(ctx, "unix", socket)
		},
		MaxIdleConnsPerHost: 64,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: patience}
}
