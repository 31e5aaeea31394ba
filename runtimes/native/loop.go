// SPDX-License-Identifier: Apache-2.0

package native

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
)

// loop is a program that stays and speaks OpenWhisk's ActionLoop protocol.
type loop struct {
	process *os.Process
	input   *os.File // takes a line for each activation
	output  *os.File // under results
	results *bufio.Reader
	closing sync.Once
	ended   atomic.Bool
}

// startLoop starts a program and waits until it says that it is ready, or ctx
// ends. The program outlives ctx. The kind is what the archive was compiled
// for, which some programs compare with their environment.
func startLoop(ctx context.Context, executable executable, env environment, kind string) (*loop, error) {
	stdin, input, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer stdin.Close()
	output, results, err := os.Pipe()
	if err != nil {
		input.Close()
		return nil, err
	}
	defer results.Close()
	variables := append(env.list(), "__OW_WAIT_FOR_ACK=1", "__OW_EXECUTION_ENV="+kind)
	process, release, err := executable.start(ctx, nil, variables, stdin, executable.stdout, executable.stderr, results)
	if err != nil {
		input.Close()
		output.Close()
		return nil, err
	}
	defer release()
	results.Close() // so that reading ends when the program does
	started := &loop{process: process, input: input, output: output, results: bufio.NewReader(output)}
	if err := started.awaitAck(); err != nil {
		started.close()
		return nil, err
	}
	return started, nil
}

func (l *loop) awaitAck() error {
	line, err := l.results.ReadBytes('\n')
	if err != nil {
		return errors.New("Command exited abruptly during initialization.")
	}
	var ack struct {
		OK bool `json:"ok"`
	}
	if err := json.Unmarshal(line, &ack); err != nil {
		return fmt.Errorf("the program's first line on file descriptor 3 is no acknowledgement: %w", err)
	}
	if !ack.OK {
		return errors.New("The action did not initialize properly.")
	}
	return nil
}

func (l *loop) alive() bool { return !l.ended.Load() }

func (l *loop) run(ctx context.Context, message runMessage, _ environment) ([]byte, error) {
	release := context.AfterFunc(ctx, func() { killGroup(l.process) })
	defer release()
	line, err := l.exchange(message.whole)
	if err != nil {
		l.close()
		return nil, &refusal{http.StatusBadRequest, exited}
	}
	result := bytes.TrimSpace(line)
	if !isDictionaryOrArray(result) {
		return nil, &refusal{http.StatusBadGateway, badResult}
	}
	return result, nil
}

// exchange sends a message and returns the line that answers it. A message that
// no pipe holds is sent while the answer is read: the program may begin to
// answer before it read all.
func (l *loop) exchange(message []byte) ([]byte, error) {
	line := append(append(make([]byte, 0, len(message)+1), message...), '\n')
	if len(line) <= pipeSize {
		if _, err := l.input.Write(line); err != nil {
			return nil, err
		}
		return l.results.ReadBytes('\n')
	}
	var wg sync.WaitGroup
	wg.Go(func() { l.input.Write(line) }) // if this fails, the answer does not come
	answer, err := l.results.ReadBytes('\n')
	if err != nil {
		l.close() // ends the writing too
	}
	wg.Wait()
	return answer, err
}

// close kills the program if it still runs, which ends a run. It is idempotent.
func (l *loop) close() {
	l.closing.Do(func() {
		l.ended.Store(true)
		killGroup(l.process)
		l.input.Close()
		l.output.Close()
		l.process.Wait() // its end is what we want, however it came
	})
}
