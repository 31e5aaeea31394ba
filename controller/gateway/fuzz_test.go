// SPDX-License-Identifier: Apache-2.0

package gateway_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/whirl-faas/whirl/controller/gateway"
)

// FuzzDocument has any text for an API: what is taken can be stored, read again,
// changed and served, and is then the same.
func FuzzDocument(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(`{"basePath":"a//b/","paths":{"/":{"get":{}}},"info":{"title":"t"},"x-gateway-configuration":{"assembly":{"execute":[{"invoke":{"target-url":"h://h/api/v1/web/a/b/c"}}]}}}`))
	f.Add([]byte(`{"basePath":"/","paths":[],"info":true}`))
	f.Add([]byte(`{"basePath":"/","paths":{"/{a}/{b}":{"post":{"operationId":7,"parameters":[null,{"name":"a"}]}}},"info":{"title":"t"},"x-ibm-rate-limit":[{"rate":1e-300,"units":1e300}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := gateway.Parse(text)
		if err != nil || d.Check("guest") != nil {
			return
		}
		stored, err := d.JSON()
		if err != nil {
			return
		}
		again, err := gateway.Stored(stored)
		if err != nil {
			t.Fatalf("%s cannot be read again: %v", stored, err)
		}
		if err := again.Check("guest"); err != nil {
			t.Fatalf("%s is refused later: %v", stored, err)
		}
		if gateway.TitleOf(stored) != d.Title() || again.BasePath() != d.BasePath() {
			t.Fatalf("%s has another name", stored)
		}
		if strings.Count(d.BasePath(), "/") > 20 {
			return // the path that follows may be too long
		}
		put(t, again, endpoint("get", "/fuzz/{id}", "one", "http"))
		if err := again.Check("guest"); err != nil {
			t.Fatalf("with one operation more: %v", err)
		}
		var routes gateway.Routes
		if err := routes.Add("guest", again); err != nil {
			t.Fatal(err)
		}
		if resource, _ := routes.Find(gateway.Path("", d.BasePath())[len("/api/"):] + "/fuzz/1"); resource == nil || resource.Operation("GET") == nil {
			t.Fatalf("the operation is not found in %s", stored)
		}
		if err := again.Remove("/fuzz/{id}", "get"); err != nil {
			t.Fatal(err)
		}
		left, err := again.JSON()
		if err == nil && bytes.Contains(left, []byte("/fuzz/{id}")) {
			t.Fatalf("something is left in %s", left)
		}
	})
}

// FuzzFind has any path for a request.
func FuzzFind(f *testing.F) {
	for _, path := range []string{"/", "", "//", "/base/p/1", "/base/p/%zz/", "/base//p/\x00", "/base/p/../{id}"} {
		f.Add(path)
	}
	d, err := gateway.Parse([]byte(sample))
	if err != nil {
		f.Fatal(err)
	}
	var routes gateway.Routes
	if err := routes.Add("guest", d); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, path string) {
		resource, rest := routes.Find(path)
		if resource == nil {
			return
		}
		if rest != "" && rest[0] != '/' {
			t.Errorf("%q leaves %q", path, rest)
		}
		resource.Operation("GET").Target(path, rest)
	})
}
