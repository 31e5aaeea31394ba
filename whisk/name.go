// SPDX-License-Identifier: Apache-2.0

package whisk

import (
	"fmt"
	"strconv"
	"strings"
)

// MaxNameLength is the longest name of an entity, package or namespace, in characters.
const MaxNameLength = 256

// CheckName reports whether s may name an entity or a package: 1 to 256
// characters of A-Z a-z 0-9 _ @ space . & -, beginning with a letter, digit or
// underscore and not ending in a space. The error is Invalid and carries
// OpenWhisk's text, its spelling included.
func CheckName(s string) error {
	if len(s) > MaxNameLength {
		return Errorf(Invalid, "Name segement longer than allowed: %d > %d.", len(s), MaxNameLength)
	}
	if !legalName(s) {
		return Errorf(Invalid, "The name of the entity contains illegal characters.")
	}
	return nil
}

// CheckNamespace is [CheckName] for namespaces, with their texts.
func CheckNamespace(s string) error {
	if len(s) > MaxNameLength {
		return Errorf(Invalid, "Namespace longer than allowed: %d > %d.", len(s), MaxNameLength)
	}
	if !legalName(s) {
		return Errorf(Invalid, "The namespace contains illegal characters.")
	}
	return nil
}

func legalName(s string) bool {
	if s == "" || !isWord(s[0]) || s[len(s)-1] == ' ' {
		return false
	}
	for i := 1; i < len(s); i++ {
		if c := s[i]; !isWord(c) && !strings.ContainsRune("@ .&-", rune(c)) {
			return false
		}
	}
	return true
}

func isWord(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// FullName names an entity completely: its namespace, its package and itself.
type FullName struct {
	Namespace string
	Package   string // "" for the default package
	Name      string
}

// Path returns "ns/name" or "ns/pkg/name", as activation records and document ids use it.
func (n FullName) Path() string {
	return n.Namespace + "/" + n.InNamespace()
}

// InNamespace returns "name" or "pkg/name".
func (n FullName) InNamespace() string {
	if n.Package == "" {
		return n.Name
	}
	return n.Package + "/" + n.Name
}

// PackageName returns the name of the package that n stands in, which must not
// be the default one.
func (n FullName) PackageName() FullName { return FullName{Namespace: n.Namespace, Name: n.Package} }

// String returns "/ns/name" or "/ns/pkg/name", the form in which users write it.
func (n FullName) String() string { return "/" + n.Path() }

// ParseFullName reads a name as users write it: "/ns/name" or "/ns/pkg/name", with
// or without the leading slash, where the namespace "_" stands for own. The
// error is Invalid and carries OpenWhisk's texts.
func ParseFullName(s, own string) (FullName, error) {
	var parts []string
	for part := range strings.SplitSeq(s, "/") {
		if part != "" {
			parts = append(parts, part)
		}
	}
	for _, part := range parts {
		if len(part) > MaxNameLength || !legalName(part) {
			return FullName{}, Errorf(Invalid, "requirement failed: path contains invalid parts List(%s)", strings.Join(parts, ", "))
		}
	}
	switch len(parts) {
	case 0, 1:
		return FullName{}, Errorf(Invalid, "requirement failed: The fully qualified name of the entity must contain at least the namespace and the name of the entity.")
	case 2, 3:
	default:
		return FullName{}, Errorf(Invalid, "requirement failed: The fully qualified name of the entity must not have more parts than its namespace, its package and its name.")
	}
	if parts[0] == "_" {
		parts[0] = own
	}
	name := FullName{Namespace: parts[0], Name: parts[len(parts)-1]}
	if len(parts) == 3 {
		name.Package = parts[1]
	}
	return name, nil
}

// Version is an entity's version, major.minor.patch.
type Version struct{ Major, Minor, Patch int }

// FirstVersion is the version of an entity that was just created.
var FirstVersion = Version{0, 0, 1}

// ParseVersion reads "major.minor.patch"; missing parts count as 0. 0.0.0 and
// anything else is Invalid.
func ParseVersion(s string) (Version, error) {
	var v Version
	parts := strings.Split(s, ".")
	fields := []*int{&v.Major, &v.Minor, &v.Patch}
	if len(parts) > len(fields) {
		return Version{}, badVersion(s)
	}
	for i, part := range parts {
		n, err := strconv.ParseUint(part, 10, 31)
		if err != nil {
			return Version{}, badVersion(s)
		}
		*fields[i] = int(n)
	}
	if v == (Version{}) {
		return Version{}, badVersion(s)
	}
	return v, nil
}

func badVersion(s string) error {
	return Errorf(Invalid, "bad version %q, want major.minor.patch above 0.0.0", s)
}

// Next returns v with its patch number raised by one.
func (v Version) Next() Version { return Version{v.Major, v.Minor, v.Patch + 1} }

// String returns "major.minor.patch".
func (v Version) String() string { return fmt.Sprintf("%d.%d.%d", v.Major, v.Minor, v.Patch) }

// MarshalText implements [encoding.TextMarshaler].
func (v Version) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (v *Version) UnmarshalText(text []byte) (err error) {
	*v, err = ParseVersion(string(text))
	return err
}
