// SPDX-License-Identifier: Apache-2.0

package couchdb

import (
	"encoding/json"
	"strings"

	"github.com/whirl-faas/whirl/whisk"
)

type actionDocument struct {
	head
	Exec   execDocument       `json:"exec"`
	Limits whisk.ActionLimits `json:"limits"`
}

type execDocument struct {
	Kind       string            `json:"kind"`
	Code       json.RawMessage   `json:"code"` // a string, or an attachment's name
	Jar        json.RawMessage   `json:"jar"`  // what java's was called once
	Main       string            `json:"main"`
	Image      string            `json:"image"`
	Binary     *bool             `json:"binary"`
	Components []json.RawMessage `json:"components"`
}

// Action reads an action, but for the digest and the size of its code, which is
// still to be read.
func (d Document) Action() (whisk.Action, Code, error) {
	doc := actionDocument{head: newHead(), Limits: whisk.DefaultActionLimits}
	if err := d.decode(&doc); err != nil {
		return whisk.Action{}, Code{}, err
	}
	name, err := doc.fullName(d, true)
	if err != nil {
		return whisk.Action{}, Code{}, err
	}
	if l := doc.Limits; l.Timeout <= 0 || l.Memory <= 0 || l.Logs < 0 || l.Concurrency < 1 {
		return whisk.Action{}, Code{}, whisk.Errorf(whisk.Invalid, "its limits make no sense: timeout %v, memory %v, logs %v, concurrency %d",
			l.Timeout, l.Memory, l.Logs, l.Concurrency)
	}
	exec, code, err := doc.Exec.read(d, name)
	if err != nil {
		return whisk.Action{}, Code{}, err
	}
	return whisk.Action{
		Name: name, Version: doc.Version, Publish: doc.Publish, Exec: exec, Parameters: doc.Parameters,
		Annotations: doc.Annotations, Limits: doc.Limits, Updated: doc.Updated.Time,
	}, code, nil
}

func (e execDocument) read(d Document, name whisk.FullName) (whisk.Exec, Code, error) {
	exec := whisk.Exec{Kind: strings.ToLower(strings.TrimSpace(e.Kind)), Main: e.Main}
	switch exec.Kind {
	case "":
		return whisk.Exec{}, Code{}, whisk.Errorf(whisk.Invalid, "its exec has no kind")
	case whisk.Sequence:
		// Some of old carry the code that once ran them, too.
		exec.Main = ""
		for _, text := range e.Components {
			component, err := parseReference(text, name.Namespace)
			if err != nil {
				return whisk.Exec{}, Code{}, whisk.Errorf(whisk.Invalid, "component: %w", err)
			}
			exec.Components = append(exec.Components, component)
		}
		return exec, Code{}, nil
	case whisk.Blackbox:
		if exec.Image = e.Image; exec.Image == "" {
			return whisk.Exec{}, Code{}, whisk.Errorf(whisk.Invalid, "its exec has no image")
		}
	}
	code, err := e.code(d)
	if err == nil && !code.there && exec.Kind != whisk.Blackbox {
		err = whisk.Errorf(whisk.Invalid, "its exec has no code")
	}
	exec.Binary = code.binary
	return exec, code, err
}

// parseReference reads the name of another entity: a string, or an object of a
// path and a name. A mere name is one of the namespace own.
func parseReference(text json.RawMessage, own string) (whisk.FullName, error) {
	var path string
	if json.Unmarshal(text, &path) != nil {
		var object struct{ Path, Name string }
		if json.Unmarshal(text, &object) != nil || object.Path == "" || object.Name == "" {
			return whisk.FullName{}, whisk.Errorf(whisk.Invalid, "%.200q is no name", text)
		}
		path = object.Path + "/" + object.Name
	}
	if !strings.Contains(path, "/") {
		path = own + "/" + path
	}
	return whisk.ParseFullName(path, own)
}
