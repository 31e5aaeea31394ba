// SPDX-License-Identifier: Apache-2.0

//go:build docker

package docker_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/moby/moby/client"

	"github.com/whirl-faas/whirl/driver/docker"
	"github.com/whirl-faas/whirl/whisk"
)

// fakeRegistry serves one image under any name and tag of the right kind, as the
// distribution protocol has it.
type fakeRegistry struct {
	*httptest.Server
	host     string
	blobs    map[string][]byte
	manifest []byte
	asked    atomic.Int64 // for manifests, and gave them
}

const manifestType = "application/vnd.docker.distribution.manifest.v2+json"

func digest(data []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(data)) }

func newRegistry(t *testing.T) *fakeRegistry {
	t.Helper()
	root := archive(t, busybox(t))
	var layer bytes.Buffer
	zipped := gzip.NewWriter(&layer)
	if _, err := zipped.Write(root); err != nil || zipped.Close() != nil {
		t.Fatal(err)
	}
	config := fmt.Appendf(nil, `{"architecture":"amd64","os":"linux","config":{"Entrypoint":["/busybox","sh","-c","echo pulled; exit 3"]},`+
		`"rootfs":{"type":"layers","diff_ids":["%s"]},"history":[{"created_by":"test"}]}`, digest(root))
	r := &fakeRegistry{blobs: map[string][]byte{digest(layer.Bytes()): layer.Bytes(), digest(config): config}}
	r.manifest = fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":"%s","config":{"mediaType":"application/vnd.docker.container.image.v1+json","size":%d,"digest":"%s"},`+
		`"layers":[{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","size":%d,"digest":"%s"}]}`,
		manifestType, len(config), digest(config), layer.Len(), digest(layer.Bytes()))
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	r.host = r.Listener.Addr().String()
	return r
}

func (r *fakeRegistry) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	user, password, _ := request.BasicAuth()
	path := strings.TrimPrefix(request.URL.Path, "/v2/")
	switch {
	case strings.HasPrefix(path, "broken/"):
		http.Error(w, "out of order", http.StatusInternalServerError)
	case user+":"+password != "alice:secret" && (path == "" || strings.HasPrefix(path, "private/")):
		w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED")
	case path == "":
		w.WriteHeader(http.StatusOK)
	case strings.Contains(path, "/manifests/absent"):
		refuse(w, http.StatusNotFound, "MANIFEST_UNKNOWN")
	case strings.Contains(path, "/manifests/"):
		r.asked.Add(1)
		w.Header().Set("Content-Type", manifestType)
		w.Header().Set("Docker-Content-Digest", digest(r.manifest))
		_, _ = w.Write(r.manifest)
	default:
		_, name, _ := strings.Cut(path, "/blobs/")
		_, _ = w.Write(r.blobs[name])
	}
}

func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []any{map[string]string{"code": code, "message": strings.ToLower(code)}}})
}

// TestPulls shows by what became of a Create what became of its pull: a pulled
// image's container says so and ends.
func TestPulls(t *testing.T) {
	t.Parallel()
	registry, engine := newRegistry(t), newEngine(t)
	config := testConfig(t)
	config.Pull = docker.PullAuto
	driver := openDriver(t, config)
	file := filepath.Join(t.TempDir(), "config.json")
	auths := fmt.Sprintf(`{"auths": {"http://%s/v2/": {"auth": "YWxpY2U6c2VjcmV0"}}}`, registry.host)
	if err := os.WriteFile(file, []byte(auths), 0o600); err != nil {
		t.Fatal(err)
	}
	credentials, err := docker.ReadCredentials(file)
	if err != nil {
		t.Fatal(err)
	}
	config = testConfig(t)
	config.Pull, config.Credentials = docker.PullAuto, credentials
	known := openDriver(t, config)

	pulled := "It said: pulled"
	for _, tt := range []struct {
		image  string
		driver whisk.Driver
		user   bool
		want   string
		asks   bool // the registry, and gets an answer
	}{
		{"open/image:1", known, true, pulled, true},
		{"open/image:1", known, true, pulled, false},
		{"open/moving", known, true, pulled, true},
		{"open/moving:latest", known, true, pulled, true},
		{"private/image:1", known, true, pulled, true},
		{"private/other:1", driver, true, "it needs a login", false},
		{"open/image:absent", known, true, "there is no such image or tag", false},
		{"broken/image:1", known, false, "pull image", false},
	} {
		before := registry.asked.Load()
		name := registry.host + "/" + tt.image
		t.Cleanup(func() { _, _ = engine.ImageRemove(context.Background(), name, client.ImageRemoveOptions{Force: true}) })
		_, err := tt.driver.Create(t.Context(), whisk.CreateSandbox{ID: "pulled", Spec: whisk.ContainerSpec{Kind: "blackbox", Image: name, Memory: 64 * whisk.MB}})
		_, user := errors.AsType[*whisk.CreateError](err)
		if err == nil || user != tt.user || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: Create = %v, want the user's fault %t and %q", tt.image, err, tt.user, tt.want)
		}
		if asked := registry.asked.Load() > before; asked != tt.asks {
			t.Errorf("%s: the registry was asked: %t", tt.image, asked)
		}
	}
}
