// SPDX-License-Identifier: Apache-2.0

package couchdb

import (
	"bytes"
	"encoding/json"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/whirl-faas/whirl/whisk"
)

type activationDocument struct {
	head
	ID       whisk.ActivationID `json:"activationId"`
	Subject  string             `json:"subject"`
	Start    moment             `json:"start"`
	End      moment             `json:"end"`      // 0 for triggers, which do not end
	Duration *int64             `json:"duration"` // ms
	Cause    whisk.ActivationID `json:"cause"`
	Logs     []string           `json:"logs"`
	Response struct {
		Status *int            `json:"statusCode"`
		Result json.RawMessage `json:"result"`
		Size   *int            `json:"size"`
	} `json:"response"`
}

// Activation reads a record, with its logs: those of OpenWhisk are in it.
func (d Document) Activation() (whisk.Activation, error) {
	doc := activationDocument{head: newHead(), Logs: []string{}}
	if err := d.decode(&doc); err != nil {
		return whisk.Activation{}, err
	}
	if err := doc.check(d); err != nil {
		return whisk.Activation{}, err
	}
	response, err := doc.response()
	if err != nil {
		return whisk.Activation{}, err
	}
	record := whisk.Activation{
		ID: doc.ID, Namespace: doc.Namespace, Subject: doc.Subject, Name: doc.Name, Package: doc.listed(),
		Version: doc.Version, Publish: doc.Publish, Start: doc.Start.Time, Cause: doc.Cause,
		Response: response, Annotations: doc.Annotations, Logs: doc.Logs,
	}
	if !doc.End.IsZero() && doc.End.UnixMilli() != 0 {
		record.End, record.Duration = doc.End.Time, doc.End.Sub(doc.Start.Time)
		if doc.Duration != nil {
			record.Duration = time.Duration(*doc.Duration) * time.Millisecond
		}
	}
	return record, nil
}

func (a activationDocument) check(d Document) error {
	if err := whisk.CheckActivationID(string(a.ID)); err != nil {
		return err
	}
	if err := whisk.CheckNamespace(a.Namespace); err != nil {
		return err
	}
	if a.Cause != "" {
		if err := whisk.CheckActivationID(string(a.Cause)); err != nil {
			return whisk.Errorf(whisk.Invalid, "its cause: %w", err)
		}
	}
	switch {
	case d.ID != a.Namespace+"/"+string(a.ID):
		return whisk.Errorf(whisk.Invalid, "it says that it is %s/%s", a.Namespace, a.ID)
	case a.Name == "":
		return whisk.Errorf(whisk.Invalid, "it has no name")
	case a.Start.IsZero():
		return whisk.Errorf(whisk.Invalid, "it has no start")
	}
	return nil
}

func (a activationDocument) response() (whisk.Response, error) {
	response := whisk.Response{Result: bytes.TrimSpace(a.Response.Result)}
	if status := a.Response.Status; status != nil {
		response.Status = whisk.Status(*status)
	}
	if response.Status < whisk.Success || response.Status > whisk.WhiskError {
		return whisk.Response{}, whisk.Errorf(whisk.Invalid, "its status code is %d and not 0 to 3", response.Status)
	}
	switch {
	case len(response.Result) == 0 || string(response.Result) == "null":
		response.Result = nil
		return response, nil
	case response.Result[0] != '{' && response.Result[0] != '[':
		return whisk.Response{}, whisk.Errorf(whisk.Invalid, "its result is neither an object nor an array")
	}
	response.Size = utf8.RuneCount(response.Result)
	if a.Response.Size != nil {
		response.Size = *a.Response.Size
	}
	return response, nil
}

// listed returns the package under which lists find the record: the binding that
// the action was called through, or else the one that it is in.
func (a activationDocument) listed() string {
	if _, pkg, _ := strings.Cut(a.annotation("binding"), "/"); pkg != "" {
		return pkg
	}
	if parts := strings.Split(a.annotation("path"), "/"); len(parts) == 3 {
		return parts[1]
	}
	return ""
}

// annotation returns the value of an annotation that is a string, and else "".
func (a activationDocument) annotation(key string) (value string) {
	if text := a.Annotations.Get(key); text != nil && json.Unmarshal(text, &value) != nil {
		return ""
	}
	return value
}
