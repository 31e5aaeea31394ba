// SPDX-License-Identifier: Apache-2.0

package runtimes_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/runtimes"
	"github.com/whirl-faas/whirl/whisk"
)

func TestParseReadsAnInstallationsFile(t *testing.T) {
	data, err := os.ReadFile("testdata/runtimes.json")
	if err != nil {
		t.Fatal(err)
	}
	got, err := runtimes.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	want := whisk.Manifest{
		Families: []whisk.RuntimeFamily{
			{Name: "java", Runtimes: []whisk.Runtime{{
				Kind: "java:8", Image: "registry.example.com:5000/openwhisk/java8action:nightly",
				Default: true, RequireMain: true, Attached: true, Sentinels: true,
			}}},
			{Name: "nodejs", Runtimes: []whisk.Runtime{
				{Kind: "nodejs:18", Image: "openwhisk/action-nodejs-v18:nightly", Attached: true, Sentinels: true},
				{
					Kind: "nodejs:20", Image: "openwhisk/action-nodejs-v20:nightly", Default: true, Attached: true, Sentinels: true,
					StemCells: []whisk.StemCell{
						{Count: 2, Memory: 256 * whisk.MB, Reactive: &whisk.ReactiveStemCell{Min: 1, Max: 4, TTL: 2 * time.Minute, Threshold: 1, Increment: 1}},
						{Count: 1, Memory: 512 * whisk.MB},
					},
				},
				{Kind: "nodejs:6", Image: "nodejs6action", Deprecated: true},
			}},
		},
		Blackboxes: []string{"openwhisk/dockerskeleton:nightly", "example"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestOpenWhisksRuntimesAreThere(t *testing.T) {
	manifest := runtimes.OpenWhisk()
	checkManifest(t, manifest)
	images := manifest.Images()
	for kind, image := range map[string]string{
		"nodejs:20": "openwhisk/action-nodejs-v20:nightly", "python:3.11": "openwhisk/action-python-v3.11:nightly",
		"java:8": "openwhisk/java8action:nightly", "rust:1.34": "openwhisk/action-rust-v1.34:nightly",
	} {
		if images[kind] != image {
			t.Errorf("%s is image %q, want %q", kind, images[kind], image)
		}
	}
	if len(images) != 13 {
		t.Errorf("there are %d kinds, want 13", len(images))
	}
	for family, kind := range map[string]string{
		"nodejs": "nodejs:20", "python": "python:3.10", "swift": "swift:5.3", "php": "php:8.1", "ruby": "ruby:2.5", "go": "go:1.20", "dotnet": "dotnet:3.1",
	} {
		if runtime, _ := manifest.Resolve(family + ":default"); runtime.Kind != kind {
			t.Errorf("%s:default is %s, want %s", family, runtime.Kind, kind)
		}
	}
	if runtime, _ := manifest.Resolve("java:8"); !runtime.RequireMain {
		t.Error("java:8 does not require an entry point")
	}
}

func TestLoadNamesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "runtimes.json")
	if _, err := runtimes.Load(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Load of a missing file = %v", err)
	}
	writeFile(t, path, `{"runtimes": {"a": []}}`)
	if _, err := runtimes.Load(path); err == nil || !strings.Contains(err.Error(), path) || whisk.KindOf(err) != whisk.Invalid {
		t.Errorf("Load = %v, want the file's name", err)
	}
	writeFile(t, path, `{"runtimes": {"a": [{"kind": "a:1", "image": {"name": "i"}}]}}`)
	if manifest, err := runtimes.Load(path); err != nil || manifest.Images()["a:1"] != "i" {
		t.Errorf("Load = %+v, %v", manifest, err)
	}
}

func TestParseNamesWhatIsWrong(t *testing.T) {
	runtime := func(fields string) string {
		return `{"runtimes":{"fam":[{"kind":"fam:1","image":{"name":"i"}` + fields + `}]}}`
	}
	stemCell := func(fields string) string { return runtime(`,"stemCells":[{` + fields + `}]`) }
	reactive := func(fields string) string {
		return stemCell(`"initialCount":1,"memory":"1 MB","reactive":{` + fields + `}`)
	}
	for _, test := range []struct {
		name, file string
		want       []string // are in the error
	}{
		{"no JSON", `{`, []string{"runtimes manifest", "JSON"}},
		{"wrong type", `{"runtimes":{"fam":[{"kind":1}]}}`, []string{"kind", "number"}},
		{"no runtimes", `{"description":[]}`, []string{`no field "runtimes"`}},
		{"empty family", `{"runtimes":{"fam":[]}}`, []string{`family "fam"`, "no runtime"}},
		{"no default", `{"runtimes":{"fam":[{"kind":"fam:1","image":{"name":"i"}},{"kind":"fam:2","image":{"name":"i"}}]}}`, []string{`family "fam"`, "no default"}},
		{"two defaults", `{"runtimes":{"fam":[{"kind":"fam:1","image":{"name":"i"},"default":true},{"kind":"fam:2","image":{"name":"i"},"default":true}]}}`, []string{`family "fam"`, "fam:1, fam:2"}},
		{"same kind twice", `{"runtimes":{"fam":[{"kind":"fam:1","image":{"name":"i"}},{"kind":"fam:1","image":{"name":"i"}}]}}`, []string{`kind "fam:1"`, `family "fam"`}},
		{"same kind in two families", `{"runtimes":{"a":[{"kind":"x:1","image":{"name":"i"}}],"b":[{"kind":"x:1","image":{"name":"i"}}]}}`, []string{`kind "x:1"`, `family "a"`, `family "b"`}},
		{"no kind", `{"runtimes":{"fam":[{"image":{"name":"i"}}]}}`, []string{`family "fam"`, "empty"}},
		{"upper-case kind", `{"runtimes":{"fam":[{"kind":"Fam:1","image":{"name":"i"}}]}}`, []string{`"Fam:1"`, "lower case"}},
		{"reserved kind", `{"runtimes":{"fam":[{"kind":"sequence","image":{"name":"i"}}]}}`, []string{`"sequence"`, "reserves"}},
		{"no image", `{"runtimes":{"fam":[{"kind":"fam:1"}]}}`, []string{`kind "fam:1"`, "image"}},
		{"nameless blackbox", `{"runtimes":{},"blackboxes":[{"name":"a"},{"tag":"b"}]}`, []string{"blackboxes[1]"}},
		{"no count", stemCell(`"memory":"256 MB"`), []string{`kind "fam:1"`, "stemCells[0]", "initialCount"}},
		{"count of 0", stemCell(`"count":0,"memory":"256 MB"`), []string{"initialCount"}},
		{"bad memory", stemCell(`"count":1,"memory":"much"`), []string{"memory", `"much"`}},
		{"no memory", stemCell(`"count":1,"memory":"0 B"`), []string{"memory"}},
		{"no ttl", reactive(`"maxCount":1,"threshold":1,"increment":1`), []string{"ttl"}},
		{"odd ttl", reactive(`"maxCount":1,"ttl":"2 fortnights","threshold":1,"increment":1`), []string{"ttl", `"2 fortnights"`}},
		{"endless ttl", reactive(`"maxCount":1,"ttl":"999999999999 days","threshold":1,"increment":1`), []string{"ttl"}},
		{"ttl of 0", reactive(`"maxCount":1,"ttl":"0 s","threshold":1,"increment":1`), []string{"ttl"}},
		{"max below min", reactive(`"minCount":2,"maxCount":1,"ttl":"2 m","threshold":1,"increment":1`), []string{"minCount", "maxCount"}},
		{"no threshold", reactive(`"maxCount":1,"ttl":"2 m","increment":1`), []string{"threshold"}},
		{"no increment", reactive(`"maxCount":1,"ttl":"2 m","threshold":1`), []string{"increment"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := runtimes.Parse([]byte(test.file))
			if err == nil {
				t.Fatal("it is taken")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error is %q, want %q in it", err, want)
				}
			}
			if whisk.KindOf(err) != whisk.Invalid {
				t.Errorf("the error's kind is %v, want invalid", whisk.KindOf(err))
			}
		})
	}
}

// Whatever Parse takes, the rest of the platform may rely on.
func FuzzParse(f *testing.F) {
	file, err := os.ReadFile("testdata/runtimes.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(file)
	f.Add([]byte(`{"runtimes":{"a":[{"kind":"a:1","image":{"name":"i"},"stemCells":[{"count":1,"memory":"1m","reactive":{"ttl":"1 day"}}]}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		manifest, err := runtimes.Parse(data)
		if err != nil {
			if whisk.KindOf(err) != whisk.Invalid {
				t.Errorf("the error's kind is %v: %v", whisk.KindOf(err), err)
			}
			return
		}
		checkManifest(t, manifest)
	})
}

// checkManifest holds a manifest to what package whisk promises of it.
func checkManifest(t *testing.T, manifest whisk.Manifest) {
	t.Helper()
	seen := make(map[string]bool)
	for _, family := range manifest.Families {
		defaults := 0
		for _, runtime := range family.Runtimes {
			if runtime.Default {
				defaults++
			}
			if seen[runtime.Kind] || runtime.Image == "" {
				t.Errorf("kind %q is there twice or has no image", runtime.Kind)
			}
			seen[runtime.Kind] = true
			if _, found := manifest.Resolve(runtime.Kind); !found {
				t.Errorf("kind %q does not resolve", runtime.Kind)
			}
			for _, cell := range runtime.StemCells {
				if cell.Count < 1 || cell.Memory < whisk.MB || cell.Reactive != nil && cell.Reactive.TTL <= 0 {
					t.Errorf("kind %q has the stem cell %+v", runtime.Kind, cell)
				}
			}
		}
		if defaults != 1 {
			t.Errorf("family %q has %d defaults", family.Name, defaults)
		}
	}
}
