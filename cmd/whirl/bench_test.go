// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestBenchReportsWhatItHas has a server that does not count its records: what was
// measured until then is told all the same, and that it is not all.
func TestBenchReportsWhatItHas(t *testing.T) {
	mux := http.NewServeMux()
	answer := func(pattern, text string) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) })
	}
	answer("GET /{$}", `{"runtimes":{"nodejs":[{"kind":"nodejs:20","default":true}]}}`)
	answer("PUT /", `{"name":"x","exec":{"kind":"nodejs:20"}}`)
	answer("DELETE /", `{"name":"x"}`)
	answer("POST /", `{"activationId":"x","response":{"success":true,"status":"success","result":{"ok":true}}}`)
	mux.HandleFunc("GET /api/v1/namespaces/_/activations", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) })
	server := httptest.NewServer(mux)
	defer server.Close()
	file := filepath.Join(t.TempDir(), "report.json")
	status, stdout, stderr := run(t, nil, "bench", "--apihost", server.URL, "--kinds", "nodejs", "--concurrency", "1",
		"--rounds", "1", "--duration", "1ms", "--cold", "1", "--cold-burst", "0", "--json", file)
	if status != statusFailed || !strings.Contains(stderr, "count the records of nodejs") {
		t.Errorf("exit status %d\n%s", status, stderr)
	}
	for _, want := range []string{"\nCut off  count the records of nodejs", "\nCold starts", "\nWarm activations"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("no %q in:\n%s", want, stdout)
		}
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var report struct {
		Incomplete string
		Warm       []struct{ Kind string }
	}
	if err := json.Unmarshal(text, &report); err != nil || report.Incomplete == "" || len(report.Warm) != 1 {
		t.Errorf("%v, %+v", err, report)
	}
}

// TestBenchOfNothingHasNoReport asks a server that is not there.
func TestBenchOfNothingHasNoReport(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	status, stdout, stderr := run(t, nil, "bench", "--apihost", server.URL)
	if status != statusFailed || stdout != "" || !strings.Contains(stderr, "connection refused") {
		t.Errorf("exit status %d, %q\n%s", status, stdout, stderr)
	}
}
