// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/client"
	"github.com/whirl-faas/whirl/whisk"
)

const (
	key = "uuid:secret"
	id  = whisk.ActivationID("0123456789abcdef0123456789abcdef")
)

// record is a blocking call's answer, as OpenWhisk's documentation shows it.
const record = `{"activationId":"0123456789abcdef0123456789abcdef","annotations":[{"key":"path","value":"guest/hello"},
	{"key":"initTime","value":30}],"duration":35,"end":1700000000035,"logs":[],"name":"hello","namespace":"guest",
	"publish":false,"response":{"result":{"a":1},"size":7,"status":"success","success":true},
	"start":1700000000000,"subject":"guest","version":"0.0.1"}`

// sent is a request as the server saw it.
type sent struct{ method, uri, auth, contentType, body string }

// serve starts a server that gives one answer to everything, and returns a
// client of it and what the server last saw.
func serve(t *testing.T, status int, body string) (*client.Client, *sent) {
	t.Helper()
	last := &sent{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		content, _ := io.ReadAll(r.Body)
		user, password, _ := r.BasicAuth()
		*last = sent{r.Method, r.URL.RequestURI(), user + ":" + password, r.Header.Get("Content-Type"), string(content)}
		w.Header().Set("X-Openwhisk-Activation-Id", string(id))
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(server.Close)
	c, err := client.New(client.Config{APIHost: server.URL, Auth: key})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, last
}

func TestRequests(t *testing.T) {
	logs := int64(0)
	spec := client.ActionSpec{
		Exec:       &client.Exec{Kind: "nodejs:default", Code: "x"},
		Parameters: whisk.Parameters{{Key: "p", Value: json.RawMessage("1")}},
		Limits:     &client.LimitsSpec{Memory: 128, Logs: &logs},
	}
	const written = `{"exec":{"kind":"nodejs:default","code":"x"},"parameters":[{"key":"p","value":1}],"limits":{"memory":128,"logs":0}}`
	since := time.UnixMilli(1700000000000)
	for name, row := range map[string]struct {
		call   func(context.Context, *client.Client) (any, error)
		answer string
		method string
		uri    string
		body   string
		want   any // nil: whatever came
	}{
		"create": {
			func(ctx context.Context, c *client.Client) (any, error) { return c.CreateAction(ctx, "a", spec) },
			`{"name":"a"}`, "PUT", "/api/v1/namespaces/_/actions/a?overwrite=false", written, nil,
		},
		"update in a package": {
			func(ctx context.Context, c *client.Client) (any, error) {
				return c.UpdateAction(ctx, "p/a b", client.ActionSpec{DelAnnotations: []string{"k"}})
			},
			`{"name":"a b"}`, "PUT", "/api/v1/namespaces/_/actions/p/a%20b?overwrite=true", `{"delAnnotations":["k"]}`, nil,
		},
		"get": {
			func(ctx context.Context, c *client.Client) (any, error) { return c.Action(ctx, "a") },
			`{"name":"a"}`, "GET", "/api/v1/namespaces/_/actions/a", "", nil,
		},
		"get without code": {
			func(ctx context.Context, c *client.Client) (any, error) { return c.ActionMetadata(ctx, "a") },
			`{"name":"a"}`, "GET", "/api/v1/namespaces/_/actions/a?code=false", "", nil,
		},
		"delete": {
			func(ctx context.Context, c *client.Client) (any, error) { return c.DeleteAction(ctx, "a") },
			`{"name":"a"}`, "DELETE", "/api/v1/namespaces/_/actions/a", "", nil,
		},
		"list": {
			func(ctx context.Context, c *client.Client) (any, error) {
				return c.Actions(ctx, client.Page{Limit: 5, Skip: 2})
			},
			`[{"name":"a"}]`, "GET", "/api/v1/namespaces/_/actions?limit=5&skip=2", "", nil,
		},
		"count": {
			func(ctx context.Context, c *client.Client) (any, error) { return c.CountActions(ctx) },
			`{"actions":7}`, "GET", "/api/v1/namespaces/_/actions?count=true", "", 7,
		},
		"result": {
			func(ctx context.Context, c *client.Client) (any, error) {
				return c.Result(ctx, "a", map[string]int{"n": 1}, 1500*time.Millisecond)
			},
			`{"a":1}`, "POST", "/api/v1/namespaces/_/actions/a?blocking=true&result=true&timeout=1500", `{"n":1}`, json.RawMessage(`{"a":1}`),
		},
		"invoke without parameters": {
			func(ctx context.Context, c *client.Client) (any, error) { return c.Invoke(ctx, "a", nil, 0) },
			record, "POST", "/api/v1/namespaces/_/actions/a?blocking=true", "{}", nil,
		},
		"activations": {
			func(ctx context.Context, c *client.Client) (any, error) {
				return c.Activations(ctx, client.ActivationQuery{Name: "p/a", Since: since, Upto: since.Add(time.Second), Full: true})
			},
			"[" + record + "]", "GET",
			"/api/v1/namespaces/_/activations?docs=true&limit=0&name=p%2Fa&since=1700000000000&skip=0&upto=1700000001000", "", nil,
		},
		"count activations": {
			func(ctx context.Context, c *client.Client) (any, error) {
				return c.CountActivations(ctx, client.ActivationQuery{Name: "a"})
			},
			`{"activations":3}`, "GET", "/api/v1/namespaces/_/activations?count=true&name=a", "", 3,
		},
		"activation": {
			func(ctx context.Context, c *client.Client) (any, error) { return c.Activation(ctx, id) },
			record, "GET", "/api/v1/namespaces/_/activations/" + string(id), "", nil,
		},
		"activation response": {
			func(ctx context.Context, c *client.Client) (any, error) { return c.ActivationResponse(ctx, id) },
			`{"success":true,"status":"success","result":{"a":1},"size":7}`, "GET",
			"/api/v1/namespaces/_/activations/" + string(id) + "/result", "",
			client.Response{Success: true, Status: "success", Result: json.RawMessage(`{"a":1}`), Size: 7},
		},
		"activation logs": {
			func(ctx context.Context, c *client.Client) (any, error) { return c.ActivationLogs(ctx, id) },
			`{"logs":["one","two"]}`, "GET", "/api/v1/namespaces/_/activations/" + string(id) + "/logs", "", []string{"one", "two"},
		},
		"namespaces": {
			func(ctx context.Context, c *client.Client) (any, error) { return c.Namespaces(ctx) },
			`["guest"]`, "GET", "/api/v1/namespaces", "", []string{"guest"},
		},
		"server": {
			func(ctx context.Context, c *client.Client) (any, error) {
				info, err := c.ServerInfo(ctx)
				return info.Runtimes["nodejs"], err
			},
			`{"runtimes":{"nodejs":[{"kind":"nodejs:20","default":true}]}}`, "GET", "/", "",
			[]client.ServerRuntime{{Kind: "nodejs:20", Default: true}},
		},
		"api": {
			func(ctx context.Context, c *client.Client) (any, error) { return c.APIInfo(ctx) },
			`{"api_version":"1.0.0","build":"b","buildno":"1"}`, "GET", "/api/v1", "",
			client.APIInfo{Version: "1.0.0", Build: "b", BuildNumber: "1"},
		},
		"ping": {
			func(ctx context.Context, c *client.Client) (any, error) { return nil, c.Ping(ctx) },
			"pong", "GET", "/ping", "", nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, last := serve(t, http.StatusOK, row.answer)
			got, err := row.call(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			want := sent{row.method, row.uri, key, "", row.body}
			if row.body != "" {
				want.contentType = "application/json"
			}
			if *last != want {
				t.Errorf("sent %+v\nwant %+v", *last, want)
			}
			if row.want != nil && !reflect.DeepEqual(got, row.want) {
				t.Errorf("got %+v, want %+v", got, row.want)
			}
		})
	}
}

func TestActionFields(t *testing.T) {
	c, _ := serve(t, http.StatusOK, `{"namespace":"guest","name":"hello","version":"0.0.3","publish":false,"updated":1700000000000,
		"exec":{"kind":"nodejs:20","code":"c","binary":false},"parameters":[{"key":"a","value":1}],
		"annotations":[{"key":"exec","value":"nodejs:20"}],"limits":{"timeout":60000,"memory":128,"logs":10,"concurrency":1}}`)
	got, err := c.Action(t.Context(), "hello")
	if err != nil {
		t.Fatal(err)
	}
	want := client.Action{
		Namespace: "guest", Name: "hello", Version: whisk.Version{Patch: 3}, Updated: 1700000000000,
		Exec:        client.Exec{Kind: "nodejs:20", Code: "c"},
		Parameters:  whisk.Parameters{{Key: "a", Value: json.RawMessage("1")}},
		Annotations: whisk.Parameters{{Key: "exec", Value: json.RawMessage(`"nodejs:20"`)}},
		Limits:      whisk.ActionLimits{Timeout: time.Minute, Memory: 128 * whisk.MB, Logs: 10 * whisk.MB, Concurrency: 1},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestStartReturnsTheID(t *testing.T) {
	c, last := serve(t, http.StatusAccepted, `{"activationId":"`+string(id)+`"}`)
	got, err := c.Start(t.Context(), "a", nil)
	if err != nil || got != id {
		t.Fatalf("got %q, %v", got, err)
	}
	if last.uri != "/api/v1/namespaces/_/actions/a" {
		t.Errorf("sent to %s", last.uri)
	}
}

func TestInvokeReturnsTheRecordHoweverItEnded(t *testing.T) {
	for name, row := range map[string]struct {
		status  int
		success bool
	}{
		"success":           {http.StatusOK, true},
		"application error": {http.StatusBadGateway, false},
		"whisk error":       {http.StatusInternalServerError, false},
	} {
		t.Run(name, func(t *testing.T) {
			body := record
			if !row.success {
				body = strings.Replace(body, `"success":true`, `"success":false`, 1)
			}
			c, _ := serve(t, row.status, body)
			got, err := c.Invoke(t.Context(), "hello", nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			if got.ID != id || got.Response.Success != row.success || got.Duration != 35 || !got.Annotations.Truthy("initTime") {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestInvokeThatDoesNotFinishInTime(t *testing.T) {
	c, _ := serve(t, http.StatusAccepted, `{"activationId":"`+string(id)+`"}`)
	_, err := c.Invoke(t.Context(), "a", nil, time.Millisecond)
	if pending, ok := errors.AsType[*client.PendingError](err); !ok || pending.Activation != id {
		t.Errorf("invoke: got %v", err)
	}
	_, err = c.Result(t.Context(), "a", nil, time.Millisecond)
	if pending, ok := errors.AsType[*client.PendingError](err); !ok || pending.Activation != id {
		t.Errorf("result: got %v", err)
	}
}

func TestResultOfAFailedActivation(t *testing.T) {
	c, _ := serve(t, http.StatusBadGateway, `{"error":"boom"}`)
	_, err := c.Result(t.Context(), "a", nil, 0)
	failed, ok := errors.AsType[*client.FailedError](err)
	if !ok || failed.Activation != id || failed.Status != http.StatusBadGateway || string(failed.Result) != `{"error":"boom"}` {
		t.Errorf("got %#v", err)
	}
}

func TestRefusals(t *testing.T) {
	for name, row := range map[string]struct {
		status int
		body   string
		want   client.Error
		kind   whisk.Kind
	}{
		"openwhisk":    {404, `{"error":"gone","code":"abc"}`, client.Error{Status: 404, Text: "gone", Code: "abc"}, whisk.NotFound},
		"number":       {409, `{"error":"there","code":12}`, client.Error{Status: 409, Text: "there", Code: "12"}, whisk.Conflict},
		"plain text":   {503, "down\n", client.Error{Status: 503, Text: "down"}, whisk.Unavailable},
		"nothing":      {401, "", client.Error{Status: 401, Text: "Unauthorized"}, whisk.Denied},
		"throttled":    {429, `{"error":"slow","code":"x"}`, client.Error{Status: 429, Text: "slow", Code: "x"}, whisk.Throttled},
		"too large":    {413, `{"error":"big","code":"x"}`, client.Error{Status: 413, Text: "big", Code: "x"}, whisk.TooLarge},
		"invalid":      {400, `{"error":"bad","code":"x"}`, client.Error{Status: 400, Text: "bad", Code: "x"}, whisk.Invalid},
		"internal":     {500, `{"error":"oh","code":"x"}`, client.Error{Status: 500, Text: "oh", Code: "x"}, whisk.Internal},
		"proxy's page": {502, "<html>", client.Error{Status: 502, Text: "<html>"}, whisk.Internal},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := serve(t, row.status, row.body)
			calls := map[string]func() error{
				"get":    func() error { _, err := c.Action(t.Context(), "a"); return err },
				"start":  func() error { _, err := c.Start(t.Context(), "a", nil); return err },
				"invoke": func() error { _, err := c.Invoke(t.Context(), "a", nil, 0); return err },
				"result": func() error { _, err := c.Result(t.Context(), "a", nil, 0); return err },
			}
			for call, do := range calls {
				got, ok := errors.AsType[*client.Error](do())
				if !ok {
					t.Errorf("%s: no refusal", call)
				} else if *got != row.want || got.Kind() != row.kind {
					t.Errorf("%s: got %#v of kind %v, want %#v of kind %v", call, got, got.Kind(), row.want, row.kind)
				}
			}
		})
	}
}

func TestAnswersThatMakeNoSense(t *testing.T) {
	c, _ := serve(t, http.StatusOK, "<html>")
	if _, err := c.Action(t.Context(), "a"); err == nil || !strings.Contains(err.Error(), "GET actions/a") {
		t.Errorf("get: got %v", err)
	}
	if _, err := c.CountActions(t.Context()); err == nil {
		t.Error("count: no error")
	}
	c, _ = serve(t, http.StatusAccepted, `{}`)
	if _, err := c.Start(t.Context(), "a", nil); err == nil {
		t.Error("start without an id: no error")
	}
}

func TestContextEndsACall(t *testing.T) {
	entered, release := make(chan struct{}), make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(entered)
		<-release
	}))
	defer server.Close()
	defer close(release)
	c, err := client.New(client.Config{APIHost: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-entered; cancel() }()
	if _, err := c.Action(ctx, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestConfigs(t *testing.T) {
	for host, good := range map[string]bool{
		"http://127.0.0.1:3233":  true,
		"https://faas.test/":     true,
		"faas.test":              true,
		"":                       false,
		"ftp://faas.test":        false,
		"http://faas.test/inner": false,
		"http://":                false,
	} {
		_, err := client.New(client.Config{APIHost: host, Auth: key})
		if (err == nil) != good {
			t.Errorf("host %q: got %v", host, err)
		}
		if err != nil && whisk.KindOf(err) != whisk.Invalid {
			t.Errorf("host %q: kind %v", host, whisk.KindOf(err))
		}
	}
	if err := (client.Config{APIHost: "h", Auth: "no colon"}).Validate(); err == nil {
		t.Error("a key without a colon was accepted")
	}
	if err := client.Default().Validate(); err != nil {
		t.Error(err)
	}
}
