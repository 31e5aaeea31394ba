// SPDX-License-Identifier: Apache-2.0

// Package runtimetest is the contract between the platform and an action proxy:
// what every runtime answers to /init and /run, what it writes to its streams
// and when. The bundled proxies pass it as plain processes; an image can be
// driven through the same list by a [Runtime] that starts its container.
//
// It is for tests only. A [Proxy] may be used by several goroutines at once.
package runtimetest

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"testing"
)

// Runtime is what [Run] checks.
type Runtime struct {
	// Start starts a fresh proxy with env in its environment and ends it when
	// the test does. The proxy need not take requests yet.
	Start   func(t testing.TB, env map[string]string) *Proxy
	Actions Actions
}

// Proxy is a running action proxy.
type Proxy struct {
	Client         *http.Client // reaches the proxy by the URLs http://action/...
	Stdout, Stderr *Output      // all that it writes
	PID            int          // if it is a process of this machine; 0 otherwise
}

// Code is the part of an /init that says what to run.
type Code struct {
	Code   string
	Binary bool
	Main   string // "" stands for main
}

// Reply is what a proxy answered.
type Reply struct {
	Status int
	Body   []byte
	Err    error // the connection broke; nothing else is known then
}

// Error returns the field "error" of the body, "" if there is none.
func (r Reply) Error() string {
	var body struct{ Error any }
	if json.Unmarshal(r.Body, &body) != nil || body.Error == nil {
		return ""
	}
	if text, ok := body.Error.(string); ok {
		return text
	}
	text, err := json.Marshal(body.Error)
	if err != nil {
		panic(err) // it was decoded from JSON
	}
	return string(text)
}

// Init sends /init for the code, with the environment given.
func (p *Proxy) Init(t testing.TB, code Code, env map[string]string) Reply {
	t.Helper()
	if code.Main == "" {
		code.Main = "main"
	}
	value := map[string]any{"name": "test", "main": code.Main, "binary": code.Binary}
	if code.Code != "" {
		value["code"] = code.Code
	}
	if env != nil {
		value["env"] = env
	}
	return p.Post(t, "/init", encode(t, map[string]any{"value": value}))
}

// MustInit sends /init and fails the test if the proxy does not take it.
func (p *Proxy) MustInit(t testing.TB, code Code, env map[string]string) {
	t.Helper()
	if reply := p.Init(t, code, env); reply.Status != http.StatusOK {
		t.Fatalf("/init answered %d %s (%v)\nstdout: %s\nstderr: %s", reply.Status, reply.Body, reply.Err, p.Stdout, p.Stderr)
	}
}

// Run sends /run with the value, and further fields beside it.
func (p *Proxy) Run(t testing.TB, value any, fields map[string]string) Reply {
	t.Helper()
	message := map[string]any{
		"namespace": "guest", "action_name": "/guest/test", "action_version": "0.0.1",
		"activation_id": "00000000000000000000000000000000", "transaction_id": "t", "deadline": "1700000060000",
	}
	for name, text := range maps.All(fields) {
		message[name] = text
	}
	message["value"] = value
	return p.Post(t, "/run", encode(t, message))
}

// Post sends a body as it is. It fails the test if the answer has no length,
// which OpenWhisk's own client does not take.
func (p *Proxy) Post(t testing.TB, path string, body []byte) Reply {
	t.Helper()
	response, err := p.Client.Post("http://action"+path, "application/json", bytes.NewReader(body))
	if err != nil {
		return Reply{Err: err}
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return Reply{Err: err}
	}
	if response.ContentLength != int64(len(answer)) {
		t.Errorf("%s answered %d without a Content-Length", path, response.StatusCode)
	}
	return Reply{Status: response.StatusCode, Body: answer}
}

// Need skips the test because the machine lacks something, or fails it where
// nothing may be lacking: in continuous integration, which sets CI.
func Need(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("CI needs it: %s", what)
	}
	t.Skip(what)
}

func encode(t testing.TB, value any) []byte {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
