// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/whirl-faas/whirl/controller/apijson"
	"github.com/whirl-faas/whirl/whisk"
)

// storedAction is the body of an action's document. The name and the time of
// the write are the document's own.
type storedAction struct {
	Version     whisk.Version      `json:"version"`
	Publish     bool               `json:"publish"`
	Kind        string             `json:"kind"`
	Code        whisk.Digest       `json:"code,omitempty"`
	Size        whisk.Bytes        `json:"size"`
	Binary      bool               `json:"binary"`
	Main        string             `json:"main,omitempty"`
	Image       string             `json:"image,omitempty"`
	Parameters  whisk.Parameters   `json:"parameters"`
	Annotations whisk.Parameters   `json:"annotations"`
	Limits      whisk.ActionLimits `json:"limits"`
}

// documentOf returns the document to store for an action that replaces revision.
func documentOf(action whisk.Action, revision whisk.Revision) (whisk.Document, error) {
	body, err := json.Marshal(storedAction{
		Version: action.Version, Publish: action.Publish,
		Kind: action.Exec.Kind, Code: action.Exec.Code, Size: action.Exec.Size, Binary: action.Exec.Binary,
		Main: action.Exec.Main, Image: action.Exec.Image,
		Parameters: action.Parameters, Annotations: action.Annotations, Limits: action.Limits,
	})
	if err != nil {
		return whisk.Document{}, fmt.Errorf("encode %s: %w", action.Name, err)
	}
	return whisk.Document{
		Collection: whisk.Actions,
		Name:       action.Name,
		Revision:   revision,
		Updated:    action.Updated,
		Code:       action.Exec.Code,
		Summary:    apijson.AppendActionSummary(nil, action),
		Body:       body,
	}, nil
}

// actionOf reads an action's document.
func actionOf(doc whisk.Document) (whisk.Action, error) {
	var stored storedAction
	if err := json.Unmarshal(doc.Body, &stored); err != nil {
		return whisk.Action{}, whisk.Errorf(whisk.Internal, "Resource is corrupted and cannot be read.")
	}
	return whisk.Action{
		Name: doc.Name, Version: stored.Version, Publish: stored.Publish,
		Exec: whisk.Exec{
			Kind: stored.Kind, Code: stored.Code, Size: stored.Size, Binary: stored.Binary,
			Main: stored.Main, Image: stored.Image,
		},
		Parameters: stored.Parameters, Annotations: stored.Annotations, Limits: stored.Limits,
		Updated: doc.Updated,
	}, nil
}

// fetch reads an action. The errors for the user are those of a missing
// resource and of one that is no action.
func (c *Controller) fetch(ctx context.Context, name whisk.FullName) (whisk.Action, whisk.Revision, error) {
	doc, err := c.deps.Entities.Get(ctx, name)
	switch {
	case err != nil && whisk.KindOf(err) == whisk.NotFound:
		return whisk.Action{}, 0, errNotFound()
	case err != nil:
		return whisk.Action{}, 0, fmt.Errorf("get %s: %w", name, err)
	case doc.Collection != whisk.Actions:
		return whisk.Action{}, 0, errOtherCollection()
	}
	action, err := actionOf(doc)
	return action, doc.Revision, err
}

// enterPackage checks that the package of name may be used: packages themselves
// cannot be made yet, so this fails for every name that has one.
func (c *Controller) enterPackage(ctx context.Context, name whisk.FullName) error {
	if name.Package == "" {
		return nil
	}
	doc, err := c.deps.Entities.Get(ctx, whisk.FullName{Namespace: name.Namespace, Name: name.Package})
	switch {
	case err != nil && whisk.KindOf(err) == whisk.NotFound:
		return errNotFound()
	case err != nil:
		return fmt.Errorf("get the package of %s: %w", name, err)
	case doc.Collection != whisk.Packages:
		return errOtherCollection()
	}
	return nil
}

func errNotFound() error {
	return whisk.Errorf(whisk.NotFound, "The requested resource does not exist.")
}

func errOtherCollection() error {
	return whisk.Errorf(whisk.Conflict, "Resource by this name exists but is not in this collection.")
}

func errConcurrentWrite() error {
	return whisk.Errorf(whisk.Conflict, "Concurrent modification to resource detected.")
}

func errMalformed(format string, args ...any) error {
	return whisk.Errorf(whisk.Invalid, "The request content was malformed:\n"+format, args...)
}
