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

// TestBenchRefusesFlagsThatDoNothing has pairs of which one would be left aside.
func TestBenchRefusesFlagsThatDoNothing(t *testing.T) {
	calls := filepath.Join(t.TempDir(), "calls.csv")
	if err := os.WriteFile(calls, []byte("a,0,0,128\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	trace := "--trace " + calls
	for _, row := range []struct{ args, want string }{
		{"--overload 3 --vs http://127.0.0.1:1", "an overload is of one endpoint"},
		{"--vs-auth a:b", "--vs-auth needs --vs"},
		{"--vs-process java", "--vs-process needs --vs"},
		{trace + " --workload sleep", "--workload needs --concurrency, --rate, --burst or --overload"},
		{"--arrivals constant", "--arrivals needs --rate or --overload"},
		{"--burst 5 --seed 7", "--seed needs --rate or --overload"},
		{"--rate 5 --burst-every 2s", "--burst-every needs --burst"},
		{"--outstanding 50", "--outstanding needs --rate, --burst, --trace or --overload"},
		{"--trace-speed 2", "--trace-speed needs --trace"},
		{trace + " --rounds 3", "--rounds needs --concurrency"},
		{trace + " --duration 3s", "--duration needs --concurrency"},
		{trace + " --direct", "--direct needs --concurrency, --rate or --burst"},
		{"--overload 3 --direct", "--direct needs --concurrency, --rate or --burst"},
	} {
		status, _, stderr := run(t, nil, strings.Fields("bench --apihost http://127.0.0.1:1 "+row.args)...)
		if status != statusUsage || !strings.Contains(stderr, row.want) {
			t.Errorf("%s: exit status %d, %s", row.args, status, stderr)
		}
	}
	// Nobody listens there, so what is not refused fails.
	for _, args := range []string{
		trace + " --action-concurrency 2 --trace-speed 2 --outstanding 50 --process whirl",
		trace + " --concurrency 1 --workload sleep --rounds 3 --duration 1ms",
		trace + " --vs http://127.0.0.1:1 --vs-auth a:b --vs-process java --rounds 3",
		"--overload 3 --arrivals constant --seed 7 --workload sleep --process whirl",
		"--burst 5 --burst-every 2s --outstanding 50",
	} {
		status, _, stderr := run(t, nil, strings.Fields("bench --apihost http://127.0.0.1:1 "+args)...)
		if status != statusFailed || !strings.Contains(stderr, "connection refused") {
			t.Errorf("%s: exit status %d, %s", args, status, stderr)
		}
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
