// SPDX-License-Identifier: Apache-2.0

package bench_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/bench"
	"github.com/whirl-faas/whirl/whisk"
)

// platform is an OpenWhisk API in miniature. The first invoke of an action is a
// cold start.
type platform struct {
	answer func(n int, w http.ResponseWriter) bool // of the nth invoke; true if it wrote the answer
	native bool                                    // offers that kind too
	count  func(stored int) int                    // how many records it tells of; nil for all
	keeps  func(name string) bool                  // which actions it does not delete; nil for none
	late   func(name string) bool                  // whose invokes are not answered before the caller goes; nil for none

	mu      sync.Mutex
	actions map[string]int // invokes by the names that exist
	records map[string]int // by name, also of deleted actions
	invokes int
	memory  map[string]int // MB, by name

	concurrency map[string]int // that was asked for, by name

	asked  map[string]int  // milliseconds of work, by name
	echoes map[string]bool // whether the code returns the payload, by name
	auth   map[string]bool // keys seen
}

func startPlatform(t *testing.T, answer func(n int, w http.ResponseWriter) bool) (*platform, bench.Config) {
	t.Helper()
	p := &platform{answer: answer, actions: map[string]int{}, records: map[string]int{}, memory: map[string]int{}, concurrency: map[string]int{}, asked: map[string]int{}, echoes: map[string]bool{}, auth: map[string]bool{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		native := ""
		if p.native {
			native = `"native":[{"kind":"native:default","default":true}],`
		}
		_, _ = io.WriteString(w, `{"runtimes":{`+native+`"nodejs":[{"kind":"nodejs:20","default":true}],"java":[{"kind":"java:8"}]}}`)
	})
	mux.HandleFunc("GET /api/v1", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"build":"today","buildno":"7"}`)
	})
	mux.HandleFunc("PUT /api/v1/namespaces/_/actions/{name}", p.put)
	mux.HandleFunc("DELETE /api/v1/namespaces/_/actions/{name}", p.delete)
	mux.HandleFunc("POST /api/v1/namespaces/_/actions/{name}", p.invoke)
	mux.HandleFunc("GET /api/v1/namespaces/_/activations", p.activations)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	config := bench.Default()
	config.APIHost, config.Auth = server.URL, "uuid:secret"
	config.Kinds = []string{"nodejs"}
	config.Concurrency = []int{1, 4}
	config.Rounds, config.Duration, config.Warmup = 3, 20*time.Millisecond, 5*time.Millisecond
	config.ColdSequential, config.ColdBurst = 3, 5
	config.Timeout = time.Minute // a busy machine may need some of it
	return p, config
}

func (p *platform) put(w http.ResponseWriter, r *http.Request) {
	var spec struct {
		Exec struct {
			Kind, Code string
			Components []string
		}
		Limits struct{ Memory, Concurrency int }
	}
	err := json.NewDecoder(r.Body).Decode(&spec)
	p.mu.Lock()
	defer p.mu.Unlock()
	offered := spec.Exec.Kind == "nodejs:default" || p.native && spec.Exec.Kind == "native:default"
	good := err == nil && offered && spec.Exec.Code != "" && spec.Limits.Memory >= 128
	for _, part := range spec.Exec.Components {
		_, good = p.actions[strings.TrimPrefix(part, "/_/")]
	}
	if !good {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	p.actions[r.PathValue("name")] = 0
	p.memory[r.PathValue("name")] = spec.Limits.Memory
	p.echoes[r.PathValue("name")] = strings.Contains(spec.Exec.Code, "payload")
	if len(spec.Exec.Components) == 0 {
		p.concurrency[r.PathValue("name")] = spec.Limits.Concurrency
	}
	_, _ = io.WriteString(w, `{"name":"x","exec":{"kind":"nodejs:20"}}`)
}

func (p *platform) delete(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.keeps != nil && p.keeps(r.PathValue("name")) {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	delete(p.actions, r.PathValue("name"))
	_, _ = io.WriteString(w, `{"name":"x"}`)
}

func (p *platform) invoke(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	user, password, _ := r.BasicAuth()
	p.mu.Lock()
	p.auth[user+":"+password] = true
	echo := p.echoes[name]
	n := p.invokes
	p.invokes++
	before, exists := p.actions[name]
	if exists {
		p.actions[name]++
	}
	p.mu.Unlock()
	if !exists {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if p.answer != nil && p.answer(n, w) {
		return
	}
	if p.late != nil && p.late(name) {
		_, _ = io.Copy(io.Discard, r.Body) // else its end is not noticed
		<-r.Context().Done()
		return
	}
	var sent struct {
		Payload *string
		MS      int
	}
	if json.NewDecoder(r.Body).Decode(&sent) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	result := `{"ok":true}`
	if echo && sent.Payload != nil {
		result = `{"payload":"` + *sent.Payload + `"}`
	}
	annotations := `{"key":"waitTime","value":3}`
	if before == 0 {
		annotations += `,{"key":"initTime","value":7}`
	}
	p.mu.Lock()
	p.records[name]++
	p.asked[name] = sent.MS
	p.mu.Unlock()
	fmt.Fprintf(w, `{"activationId":"%032x","annotations":[%s],"response":{"success":true,"status":"success","result":%s},"version":"0.0.1"}`, n, annotations, result)
}

func (p *platform) activations(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := p.records[r.URL.Query().Get("name")]
	if p.count != nil {
		n = p.count(n)
	}
	fmt.Fprintf(w, `{"activations":%d}`, n)
}

func (p *platform) leftovers() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.actions)
}

// sandbox starts action containers on Unix sockets: they want one /init each
// and run one activation at a time.
type sandbox struct {
	atOnce int // activations, if not one

	mu      sync.Mutex
	started []string
	stopped int
}

func (s *sandbox) start(t *testing.T) bench.Direct {
	return func(_ context.Context, kind string, _ int) (whisk.Address, func(), error) {
		s.mu.Lock()
		path := filepath.Join(t.TempDir(), fmt.Sprintf("%d.sock", len(s.started)))
		s.started = append(s.started, kind)
		s.mu.Unlock()
		listener, err := net.Listen("unix", path)
		if err != nil {
			return whisk.Address{}, nil, err
		}
		server := &http.Server{Handler: actionContainer(max(s.atOnce, 1))}
		done := make(chan struct{})
		go func() { defer close(done); _ = server.Serve(listener) }()
		return whisk.Address{Network: "unix", Address: path}, func() {
			_ = server.Close()
			<-done
			s.mu.Lock()
			s.stopped++
			s.mu.Unlock()
		}, nil
	}
}

// actionContainer answers /init and /run as a runtime does.
func actionContainer(atOnce int) http.Handler {
	mux := http.NewServeMux()
	inits := make(chan struct{}, 1)
	running := make(chan struct{}, atOnce)
	mux.HandleFunc("POST /init", func(w http.ResponseWriter, r *http.Request) {
		var body struct {
			Value struct{ Code, Main string }
		}
		if json.NewDecoder(r.Body).Decode(&body) != nil || body.Value.Code == "" || body.Value.Main != "main" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		select {
		case inits <- struct{}{}:
		default:
			w.WriteHeader(http.StatusForbidden)
		}
	})
	mux.HandleFunc("POST /run", func(w http.ResponseWriter, r *http.Request) {
		select {
		case running <- struct{}{}:
		default: // a real one would refuse it too
			w.WriteHeader(http.StatusForbidden)
			return
		}
		defer func() { <-running }()
		var body struct{ Value map[string]any }
		if len(inits) == 0 || json.NewDecoder(r.Body).Decode(&body) != nil || body.Value == nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_, _ = io.WriteString(w, `{"ok":true}`)
	})
	return mux
}
