// SPDX-License-Identifier: Apache-2.0

package fake_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/driver/drivertest"
	"github.com/whirl-faas/whirl/driver/fake"
	"github.com/whirl-faas/whirl/whisk"
)

// actions is a script that behaves as the suite's code asks.
func actions(_ *rand.Rand, call fake.Call) fake.Answer {
	var params struct {
		Lines, Code, MS, MB int
	}
	if err := json.Unmarshal(call.Value, &params); err != nil {
		return fake.Answer{Status: http.StatusBadRequest, Body: []byte(`{"error":"bad parameters"}`)}
	}
	switch call.Code {
	case "print":
		var stdout, stderr strings.Builder
		for i := range params.Lines {
			fmt.Fprintf(&stdout, "out %d\n", i)
			fmt.Fprintf(&stderr, "err %d\n", i)
		}
		return fake.Answer{Stdout: stdout.String(), Stderr: stderr.String(), Body: []byte("{}")}
	case "exit":
		return fake.Answer{Crash: &whisk.Exit{Code: params.Code}}
	case "sleep":
		return fake.Answer{Delay: time.Duration(params.MS) * time.Millisecond}
	case "allocate":
		return fake.Answer{Crash: &whisk.Exit{Code: -9, OutOfMemory: true}}
	}
	return fake.Answer{}
}

func TestConformance(t *testing.T) {
	for name, recovers := range map[string]bool{"recovers": true, "cleans up": false} {
		t.Run(name, func(t *testing.T) {
			drivertest.Run(t, func(t *testing.T) drivertest.Harness { return harness(recovers) })
		})
	}
}

func harness(recovers bool) drivertest.Harness {
	var driver *fake.Driver
	config := fake.Default()
	config.Capabilities.Recovers = recovers
	config.Script.Run = actions
	config.Script.Create = func(rng *rand.Rand, _ whisk.CreateSandbox) fake.Creation {
		return fake.Creation{Delay: 20 * time.Millisecond, StartDelay: time.Duration(rng.IntN(200)) * time.Millisecond}
	}
	failing := func(err error) func(*testing.T) (whisk.Driver, whisk.CreateSandbox) {
		return func(*testing.T) (whisk.Driver, whisk.CreateSandbox) {
			config := fake.Default()
			config.Script.Create = func(*rand.Rand, whisk.CreateSandbox) fake.Creation { return fake.Creation{Err: err} }
			return fake.New(config), whisk.CreateSandbox{ID: "c"}
		}
	}
	return drivertest.Harness{
		New: func(*testing.T) whisk.Driver {
			driver = fake.New(config)
			return driver
		},
		Spec:      whisk.ContainerSpec{Kind: "fake:1", Memory: 128 * whisk.MB},
		Code:      drivertest.Code{Echo: "echo", Print: "print", Exit: "exit", Sleep: "sleep", Allocate: "allocate"},
		Dial:      func(ctx context.Context, a whisk.Address) (net.Conn, error) { return driver.Dial(ctx, a) },
		Around:    synctest.Test,
		Sandboxes: 200,
		UserFault: failing(&whisk.CreateError{Text: "no such image"}),
		NodeFault: failing(errors.New("disk full")),
		Silent: func(*testing.T) whisk.Driver {
			config := fake.Default()
			config.Script.Ping = func() fake.Operation { return fake.Operation{Delay: time.Hour} }
			return fake.New(config)
		},
		Killed: func(*testing.T, whisk.Driver) whisk.Driver {
			driver = driver.Restart()
			return driver
		},
	}
}

// post sends one request over conn and returns the answer's status.
func post(t *testing.T, conn net.Conn, path, body string) int {
	t.Helper()
	fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", path, len(body), body)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Logf("%s: %v", path, err)
		return 0
	}
	return resp.StatusCode
}

// TestAProcessKilledBeforeItRecovers finds nothing any more: the sandboxes are the
// next one's.
func TestAProcessKilledBeforeItRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := fake.New(fake.Default())
		if _, err := first.Create(t.Context(), whisk.CreateSandbox{ID: "c"}); err != nil {
			t.Fatal(err)
		}
		killed := first.Restart()
		next := killed.Restart()
		if found, err := killed.Recover(t.Context()); err == nil || len(found) > 0 {
			t.Errorf("the killed one recovers %v, %v", found, err)
		}
		found, err := next.Recover(t.Context())
		if err != nil || len(found) != 1 {
			t.Fatalf("the next one recovers %v, %v", found, err)
		}
		if err := found[0].Destroy(t.Context()); err != nil || next.Living() != 0 {
			t.Errorf("Destroy = %v, and %d live", err, next.Living())
		}
	})
}

func create(t *testing.T, driver *fake.Driver) whisk.Sandbox {
	t.Helper()
	s, err := driver.Create(t.Context(), whisk.CreateSandbox{ID: "c"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Destroy(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

func dial(t *testing.T, driver *fake.Driver, s whisk.Sandbox) net.Conn {
	t.Helper()
	conn, err := driver.Dial(t.Context(), s.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestViolations(t *testing.T) {
	const init = `{"value":{"code":"x"}}`
	const run = `{"value":{},"activation_id":"a1"}`
	tests := []struct {
		name string
		do   func(t *testing.T, driver *fake.Driver, s whisk.Sandbox)
		want string // "" for none
	}{
		{"proper use", func(t *testing.T, d *fake.Driver, s whisk.Sandbox) {
			conn := dial(t, d, s)
			post(t, conn, "/init", init)
			post(t, conn, "/run", run)
			post(t, conn, "/run", run)
		}, ""},
		{"second init", func(t *testing.T, d *fake.Driver, s whisk.Sandbox) {
			conn := dial(t, d, s)
			post(t, conn, "/init", init)
			if got := post(t, conn, "/init", init); got != http.StatusForbidden {
				t.Errorf("second /init = %d", got)
			}
		}, "a second time"},
		{"run before init", func(t *testing.T, d *fake.Driver, s whisk.Sandbox) {
			post(t, dial(t, d, s), "/run", run)
		}, "before a successful init"},
		{"two runs at once", func(t *testing.T, d *fake.Driver, s whisk.Sandbox) {
			first, second := dial(t, d, s), dial(t, d, s)
			post(t, first, "/init", init)
			done := make(chan struct{})
			go func() { defer close(done); post(t, first, "/run", run) }()
			synctest.Wait()
			post(t, second, "/run", run)
			<-done
		}, "2 runs at once"},
		{"id taken", func(t *testing.T, d *fake.Driver, s whisk.Sandbox) {
			if _, err := d.Create(t.Context(), whisk.CreateSandbox{ID: s.ID()}); whisk.KindOf(err) != whisk.Conflict {
				t.Errorf("Create of a taken id = %v", err)
			}
		}, "while it exists"},
		{"closed too early", func(t *testing.T, d *fake.Driver, s whisk.Sandbox) { d.Close() }, "left over"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				config := fake.Default()
				config.Capabilities.Recovers = false
				config.Script.Run = func(*rand.Rand, fake.Call) fake.Answer { return fake.Answer{Delay: time.Second} }
				driver := fake.New(config)
				tt.do(t, driver, create(t, driver))
				got := driver.Violations()
				if tt.want == "" && len(got) != 0 || tt.want != "" && (len(got) != 1 || !strings.Contains(got[0].What, tt.want)) {
					t.Errorf("violations %v, want %q", got, tt.want)
				}
			})
		})
	}
}

func TestFrozenMidRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := fake.Default()
		config.Script.Run = func(*rand.Rand, fake.Call) fake.Answer { return fake.Answer{Delay: time.Second} }
		driver := fake.New(config)
		s := create(t, driver)
		conn := dial(t, driver, s)
		post(t, conn, "/init", `{"value":{"code":"x"}}`)
		answered := make(chan struct{})
		go func() { defer close(answered); post(t, conn, "/run", `{"value":{}}`) }()
		synctest.Wait()
		if err := s.Suspend(t.Context()); err != nil {
			t.Fatal(err)
		}
		select {
		case <-answered:
			t.Error("answered while frozen")
		case <-time.After(time.Hour):
		}
		if err := s.Resume(t.Context()); err != nil {
			t.Fatal(err)
		}
		<-answered
	})
}

// TestSeed holds that a sandbox's fate depends on the seed and its own history
// only, not on what others do meanwhile.
func TestSeed(t *testing.T) {
	fate := func(seed uint64, others int) (draws []int) {
		config := fake.Default()
		config.Seed = seed
		config.Script.Run = func(rng *rand.Rand, call fake.Call) fake.Answer {
			if call.Container == "c" {
				draws = append(draws, rng.IntN(1000))
			}
			return fake.Answer{}
		}
		synctest.Test(t, func(t *testing.T) {
			driver := fake.New(config)
			for i := range others {
				o, err := driver.Create(t.Context(), whisk.CreateSandbox{ID: whisk.ContainerID(fmt.Sprint("other", i))})
				if err != nil {
					t.Fatal(err)
				}
				post(t, dial(t, driver, o), "/run", `{}`)
				defer o.Destroy(t.Context())
			}
			conn := dial(t, driver, create(t, driver))
			for range 5 {
				post(t, conn, "/run", `{}`)
			}
		})
		return draws
	}
	if a, b := fate(1, 0), fate(1, 3); fmt.Sprint(a) != fmt.Sprint(b) || len(a) != 5 {
		t.Errorf("same seed: %v and %v", a, b)
	}
	if a, b := fate(1, 0), fate(2, 0); fmt.Sprint(a) == fmt.Sprint(b) {
		t.Errorf("other seed: %v twice", a)
	}
}

func TestMisbehaviour(t *testing.T) {
	tests := []struct {
		name   string
		answer fake.Answer
		status int // 0: no proper answer
		ends   bool
	}{
		{"status", fake.Answer{Status: 502, Body: []byte(`{"error":"x"}`)}, 502, false},
		{"crash", fake.Answer{Crash: &whisk.Exit{Code: 3}}, 0, true},
		{"garbage", fake.Answer{Raw: []byte("SSH-2.0-x\r\n")}, 0, false},
		{"hang", fake.Answer{Hang: true}, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				config := fake.Default()
				config.Script.Run = func(*rand.Rand, fake.Call) fake.Answer { return tt.answer }
				driver := fake.New(config)
				s := create(t, driver)
				conn := dial(t, driver, s)
				post(t, conn, "/init", `{"value":{"code":"x"}}`)
				conn.SetReadDeadline(time.Now().Add(time.Minute))
				if got := post(t, conn, "/run", `{"value":{}}`); got != tt.status {
					t.Errorf("/run = %d, want %d", got, tt.status)
				}
				synctest.Wait()
				select {
				case <-s.Done():
					if !tt.ends || s.Exit() != *tt.answer.Crash {
						t.Errorf("ended with %+v", s.Exit())
					}
					if _, err := driver.Dial(t.Context(), s.Address()); !errors.Is(err, syscall.ECONNREFUSED) {
						t.Errorf("Dial after the end = %v", err)
					}
				default:
					if tt.ends {
						t.Error("it did not end")
					}
				}
			})
		})
	}
}

func BenchmarkCreateDestroy(b *testing.B) {
	config := fake.Default()
	config.Quiet = true
	driver := fake.New(config)
	b.ReportAllocs()
	for b.Loop() {
		s, err := driver.Create(b.Context(), whisk.CreateSandbox{ID: "c"})
		if err != nil {
			b.Fatal(err)
		}
		if err := s.Destroy(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
