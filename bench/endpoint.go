// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"github.com/whirl-faas/whirl/client"
	"github.com/whirl-faas/whirl/whisk"
)

// endpoint is an API that is measured.
type endpoint struct {
	name    string // "platform" or "versus"
	tag     string // in the actions' names: the same platform may be both
	client  *client.Client
	base    string // "scheme://host[:port]"
	address whisk.Address
	auth    string

	others []*endpoint // the same API in other namespaces
}

func newEndpoint(name, tag, host, auth string) (*endpoint, error) {
	api, err := client.New(client.Config{APIHost: host, Auth: auth})
	if err != nil {
		return nil, err
	}
	if !strings.Contains(host, "://") {
		host = "https://" + host
	}
	root, err := url.Parse(strings.TrimSuffix(host, "/"))
	if err != nil {
		return nil, whisk.Errorf(whisk.Invalid, "bad API host %q: %w", host, err)
	}
	address := root.Host
	if root.Port() == "" {
		address = net.JoinHostPort(root.Hostname(), map[string]string{"http": "80", "https": "443"}[root.Scheme])
	}
	return &endpoint{
		name:    name,
		tag:     tag,
		client:  api,
		base:    root.String(),
		address: whisk.Address{Network: "tcp", Address: address},
		auth:    auth,
	}, nil
}

// join adds namespaces by their keys.
func (e *endpoint) join(auths []string) error {
	for i, auth := range auths {
		other, err := newEndpoint(e.name, fmt.Sprintf("%s-%d", e.tag, i+1), e.base, auth)
		if err != nil {
			return err
		}
		e.others = append(e.others, other)
	}
	return nil
}

func (e *endpoint) close() {
	for _, other := range e.others {
		other.close()
	}
	e.client.Close()
}

// authorization is the value of the header.
func (e *endpoint) authorization() string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(e.auth))
}

// build is what the server tells of its version, "" if it tells nothing.
func (e *endpoint) build(ctx context.Context) string {
	api, err := e.client.APIInfo(ctx)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(api.Build + " " + api.BuildNumber)
}

// actionName makes the name of an action of this run, from its kind and what it is for.
func (e *endpoint) actionName(kind, purpose string) string {
	name := fmt.Sprintf("whirl-bench-%s-%s", e.tag, family(kind))
	if purpose != "" {
		name += "-" + purpose
	}
	return name
}

// deploy makes an action, which is among what was made from before it is sent:
// the server may make it and the answer be lost.
func (e *endpoint) deploy(ctx context.Context, made *leavings, name string, spec client.ActionSpec) (client.Action, error) {
	made.add(deployed{e, name})
	action, err := e.client.CreateAction(ctx, name, spec)
	if err != nil {
		if _, refused := errors.AsType[*client.Error](err); refused {
			made.forget(deployed{e, name})
		}
		return client.Action{}, fmt.Errorf("deploy an action of kind %s: %w", spec.Exec.Kind, err)
	}
	return action, nil
}

// target is where blocking invokes of some actions go, in turns, each with the
// same parameters.
func (e *endpoint) target(actions []deployed, parameters, want []byte) target {
	t := target{
		addresses: []whisk.Address{e.address},
		tls:       strings.HasPrefix(e.base, "https:"),
		auth:      e.authorization(),
		judge:     judgeRecord,
	}
	for _, action := range actions {
		t.calls = append(t.calls, call{uri: e.uri(action.name), auth: action.endpoint.authorization(), body: parameters, want: want})
	}
	return t
}

// deployed is an action, and the endpoint in whose namespace it is.
type deployed struct {
	endpoint *endpoint
	name     string
}

// own are actions in the endpoint's own namespace.
func (e *endpoint) own(names ...string) (actions []deployed) {
	for _, name := range names {
		actions = append(actions, deployed{e, name})
	}
	return actions
}

func (e *endpoint) uri(name string) string {
	return e.base + "/api/v1/namespaces/_/actions/" + name + "?blocking=true"
}
