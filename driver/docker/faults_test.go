// SPDX-License-Identifier: Apache-2.0

//go:build docker

package docker_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/moby/moby/client"

	"github.com/whirl-faas/whirl/driver/docker"
	"github.com/whirl-faas/whirl/whisk"
)

// file is one of an image.
type file struct {
	name string
	mode int64
	body []byte
}

func archive(t testing.TB, files ...file) []byte {
	t.Helper()
	var buffer bytes.Buffer
	writer := tar.NewWriter(&buffer)
	for _, f := range files {
		if err := writer.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.body))}); err != nil {
			t.Fatal(err)
		}
		if _, err := writer.Write(f.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

func busybox(t testing.TB) file {
	t.Helper()
	path, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal(err)
	}
	body, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return file{"busybox", 0o755, body}
}

func newEngine(t testing.TB) *client.Client {
	t.Helper()
	engine, err := client.New(client.WithHostFromEnv())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { engine.Close() })
	return engine
}

// makeImage makes an image that is gone after the test.
func makeImage(t testing.TB, engine *client.Client, name string, root []byte, changes ...string) {
	t.Helper()
	repository, tag, _ := strings.Cut(name, ":")
	answer, err := engine.ImageImport(t.Context(), client.ImageImportSource{Source: bytes.NewReader(root), SourceName: "-"},
		repository, client.ImageImportOptions{Tag: tag, Changes: changes})
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(answer)
	answer.Close()
	if err != nil || bytes.Contains(text, []byte(`"error"`)) {
		t.Fatalf("import %s: %v: %s", name, err, text)
	}
	t.Cleanup(func() {
		if _, err := engine.ImageRemove(context.Background(), name, client.ImageRemoveOptions{Force: true}); err != nil {
			t.Errorf("remove image %s: %v", name, err)
		}
	})
}

// TestUsersMistakesAreToldToThem also holds that nothing of a container that
// could not start is left.
func TestUsersMistakesAreToldToThem(t *testing.T) {
	t.Parallel()
	engine := newEngine(t)
	config := testConfig(t)
	config.Pull = docker.PullNever
	driver := openDriver(t, config)
	box := busybox(t)
	for _, tt := range []struct {
		name    string
		root    []byte
		changes []string
		want    string
	}{
		{"no-command", archive(t, file{"a", 0o644, nil}), nil, "no entry point"},
		{"missing", archive(t, file{"a", 0o644, nil}), []string{`ENTRYPOINT ["/nosuch"]`}, "entry point"},
		{"missing-on-path", archive(t, file{"a", 0o644, nil}), []string{`ENTRYPOINT ["nosuch"]`}, "entry point"},
		{"not-executable", archive(t, file{"a", 0o644, []byte("hello")}), []string{`ENTRYPOINT ["/a"]`}, "entry point"},
		{"not-a-program", archive(t, file{"a", 0o755, []byte("hello")}), []string{`ENTRYPOINT ["/a"]`}, "exec format error"},
		{"unknown-user", archive(t, box), []string{`ENTRYPOINT ["/busybox", "true"]`, "USER ghost"}, "user"},
		{"ends", archive(t, box), []string{`ENTRYPOINT ["/busybox", "sh", "-c", "echo broken setting; exit 3"]`}, "status 3 before it listened on port 8080. It said: broken setting"},
		{"greedy", archive(t, box), []string{`ENTRYPOINT ["/busybox", "awk", "BEGIN { x = \"x\"; while (1) x = x x }"]`}, "needs more than 64 MB of memory"},
		{"absent", nil, nil, "Failed to pull container image 'whirl-test/absent:1'."},
		{"Bad Name", nil, nil, "not valid"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			name := "whirl-test/" + tt.name + ":1"
			if tt.root != nil {
				makeImage(t, engine, name, tt.root, tt.changes...)
			}
			spec := whisk.ContainerSpec{Kind: "blackbox", Image: name, Memory: 64 * whisk.MB}
			_, err := driver.Create(t.Context(), whisk.CreateSandbox{ID: "mistake", Spec: spec, Label: "guest/mis take"})
			fault, ok := errors.AsType[*whisk.CreateError](err)
			if !ok || !strings.Contains(fault.Text, tt.want) {
				t.Fatalf("Create = %v, want a CreateError with %q", err, tt.want)
			}
		})
	}
	wantContainers(t, engine, config.Instance, 0)
}

func wantContainers(t testing.TB, engine *client.Client, instance string, want int) {
	t.Helper()
	left, err := engine.ContainerList(t.Context(), client.ContainerListOptions{
		All: true, Filters: client.Filters{}.Add("label", "whirl.instance="+instance),
	})
	if err != nil || len(left.Items) != want {
		t.Errorf("there are %d containers, %v; want %d: %+v", len(left.Items), err, want, left.Items)
	}
}
