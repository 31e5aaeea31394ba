// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/whirl-faas/whirl/controller/gateway"
	"github.com/whirl-faas/whirl/whisk"
)

// An API is a document that its namespace offers to the web. Its URL has the uuid
// of the namespace in it and not its name, as with OpenWhisk's gateway; it is kept
// under the name, so that it outlives a change of the key.

const (
	// maxAPIs is how many a namespace may have. Those who make some at the same time
	// may get a few more.
	maxAPIs = 100
	// apiAttempts is how often a change is tried again because others change the
	// same API. One of all who try succeeds each time.
	apiAttempts = 200
)

// APIView is an API as it is shown to its owner.
type APIView struct {
	Path     string          // where it is served, escaped: "/api/{uuid}/{base path}"
	Document json.RawMessage // not to be modified
}

// APIs returns a namespace's APIs, sorted by base path: the one of that base path
// or, if which does not begin with a slash, those of that name; all for "".
func (c *Controller) APIs(ctx context.Context, namespace, which string) ([]APIView, error) {
	owner, err := c.Owner(ctx, namespace)
	if err != nil {
		return nil, err
	}
	stored, err := c.deps.APIs.APIs(ctx, namespace)
	if err != nil {
		return nil, fmt.Errorf("find the APIs: %w", err)
	}
	var views []APIView
	for _, api := range stored {
		if which == "" || isAPI(api, which) {
			views = append(views, viewOf(owner, api))
		}
	}
	return views, nil
}

func viewOf(owner *Caller, api whisk.API) APIView {
	return APIView{gateway.Path(owner.UUID, api.BasePath), api.Document}
}

// isAPI reports whether an API has that base path or, without a slash, that name.
func isAPI(api whisk.API, which string) bool {
	if strings.HasPrefix(which, "/") {
		return api.BasePath == gateway.BasePath(which)
	}
	return gateway.TitleOf(api.Document) == which
}

// PutAPI stores a whole API, in place of one of the same base path.
func (c *Controller) PutAPI(ctx context.Context, namespace string, document *gateway.Document) (APIView, error) {
	return c.changeAPI(ctx, namespace, document.BasePath(), func(*gateway.Document) (*gateway.Document, error) {
		return document, nil
	})
}

// PutAPIOperation adds an operation to the API of that base path or name, or
// replaces it. If there is no such API it is made, with that base path and title.
func (c *Controller) PutAPIOperation(ctx context.Context, namespace, which, title string, endpoint gateway.Endpoint) (APIView, error) {
	return c.changeAPI(ctx, namespace, which, func(document *gateway.Document) (*gateway.Document, error) {
		if document == nil {
			document = gateway.New(which, title)
		}
		return document, document.Put(endpoint)
	})
}

// DeleteAPI deletes the API of that base path or name or, if a path is given, takes
// that path out of it or, with a verb, one operation. An API that has no paths any
// more is deleted. The error is NotFound if there is no such thing.
func (c *Controller) DeleteAPI(ctx context.Context, namespace, which, path, verb string) error {
	_, err := c.changeAPI(ctx, namespace, which, func(document *gateway.Document) (*gateway.Document, error) {
		switch {
		case document == nil:
			return nil, whisk.Errorf(whisk.NotFound, "API '%s' does not exist.", which)
		case path == "":
			return nil, nil
		}
		err := document.Remove(path, verb)
		if err != nil || document.Empty() {
			return nil, err
		}
		return document, nil
	})
	return err
}

// changeAPI replaces an API by what change makes of it, again and again until
// nobody else changed it meanwhile. change gets nil if there is none, and
// returns nil to have it deleted.
func (c *Controller) changeAPI(ctx context.Context, namespace, which string, change func(*gateway.Document) (*gateway.Document, error)) (APIView, error) {
	owner, err := c.Owner(ctx, namespace)
	if err != nil {
		return APIView{}, err
	}
	for range apiAttempts {
		stored, err := c.deps.APIs.APIs(ctx, namespace)
		if err != nil {
			return APIView{}, fmt.Errorf("find the APIs: %w", err)
		}
		former := pickAPI(stored, which)
		next, err := changed(former, change)
		if err != nil {
			return APIView{}, err
		}
		if former.Revision == 0 && next != nil && len(stored) >= maxAPIs {
			return APIView{}, whisk.Errorf(whisk.Invalid, "The namespace has %d APIs, as many as it may have.", maxAPIs)
		}
		view, err := c.storeAPI(ctx, owner, former, next)
		if !is(err, whisk.Conflict) && !is(err, whisk.NotFound) {
			return view, err
		}
	}
	return APIView{}, errConcurrentWrite
}

// pickAPI returns the API of a base path or name, one without a revision if there
// is none. A name that no API has may be a base path without its slash.
func pickAPI(stored []whisk.API, which string) whisk.API {
	for _, wanted := range []string{which, gateway.BasePath(which)} {
		i := slices.IndexFunc(stored, func(api whisk.API) bool { return isAPI(api, wanted) })
		if i >= 0 {
			return stored[i]
		}
	}
	return whisk.API{}
}

func changed(former whisk.API, change func(*gateway.Document) (*gateway.Document, error)) (*gateway.Document, error) {
	if former.Revision == 0 {
		return change(nil)
	}
	document, err := gateway.Stored(former.Document)
	if err != nil {
		return nil, fmt.Errorf("read the API %s of %s: %w", former.BasePath, former.Namespace, err)
	}
	return change(document)
}

// storeAPI stores next in place of former. The error is Conflict or NotFound if it
// is not what is stored any more.
func (c *Controller) storeAPI(ctx context.Context, owner *Caller, former whisk.API, next *gateway.Document) (APIView, error) {
	if next == nil {
		err := c.deps.APIs.DeleteAPI(ctx, owner.Namespace, former.BasePath, former.Revision)
		c.offers.invalidate(owner.UUID, owner.UUID)
		return APIView{}, wrap(err, "delete the API")
	}
	if err := next.Check(owner.Namespace); err != nil {
		return APIView{}, err
	}
	text, err := next.JSON()
	if err != nil {
		return APIView{}, err
	}
	api := whisk.API{Namespace: owner.Namespace, BasePath: next.BasePath(), Revision: former.Revision, Document: text}
	_, err = c.deps.APIs.PutAPI(ctx, api)
	c.offers.invalidate(owner.UUID, owner.UUID)
	return viewOf(owner, api), wrap(err, "put the API")
}

// wrap says what was tried, and makes an error one for the operator. nil stays nil.
func wrap(err error, tried string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", tried, err)
}

// Offer is what a namespace offers to the web by its APIs.
type Offer struct {
	Routes    gateway.Routes
	subject   string
	namespace string
}

// Offer returns what is served below "/api/{tenant}", where the tenant is the uuid
// of a namespace. The result is shared and must not be modified. It is NotFound
// if there is no such namespace, or if its owner is blocked.
func (c *Controller) Offer(ctx context.Context, tenant string) (*Offer, error) {
	if offer, ok := c.offers.get(tenant); ok {
		return offer, nil
	}
	return c.offers.load(ctx, tenant, tenant, func(ctx context.Context) (*Offer, error) {
		return c.loadOffer(ctx, tenant)
	})
}

func (c *Controller) loadOffer(ctx context.Context, tenant string) (*Offer, error) {
	subject, err := c.deps.Subjects.Lookup(ctx, tenant)
	switch {
	case is(err, whisk.NotFound), subject.Blocked:
		return nil, errNotFound()
	case err != nil:
		return nil, fmt.Errorf("look up the tenant %s: %w", tenant, err)
	}
	i := slices.IndexFunc(subject.Namespaces, func(n whisk.SubjectNamespace) bool { return n.UUID == tenant })
	if i < 0 {
		return nil, errNotFound()
	}
	offer := &Offer{subject: subject.Name, namespace: subject.Namespaces[i].Name}
	stored, err := c.deps.APIs.APIs(ctx, offer.namespace)
	if err != nil {
		return nil, fmt.Errorf("find the APIs of %s: %w", offer.namespace, err)
	}
	for _, api := range stored {
		document, err := gateway.Stored(api.Document)
		if err == nil {
			err = offer.Routes.Add(offer.namespace, document)
		}
		if err != nil { // it was right when it was stored
			c.deps.Logger.Error("API not served", "namespace", api.Namespace, "base", api.BasePath, "err", err)
		}
	}
	return offer, nil
}

// forgetAPIs drops what is cached of a namespace's APIs.
func (c *Controller) forgetAPIs(namespace string) {
	c.offers.invalidateIf(func(_ string, offer *Offer) bool { return offer.namespace == namespace })
}

// Controllers returns how many controllers share what namespaces may do, this one
// included; at least 1.
func (c *Controller) Controllers() int { return c.deps.Balancer.Controllers() }
