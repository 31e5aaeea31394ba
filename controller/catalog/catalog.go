// SPDX-License-Identifier: Apache-2.0

// Package catalog holds the packages that come with the platform: utils, samples,
// alarms and apimgmt of the namespace whisk.system, as OpenWhisk users know them. It brings them
// into the store when a controller starts.
//
// Each entity that it writes has an annotation that says what was written, and as which
// version. So a start that finds all as it should be writes nothing, a newer program
// replaces what an older one wrote, and what an operator has changed or deleted since stays
// so. Several controllers may do that at once.
//
// docs/operations.md says what operators see of it.
package catalog

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"

	"github.com/whirl-faas/whirl/whisk"
)

// Namespace is where the packages are.
const Namespace = "whisk.system"

// Alarms is the package of the feeds whose code is in controller/alarms.
var Alarms = whisk.FullName{Namespace: Namespace, Name: "alarms"}

// APIManagement is the package of the actions whose code is in controller/apimgmt.
var APIManagement = whisk.FullName{Namespace: Namespace, Name: "apimgmt"}

//go:embed packages
var files embed.FS

// bundle is a package as its folder describes it.
type bundle struct {
	name        string
	Private     bool                       `json:"private"` // its actions are for the web alone
	Description string                     `json:"description"`
	Annotations map[string]json.RawMessage `json:"annotations"`
	Parameters  map[string]json.RawMessage `json:"parameters"`
	Actions     map[string]item            `json:"actions"`
}

// item is an action of a bundle. Its code is in a file of its name, unless it is built in.
type item struct {
	Kind        string                     `json:"kind"` // "" for the default one of nodejs
	Description string                     `json:"description"`
	Annotations map[string]json.RawMessage `json:"annotations"`
	code        string
}

// bundles reads the embedded packages, sorted by name.
func bundles() ([]bundle, error) {
	folders, err := fs.ReadDir(files, "packages")
	if err != nil {
		return nil, fmt.Errorf("read the catalog: %w", err)
	}
	found := make([]bundle, 0, len(folders))
	for _, folder := range folders {
		read, err := readBundle(folder.Name())
		if err != nil {
			return nil, fmt.Errorf("read the package %s of the catalog: %w", folder.Name(), err)
		}
		found = append(found, read)
	}
	return found, nil
}

func readBundle(name string) (bundle, error) {
	b := bundle{name: name}
	text, err := files.ReadFile(path.Join("packages", name, "package.json"))
	if err != nil {
		return b, err
	}
	if err := json.Unmarshal(text, &b); err != nil {
		return b, err
	}
	for action, made := range b.Actions {
		if made.Kind == "" {
			code, err := files.ReadFile(path.Join("packages", name, action+".js"))
			if err != nil {
				return b, err
			}
			made.code = string(code)
			b.Actions[action] = made
		}
	}
	return b, nil
}

// body is the body of a PUT.
type body struct {
	Exec        *exec             `json:"exec,omitempty"`
	Publish     bool              `json:"publish"`
	Version     string            `json:"version"`
	Annotations []whisk.Parameter `json:"annotations"`
	Parameters  []whisk.Parameter `json:"parameters"`
}

type exec struct {
	Kind string `json:"kind"`
	Code string `json:"code"`
}

// packageBody is a package without what the catalog has to note in it.
func (b bundle) body() body {
	return body{Publish: !b.Private, Annotations: listed(b.Annotations, b.Description), Parameters: listed(b.Parameters, "")}
}

// body is an action without what the catalog has to note in it. node is the kind of what
// has none of its own.
func (i item) body(node string) body {
	made := &exec{Kind: i.Kind, Code: i.code}
	if i.Kind == "" {
		made.Kind = node
	}
	return body{Exec: made, Annotations: listed(i.Annotations, i.Description), Parameters: []whisk.Parameter{}}
}

// listed makes a list, sorted by key, with a description before all if there is one.
func listed(values map[string]json.RawMessage, description string) []whisk.Parameter {
	list := []whisk.Parameter{}
	if description != "" {
		text, err := json.Marshal(description)
		if err != nil {
			panic(err) // a string always encodes
		}
		list = append(list, whisk.Parameter{Key: "description", Value: text})
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		list = append(list, whisk.Parameter{Key: key, Value: values[key]})
	}
	return list
}

// digest stands for all that is given.
func digest(of ...any) (string, error) {
	text, err := json.Marshal(of)
	if err != nil {
		return "", fmt.Errorf("encode the catalog: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8]), nil
}
