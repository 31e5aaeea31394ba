// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// newTestTap returns a tap of a driver that closes when closing is called.
func newTestTap(t *testing.T) (tapped *tap, closing func()) {
	t.Helper()
	dir, err := openStateDir(filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.close() })
	life, end := context.WithCancel(context.Background())
	t.Cleanup(end)
	d := &Driver{state: dir, life: life}
	if tapped, err = d.newTap(&sandbox{driver: d, id: "a"}, false); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tapped.position.close)
	return tapped, end
}

// frame is what the engine makes of a write to stdout (1) or stderr (2).
func frame(stream byte, text string) []byte {
	header := binary.BigEndian.AppendUint32([]byte{stream, 0, 0, 0}, uint32(len(text)))
	return append(header, text...)
}

// listen notes what comes out of each pipe, piece by piece, until both end.
func listen(t *tap, pieces *[2][]string, parties *sync.WaitGroup) {
	for i, pipe := range t.readers {
		parties.Go(func() {
			buffer := make([]byte, 64<<10)
			for {
				n, err := pipe.Read(buffer)
				if n > 0 {
					pieces[i] = append(pieces[i], string(buffer[:n]))
				}
				if err != nil {
					return
				}
			}
		})
	}
}

func TestBatchesGatherWhatComesClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tapped, _ := newTestTap(t)
		var pieces [2][]string
		var parties sync.WaitGroup
		listen(tapped, &pieces, &parties)
		source, engine := io.Pipe()
		parties.Go(func() {
			if err := newBatches(tapped, bufferedBy(source)).copy(); err != nil {
				t.Error(err)
			}
			tapped.finish()
		})
		for range 3 {
			for _, one := range []string{"1", "2", "3", "4"} {
				engine.Write(frame(1, one+"\n"))
				engine.Write(frame(2, "-"+one+"\n"))
			}
			time.Sleep(time.Second)
		}
		engine.Close()
		parties.Wait()
		if want := strings.Repeat("1\n2\n3\n4\n", 3); strings.Join(pieces[0], "") != want {
			t.Errorf("stdout was %q", pieces[0])
		}
		if want := strings.Repeat("-1\n-2\n-3\n-4\n", 3); strings.Join(pieces[1], "") != want {
			t.Errorf("stderr was %q", pieces[1])
		}
		for i := range pieces {
			if len(pieces[i]) > 6 { // the first of each second at once, the rest together
				t.Errorf("output %d came in %d pieces: %q", i, len(pieces[i]), pieces[i])
			}
		}
		if read := tapped.position.mark.Read; read != [2]uint64{24, 36} {
			t.Errorf("%d bytes are noted as read", read)
		}
	})
}

// TestBatchesHoldUpNoMore has a container write much more than littleOutput in no time.
func TestBatchesHoldUpNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tapped, _ := newTestTap(t)
		var pieces [2][]string
		var parties sync.WaitGroup
		listen(tapped, &pieces, &parties)
		line := strings.Repeat("x", 16<<10) + "\n"
		start := time.Now()
		if err := newBatches(tapped, bytes.NewReader(bytes.Repeat(frame(1, line), 1000))).copy(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took > 2*gatherTime {
			t.Errorf("16 MB that were there took %s", took)
		}
		tapped.finish()
		parties.Wait()
		if got := strings.Join(pieces[0], ""); got != strings.Repeat(line, 1000) {
			t.Errorf("%d bytes came", len(got))
		}
	})
}

// TestBatchesCountWhatWasTaken closes the driver while a reader has taken a part.
func TestBatchesCountWhatWasTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tapped, closing := newTestTap(t)
		tapped.skip = [2]uint64{3, 0}
		source := io.MultiReader(bytes.NewReader(slices.Concat(frame(1, "0\n1\n2\n"), frame(2, "e\n"))), stalled{tapped.sandbox.driver.life})
		ended := make(chan error)
		go func() { ended <- newBatches(tapped, source).copy() }()
		taken := make([]byte, 2)
		if _, err := io.ReadFull(tapped.readers[0], taken); err != nil || string(taken) != "\n2" {
			t.Errorf("the reader has %q, %v", taken, err)
		}
		closing()
		tapped.finish()
		if err := <-ended; !errors.Is(err, io.ErrClosedPipe) {
			t.Errorf("copy = %v", err)
		}
		if read := tapped.position.mark.Read; read != [2]uint64{2, 0} {
			t.Errorf("%d bytes are noted as read", read)
		}
	})
}

// stalled has nothing until a driver closes.
type stalled struct{ life context.Context }

// Read implements [io.Reader].
func (s stalled) Read([]byte) (int, error) {
	<-s.life.Done()
	return 0, io.EOF
}

// bufferedBy reads ahead, as a socket does.
func bufferedBy(source io.Reader) io.Reader {
	var mu sync.Mutex
	var held bytes.Buffer
	came := make(chan struct{}, 1)
	go func() {
		defer close(came)
		buffer := make([]byte, 64<<10)
		for {
			n, err := source.Read(buffer)
			if err != nil {
				return
			}
			mu.Lock()
			held.Write(buffer[:n])
			mu.Unlock()
			select {
			case came <- struct{}{}:
			default:
			}
		}
	}()
	return readerFunc(func(p []byte) (int, error) {
		for {
			mu.Lock()
			n, _ := held.Read(p)
			mu.Unlock()
			if n > 0 {
				return n, nil
			}
			if _, more := <-came; !more {
				return 0, io.EOF
			}
		}
	})
}

// readerFunc is a function that reads.
type readerFunc func(p []byte) (int, error)

// Read implements [io.Reader].
func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
