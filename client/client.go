// SPDX-License-Identifier: Apache-2.0

// Package client calls the OpenWhisk HTTP API, of Whirl or of any other server
// that speaks it.
//
// A [Client] acts in one namespace with one key. It holds nothing but a pool of
// connections, never retries on its own and may be used by several goroutines at
// once. An answer that refuses a request is an [*Error]; an activation that ended
// badly is not an error of the call and is told by its [Response].
//
// docs/architecture.md tells which routes the platform serves.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/whirl-faas/whirl/whisk"
)

// maxAnswer bounds what the client reads of one answer: code may have 48 MB.
const maxAnswer = 64 << 20

// Config says which server to call, and as whom.
type Config struct {
	APIHost   string            // "http://127.0.0.1:3233"; without a scheme, https
	Auth      string            // "UUID:KEY"; "" for the routes that need none
	Namespace string            // "" stands for "_", the key's own
	Transport http.RoundTripper // nil for one of its own
}

// Default returns the address of a standalone platform on this machine, without a key.
func Default() Config {
	return Config{APIHost: "http://127.0.0.1:3233", Namespace: "_"}
}

// Validate reports, as Invalid, what is wrong with c.
func (c Config) Validate() error {
	if _, err := c.base(); err != nil {
		return err
	}
	if c.Auth != "" && !strings.Contains(c.Auth, ":") {
		return whisk.Errorf(whisk.Invalid, "bad key, want UUID:KEY")
	}
	return nil
}

// base returns the server's root as "scheme://host[:port]".
func (c Config) base() (string, error) {
	host := strings.TrimSuffix(c.APIHost, "/")
	if !strings.Contains(host, "://") {
		host = "https://" + host
	}
	root, err := url.Parse(host)
	if err != nil || root.Host == "" || root.Path != "" || root.Scheme != "http" && root.Scheme != "https" {
		return "", whisk.Errorf(whisk.Invalid, "bad API host %q, want http://HOST:PORT or https://HOST:PORT", c.APIHost)
	}
	return root.Scheme + "://" + root.Host, nil
}

// Client calls one server with one key.
type Client struct {
	base      string
	auth      string
	namespace string
	http      *http.Client
}

// New returns a client. It does not call the server yet.
func New(config Config) (*Client, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	base, err := config.base()
	if err != nil {
		return nil, err
	}
	transport := config.Transport
	if transport == nil {
		own := http.DefaultTransport.(*http.Transport).Clone()
		own.MaxIdleConnsPerHost = 64
		transport = own
	}
	namespace := config.Namespace
	if namespace == "" {
		namespace = "_"
	}
	return &Client{base: base, auth: config.Auth, namespace: namespace, http: &http.Client{Transport: transport}}, nil
}

// Close drops the idle connections. Calls under way are not disturbed, and the
// client may be used again.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// request is one call of the API.
type request struct {
	method string
	path   []string // below /api/v1/namespaces/NS, not escaped yet
	query  url.Values
	body   any    // encoded as JSON; nil for none
	root   string // a path to use as it is, in place of path
}

// answer is what the server said.
type answer struct {
	status     int
	activation whisk.ActivationID // from its header, "" if there is none
	body       []byte
}

// call sends r and decodes the JSON of a 200 into out. Any other status is an error.
func (c *Client) call(ctx context.Context, r request, out any) error {
	got, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	if got.status != http.StatusOK {
		return refusal(got)
	}
	if err := json.Unmarshal(got.body, out); err != nil {
		return fmt.Errorf("decode the answer to %s: %w", r, err)
	}
	return nil
}

// send sends r and returns whatever the server answers.
func (c *Client) send(ctx context.Context, r request) (answer, error) {
	var body io.Reader
	if r.body != nil {
		encoded, err := json.Marshal(r.body)
		if err != nil {
			return answer{}, fmt.Errorf("encode the body of %s: %w", r, err)
		}
		body = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, c.url(r), body)
	if err != nil {
		return answer{}, fmt.Errorf("%s: %w", r, err)
	}
	req.Header.Set("Accept", "application/json")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if uuid, key, ok := strings.Cut(c.auth, ":"); ok {
		req.SetBasicAuth(uuid, key)
	}
	return c.exchange(req)
}

// exchange carries out one HTTP request and reads the answer to its end, so that
// the connection can be used again.
func (c *Client) exchange(req *http.Request) (answer, error) {
	res, err := c.http.Do(req)
	if err != nil {
		return answer{}, err // *url.Error names the method and the URL already
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return answer{}, fmt.Errorf("read the answer to %s %s: %w", req.Method, req.URL.Path, err)
	}
	if len(body) > maxAnswer {
		return answer{}, fmt.Errorf("the answer to %s %s has more than %d bytes", req.Method, req.URL.Path, maxAnswer)
	}
	return answer{res.StatusCode, whisk.ActivationID(res.Header.Get("X-Openwhisk-Activation-Id")), body}, nil
}

func (c *Client) url(r request) string {
	if r.root != "" {
		return c.base + r.root
	}
	var target strings.Builder
	target.WriteString(c.base + "/api/v1/namespaces/" + url.PathEscape(c.namespace))
	for _, segment := range r.path {
		target.WriteString("/" + url.PathEscape(segment))
	}
	if len(r.query) > 0 {
		target.WriteString("?" + r.query.Encode())
	}
	return target.String()
}

// String returns the request as errors name it.
func (r request) String() string {
	if r.root != "" {
		return r.method + " " + r.root
	}
	return r.method + " " + strings.Join(r.path, "/")
}
