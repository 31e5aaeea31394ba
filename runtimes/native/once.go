// SPDX-License-Identifier: Apache-2.0

package native

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"syscall"
)

// maxArgument is the length of the longest argument that Linux passes on
// (MAX_ARG_STRLEN without its NUL).
const maxArgument = 128<<10 - 1

// pipeSize is what a new pipe takes before its writer must wait.
const pipeSize = 64 << 10

// executable is a program file and where its output goes.
type executable struct {
	path           string
	dir            string // its working directory
	stdout, stderr *os.File
}

// start starts the program in a process group of its own, which dies when ctx
// ends. The caller waits for the process and then calls release.
func (e executable) start(ctx context.Context, args, env []string, files ...*os.File) (process *os.Process, release func() bool, err error) {
	process, err = os.StartProcess(e.path, append([]string{e.path}, args...), &os.ProcAttr{
		Dir:   e.dir,
		Env:   env,
		Files: files,
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	})
	if err != nil {
		return nil, nil, err
	}
	return process, context.AfterFunc(ctx, func() { killGroup(process) }), nil
}

// killGroup kills a process and what it started.
func killGroup(process *os.Process) {
	syscall.Kill(-process.Pid, syscall.SIGKILL)
}

// once runs the program anew for each activation.
type once struct{ executable }

func (o once) alive() bool { return true }

func (o once) close() {}

func (o once) run(ctx context.Context, message runMessage, env environment) ([]byte, error) {
	var args []string
	if len(message.value) <= maxArgument {
		args = []string{string(message.value)}
	}
	output := lastLine{log: o.stdout}
	if err := o.execute(ctx, args, message.value, env.with(message.fields()).list(), &output); err != nil {
		writeAll(o.stdout, fmt.Appendln(nil, err))
		return nil, &refusal{http.StatusBadGateway, badResult}
	}
	result := bytes.TrimSpace(output.line)
	if !isDictionaryOrArray(result) {
		writeAll(o.stdout, append(result, '\n'))
		return nil, &refusal{http.StatusBadGateway, badResult}
	}
	return result, nil
}

// execute runs the program once. It returns when nobody writes to its output
// any more; how the program ended does not matter, as what it wrote tells.
func (o once) execute(ctx context.Context, args []string, input []byte, env []string, output io.Writer) error {
	stdin, toStdin, err := os.Pipe()
	if err != nil {
		return err
	}
	defer toStdin.Close()
	fromStdout, stdout, err := os.Pipe()
	if err != nil {
		stdin.Close()
		return err
	}
	defer fromStdout.Close()
	process, release, err := o.start(ctx, args, env, stdin, stdout, o.stderr)
	stdin.Close()
	stdout.Close()
	if err != nil {
		return err
	}
	defer release()

	fed := make(chan struct{})
	feed := func() {
		defer close(fed)
		toStdin.Write(input) // a program need not read it
		toStdin.Close()
	}
	if len(input) <= pipeSize {
		feed()
	} else {
		go feed()
	}
	_, err = io.Copy(output, fromStdout)
	_, waited := process.Wait()
	toStdin.Close() // who does not read its input may still hold it open
	<-fed
	return errors.Join(err, waited)
}

// lastLine passes on all that is written to it but the last line, which may end
// with a line break, and which it keeps.
type lastLine struct {
	log  *os.File
	line []byte
}

// Write implements [io.Writer].
func (l *lastLine) Write(text []byte) (int, error) {
	n := len(text)
	if n == 0 {
		return 0, nil
	}
	if broken := len(l.line) > 0 && l.line[len(l.line)-1] == '\n'; broken {
		writeAll(l.log, l.line)
		l.line = l.line[:0]
	}
	// The very last byte does not end the last line.
	if end := bytes.LastIndexByte(text[:n-1], '\n'); end >= 0 {
		writeAll(l.log, append(l.line, text[:end+1]...))
		l.line, text = l.line[:0], text[end+1:]
	}
	l.line = append(l.line, text...)
	return n, nil
}

// writeAll writes to a stream that programs share, and that one of them may
// have made non-blocking. What cannot be written is lost, as the reader is gone.
func writeAll(stream *os.File, text []byte) {
	for len(text) > 0 {
		n, err := stream.Write(text)
		text = text[n:]
		if errors.Is(err, syscall.EAGAIN) {
			err = syscall.SetNonblock(int(stream.Fd()), false)
		}
		if err != nil {
			return
		}
	}
}
