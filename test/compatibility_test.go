// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package test

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/whirl-faas/whirl/controller/apidocs/apidocstest"
	"github.com/whirl-faas/whirl/test/compat"
)

// The platform that TestCompatibility is pointed at, in place of those that it
// starts by itself.
var (
	compatURL     = flag.String("compat-url", "", "run the compatibility suite against the platform at this URL, taken for an OpenWhisk")
	compatAuth    = flag.String("compat-auth", guestKey, "the key of a user of that platform, `UUID:KEY`")
	compatOther   = flag.String("compat-other-auth", "", "the key of another user of that platform, with another namespace, `UUID:KEY`")
	compatBounded = flag.String("compat-bounded-auth", "", "the key of a third user of that platform, with the limits that CONTRIBUTING.md names, `UUID:KEY`")
	compatVanity  = flag.String("compat-vanity-host", "", "the `HOST` below which that platform's namespaces have hosts of their names")
	compatWhirl   = flag.Bool("compat-whirl", false, "that platform is a Whirl: expect what docs/compatibility.md says it does otherwise")
)

// TestCompatibility holds Whirl to OpenWhisk's API and to its own description of
// it, in one process and in split roles; or what -compat-url names to the former.
func TestCompatibility(t *testing.T) {
	if *compatURL != "" {
		compat.Run(t, compat.Platform{
			URL: strings.TrimSuffix(*compatURL, "/"), Auth: *compatAuth, OtherAuth: *compatOther, BoundedAuth: *compatBounded, VanityHost: *compatVanity, Whirl: *compatWhirl,
		})
		return
	}
	need(t, "node", "python3")
	vanity := []string{"--vanity-host", compatHost}
	t.Run("standalone", func(t *testing.T) { start(t, vanity...).testCompatibility(t) })
	t.Run("roles", func(t *testing.T) {
		startClusterWith(t, 1, func(host string) []string {
			if host == controllerHost {
				return vanity
			}
			return nil
		}).controller.testCompatibility(t)
	})
}

// compatHost is the host below which the namespaces of what it starts have names.
const compatHost = "whirl.test"

// boundedLimits are those of the suite's third user.
var boundedLimits = []string{
	"--invocationsPerMinute", "12", "--firesPerMinute", "4", "--concurrentInvocations", "2",
	"--minActionMemory", "192", "--maxActionMemory", "256", "--minActionTimeout", "1000", "--maxActionTimeout", "60000", "--minActionLogs", "1",
	"--maxParameterSize", "2 KB", "--maxPayloadSize", "2 KB", "--truncationSize", "1 KB",
}

// testCompatibility runs the suite with the guest and a second user, who may
// call as often as they like, and a third one, who may not.
func (p *platform) testCompatibility(t *testing.T) {
	admin := func(args ...string) string {
		t.Helper()
		printed, err := exec.Command(whirlBinary, append(append([]string{"admin"}, args...), "--data", p.data)...).Output()
		if err != nil {
			t.Fatalf("whirl admin %s: %v", strings.Join(args, " "), err)
		}
		return strings.TrimSpace(string(printed))
	}
	const other, bounded = "compat-other", "compat-bounded"
	key, boundedKey := admin("user", "create", other), admin("user", "create", bounded)
	kind := p.defaultKind(t, "nodejs")
	admin(append([]string{"limits", "set", bounded, "--allowedKinds", kind}, boundedLimits...)...)
	for _, namespace := range []string{"guest", other} {
		admin("limits", "set", namespace, "--invocationsPerMinute", "100000", "--firesPerMinute", "100000", "--concurrentInvocations", "1000")
	}
	description := p.description(t)
	var done sync.Map // the operations that were done
	compat.Run(t, compat.Platform{URL: p.url, Auth: guestKey, OtherAuth: key, BoundedAuth: boundedKey, VanityHost: compatHost, Whirl: true,
		Described: func(req *http.Request, sent string, status int, header http.Header, answer []byte) error {
			if strings.HasSuffix(req.Host, "."+compatHost) {
				return nil // what is below a namespace's own host is its user's
			}
			done.Store(fmt.Sprint(description.Operation(req), status), true)
			return description.Check(apidocstest.Exchange{Request: req, Sent: []byte(sent), Status: status, Header: header, Answer: answer})
		},
	})
	if strings.Contains(flag.Lookup("test.run").Value.String(), "/") {
		return // some groups were asked for, and not all
	}
	for operation, statuses := range description.Successes() {
		if len(statuses) > 0 && !slices.ContainsFunc(statuses, func(status int) bool {
			_, there := done.Load(fmt.Sprint(operation, status))
			return there
		}) {
			t.Errorf("no case has %s succeed, so nothing says that it is as described", operation)
		}
	}
}

// description returns what the platform's own documents say.
func (p *platform) description(t *testing.T) *apidocstest.Description {
	t.Helper()
	var documents [][]byte
	for _, path := range []string{"/api-docs", "/api/v1/api-docs"} {
		res, err := http.Get(p.url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		document, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		documents = append(documents, document)
	}
	description, err := apidocstest.Parse(documents...)
	if err != nil {
		t.Fatal(err)
	}
	return description
}

// defaultKind returns the kind that a family's actions are of by default.
func (p *platform) defaultKind(t *testing.T, family string) string {
	t.Helper()
	answer, err := http.Get(p.url + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var info struct {
		Runtimes map[string][]struct {
			Kind    string
			Default bool
		}
	}
	if err := json.NewDecoder(answer.Body).Decode(&info); err != nil {
		t.Fatal(err)
	}
	for _, runtime := range info.Runtimes[family] {
		if runtime.Default {
			return runtime.Kind
		}
	}
	t.Fatalf("there is no default kind of %s", family)
	return ""
}
