// SPDX-License-Identifier: Apache-2.0

package whisk_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/whirl-faas/whirl/whisk"
)

// namePattern is OpenWhisk's, in Go's syntax.
var namePattern = regexp.MustCompile(`\A([A-Za-z0-9_]|[A-Za-z0-9_][A-Za-z0-9_@ .&-]{0,254}[A-Za-z0-9_@.&-])\z`)

func TestCheckName(t *testing.T) {
	for name, want := range map[string]string{
		"a":                      "",
		"_":                      "",
		"hello world":            "",
		"a@b.c&d-e":              "",
		strings.Repeat("x", 256): "",
		"":                       "The name of the entity contains illegal characters.",
		" a":                     "The name of the entity contains illegal characters.",
		"a ":                     "The name of the entity contains illegal characters.",
		"-a":                     "The name of the entity contains illegal characters.",
		"a/b":                    "The name of the entity contains illegal characters.",
		"ä":                      "The name of the entity contains illegal characters.",
		"a\n":                    "The name of the entity contains illegal characters.",
		strings.Repeat("x", 257): "Name segement longer than allowed: 257 > 256.",
	} {
		var got string
		if err := whisk.CheckName(name); err != nil {
			got = err.Error()
			if whisk.KindOf(err) != whisk.Invalid {
				t.Errorf("CheckName(%q) is %v, want invalid", name, whisk.KindOf(err))
			}
		}
		if got != want {
			t.Errorf("CheckName(%q) = %q, want %q", name, got, want)
		}
	}
}

func FuzzCheckName(f *testing.F) {
	for _, seed := range []string{"a", "a b", " ", "a\x00", "é", strings.Repeat("a", 257)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) {
		legal := whisk.CheckName(name) == nil
		if legal != (whisk.CheckNamespace(name) == nil) {
			t.Errorf("%q is legal for one of name and namespace only", name)
		}
		if legal != namePattern.MatchString(name) {
			t.Errorf("CheckName(%q) accepts it: %t, the pattern: %t", name, legal, !legal)
		}
	})
}

func TestVersion(t *testing.T) {
	for text, want := range map[string]whisk.Version{
		"0.0.1": {0, 0, 1}, "1": {1, 0, 0}, "1.2": {1, 2, 0}, "10.20.30": {10, 20, 30},
	} {
		got, err := whisk.ParseVersion(text)
		if err != nil || got != want {
			t.Errorf("ParseVersion(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "0.0.0", "1.2.3.4", "1..2", "-1", "a", "1.2.x", "99999999999"} {
		if _, err := whisk.ParseVersion(text); whisk.KindOf(err) != whisk.Invalid || err == nil {
			t.Errorf("ParseVersion(%q) = %v, want an invalid error", text, err)
		}
	}
	if got := (whisk.Version{Major: 1, Minor: 2, Patch: 3}).Next().String(); got != "1.2.4" {
		t.Errorf("after 1.2.3 comes %s, want 1.2.4", got)
	}
}

func TestFullName(t *testing.T) {
	plain := whisk.FullName{Namespace: "guest", Name: "hello"}
	packed := whisk.FullName{Namespace: "guest", Package: "utils", Name: "echo"}
	if plain.String() != "/guest/hello" || packed.Path() != "guest/utils/echo" || packed.InNamespace() != "utils/echo" {
		t.Errorf("got %s, %s, %s", plain, packed.Path(), packed.InNamespace())
	}
}

func TestParseFullName(t *testing.T) {
	for text, want := range map[string]whisk.FullName{
		"/_/a":             {Namespace: "me", Name: "a"},
		"_/a":              {Namespace: "me", Name: "a"},
		"ns/a":             {Namespace: "ns", Name: "a"},
		"/ns/pkg/a b":      {Namespace: "ns", Package: "pkg", Name: "a b"},
		"//_///pkg//_//":   {Namespace: "me", Package: "pkg", Name: "_"},
		"/ns/_":            {Namespace: "ns", Name: "_"},
		"a@b.c/p&q/x-1.js": {Namespace: "a@b.c", Package: "p&q", Name: "x-1.js"},
	} {
		got, err := whisk.ParseFullName(text, "me")
		if err != nil || got != want {
			t.Errorf("%q is %+v, %v, want %+v", text, got, err, want)
		}
	}
	const tooShort = "requirement failed: The fully qualified name of the entity must contain at least the namespace and the name of the entity."
	for text, want := range map[string]string{
		"":         tooShort,
		"/":        tooShort,
		"a":        tooShort,
		"/_/":      tooShort,
		"/a/b/c/d": "requirement failed: The fully qualified name of the entity must not have more parts than its namespace, its package and its name.",
		"/a/b%/c":  "requirement failed: path contains invalid parts List(a, b%, c)",
		"/a/ ":     "requirement failed: path contains invalid parts List(a,  )",
	} {
		if got, err := whisk.ParseFullName(text, "me"); err == nil || err.Error() != want || whisk.KindOf(err) != whisk.Invalid {
			t.Errorf("%q is %+v, %v, want the error %q", text, got, err, want)
		}
	}
}
