// SPDX-License-Identifier: Apache-2.0

package web_test

import (
	"strings"
	"testing"

	"github.com/whirl-faas/whirl/controller/web"
	"github.com/whirl-faas/whirl/whisk"
)

func TestParseTarget(t *testing.T) {
	name := func(pkg, action string) whisk.FullName {
		return whisk.FullName{Namespace: "guest", Package: pkg, Name: action}
	}
	for path, want := range map[string]web.Target{
		"/guest/default/a":              {Action: name("", "a"), Extension: web.HTTP},
		"/guest/default/a.http":         {Action: name("", "a"), Extension: web.HTTP},
		"/guest/p/a.json":               {Action: name("p", "a"), Extension: web.JSON},
		"/guest/p/a.html/":              {Action: name("p", "a"), Extension: web.HTML, Path: "/"},
		"/guest/p/a.svg/b/c.json":       {Action: name("p", "a"), Extension: web.SVG, Path: "/b/c.json"},
		"/guest/p/a.text//x":            {Action: name("p", "a"), Extension: web.Text, Path: "//x"},
		"/guest/p/a.b.json":             {Action: name("p", "a.b"), Extension: web.JSON},
		"/guest/p/a.xyz":                {Action: name("p", "a.xyz"), Extension: web.HTTP},
		"/guest/p/a.JSON":               {Action: name("p", "a.JSON"), Extension: web.HTTP},
		"/guest/p/a.json.xyz/c":         {Action: name("p", "a.json.xyz"), Extension: web.HTTP, Path: "/c"},
		"/guest/p%20q/a%40b.json":       {Action: name("p q", "a@b"), Extension: web.JSON},
		"/guest/defaults/a":             {Action: name("defaults", "a"), Extension: web.HTTP},
		"/guest/default/a/x%20y%2Fz%41": {Action: name("", "a"), Extension: web.HTTP, Path: "/x%20y%2FzA"},
		`/guest/default/a/"ü"/!$'()*`:   {Action: name("", "a"), Extension: web.HTTP, Path: "/%22%C3%BC%22/!$'()*"},
		"/guest/default/a/%ff/..":       {Action: name("", "a"), Extension: web.HTTP, Path: "/%EF%BF%BD/.."},
	} {
		if got, ok := web.ParseTarget(path); !ok || got != want {
			t.Errorf("%s is %+v %t, want %+v", path, got, ok, want)
		}
	}
	for _, path := range []string{
		"", "/", "/guest", "/guest/default", "/guest/default/", "/guest//a", "//default/a", "guest/default/a", "/gu!est/default/a",
		"/guest/default/a%2Fb", "/guest/de%fault/a", "/guest/default/.json", "/guest/default/a%20", "/guest/default/" + strings.Repeat("a", 257),
	} {
		if got, ok := web.ParseTarget(path); ok {
			t.Errorf("%s is %+v, want nothing", path, got)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, seed := range []string{"/guest/default/a.json/x%20y", "/g/p/a//%2e%2e/ü", "/g/p/.http", "/%67/p/a.svg%2F"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		target, ok := web.ParseTarget(path)
		if !ok {
			return
		}
		if target.Path != "" && target.Path[0] != '/' {
			t.Errorf("path %q", target.Path)
		}
		again, ok := web.ParseTarget("/g/p/a" + target.Path)
		if !ok || again.Path != target.Path {
			t.Errorf("path %q is escaped to %q", target.Path, again.Path)
		}
	})
}
