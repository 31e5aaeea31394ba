// SPDX-License-Identifier: Apache-2.0

package compat

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Platform is what the suite is run against.
type Platform struct {
	URL  string // of its root, without a slash at the end
	Auth string // the user's key, UUID:KEY
	// OtherAuth is the key of a user with another namespace; without one the
	// cases that need it fail.
	OtherAuth string
	// BoundedAuth is the key of a third user, with the limits that CONTRIBUTING.md
	// names; without one the cases that need it are skipped.
	BoundedAuth string
	// VanityHost is the host below which namespaces have hosts of their names; without
	// one the cases that need it fail. They are sent to URL all the same.
	VanityHost string
	// Whirl says that the platform is Whirl, which differs from OpenWhisk where
	// docs/compatibility.md says so.
	Whirl bool
	// Described, if not nil, is asked about every request of the cases and its
	// answer, and returns what is not as the platform describes itself. Calls overlap.
	Described func(req *http.Request, sent string, status int, header http.Header, answer []byte) error

	namespace, other, bounded string // of the keys
	nodejs                    string // the kind that nodejs:default stands for
	otherKind                 string // one that is of another language
	minute                    int64  // in which something was counted for the bounded user; its group has one goroutine at a time
	client                    *http.Client
}

// reply is an answer as it came.
type reply struct {
	status int
	header http.Header
	body   []byte
	wrong  error // what Described says
}

// date is when it was answered, by the platform's clock.
func (r reply) date() (time.Time, error) { return http.ParseTime(r.header.Get("Date")) }

// minute is that of the date, since 1970; 0 if that is not known.
func (r reply) minute() int64 {
	at, err := r.date()
	if err != nil {
		return 0
	}
	return at.Unix() / 60
}

func (r reply) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%d", r.status)
	for _, name := range []string{"Content-Type", "Location", "Allow"} {
		if value := r.header.Get(name); value != "" {
			fmt.Fprintf(&text, ", %s: %s", name, value)
		}
	}
	return text.String() + "\n" + shorten(string(r.body))
}

// longestAnswer is longer than any platform lets a client wait.
const longestAnswer = 90 * time.Second

// learn asks the platform for what the cases need to know of it.
func (p *Platform) learn(ctx context.Context) (err error) {
	p.client = &http.Client{
		Timeout:       longestAnswer,
		Transport:     &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: atOnce},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if p.namespace, err = p.namespaceOf(ctx, p.Auth); err != nil {
		return err
	}
	if p.OtherAuth != "" {
		if p.other, err = p.namespaceOf(ctx, p.OtherAuth); err != nil {
			return err
		}
	}
	if p.BoundedAuth != "" {
		if p.bounded, err = p.namespaceOf(ctx, p.BoundedAuth); err != nil {
			return err
		}
	}
	root, err := p.send(ctx, "GET", p.URL+"/", http.Header{}, "", "")
	if err != nil {
		return err
	}
	var info struct {
		Runtimes map[string][]struct {
			Kind        string
			Default     bool
			RequireMain bool
		}
	}
	if err := json.Unmarshal(root.body, &info); err != nil {
		return fmt.Errorf("%s answers to GET / with no information document: %w", p.URL, err)
	}
	for _, runtime := range info.Runtimes["nodejs"] {
		if runtime.Default {
			p.nodejs = runtime.Kind
		}
	}
	for _, family := range slices.Sorted(maps.Keys(info.Runtimes)) {
		for _, runtime := range info.Runtimes[family] {
			if family != "nodejs" && runtime.Default && !runtime.RequireMain && p.otherKind == "" {
				p.otherKind = runtime.Kind
			}
		}
	}
	if p.nodejs == "" {
		return fmt.Errorf("%s has no default kind of nodejs, which the cases' actions are written for", p.URL)
	}
	return nil
}

func (p *Platform) namespaceOf(ctx context.Context, auth string) (string, error) {
	got, err := p.send(ctx, "GET", p.URL+"/api/v1/namespaces", http.Header{}, auth, "")
	if err != nil {
		return "", err
	}
	var namespaces []string
	if err := json.Unmarshal(got.body, &namespaces); err != nil || len(namespaces) != 1 {
		uuid, _, _ := strings.Cut(auth, ":")
		return "", fmt.Errorf("%s knows no namespace of the key of %s: %s", p.URL, uuid, got)
	}
	return namespaces[0], nil
}

// names are the variables that all cases may use.
func (p *Platform) names() map[string]string {
	uuid, key, _ := strings.Cut(p.Auth, ":")
	return map[string]string{
		"NAMESPACE": p.namespace, "OTHER": p.other, "BOUNDED": p.bounded, "NODEJS": p.nodejs, "OTHERKIND": p.otherKind, "UUID": uuid, "KEY": key, "URL": p.URL, "VANITY": p.VanityHost,
	}
}

// send sends a request with exactly these headers. No key sends no credentials.
func (p *Platform) send(ctx context.Context, method, url string, header http.Header, auth, body string) (reply, error) {
	var content io.Reader
	if body != "" {
		content = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, content)
	if err != nil {
		return reply{}, err
	}
	maps.Copy(req.Header, header)
	req.Host = header.Get("Host") // "" for that of the URL
	if uuid, key, given := strings.Cut(auth, ":"); given {
		req.SetBasicAuth(uuid, key)
	}
	res, err := p.client.Do(req)
	if err != nil {
		return reply{}, err
	}
	defer res.Body.Close()
	got := reply{status: res.StatusCode, header: res.Header}
	if got.body, err = io.ReadAll(res.Body); err == nil && p.Described != nil {
		got.wrong = p.Described(req, body, got.status, got.header, got.body)
	}
	return got, err
}
