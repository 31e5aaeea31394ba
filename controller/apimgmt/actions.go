// SPDX-License-Identifier: Apache-2.0

package apimgmt

import (
	"context"
	"encoding/json"
	"log/slog"
	"strconv"
	"strings"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/whisk"
)

// Config says what the actions tell of the platform.
type Config struct {
	PublicURL string       // by which clients reach the platform, without a path; "" for the one that they used
	Logger    *slog.Logger // nil discards
}

// Builtins returns the code of the actions of a package: getApi, createApi and
// deleteApi.
func Builtins(pkg whisk.FullName, config Config) map[whisk.FullName]controller.Builtin {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	config.Logger = config.Logger.With("component", "apimgmt")
	named := func(name string) whisk.FullName {
		return whisk.FullName{Namespace: pkg.Namespace, Package: pkg.Name, Name: name}
	}
	return map[whisk.FullName]controller.Builtin{
		named("createApi"): config.action(pkg.Namespace, createAPI),
		named("getApi"):    config.action(pkg.Namespace, getAPI),
		named("deleteApi"): config.action(pkg.Namespace, deleteAPI),
	}
}

// action makes a builtin of what answers the arguments. owner is the namespace that
// it is in.
func (c Config) action(owner string, answer func(context.Context, request) (any, error)) controller.Builtin {
	return func(ctx context.Context, call controller.BuiltinCall) whisk.Response {
		r := request{Config: c, on: call.On}
		if json.Unmarshal(call.Arguments, &r.arguments) != nil {
			r.arguments = nil // of an array there is nothing to take
		}
		// Over the web it runs in its owner's name, and the platform says who calls.
		// Where others can run it in another way, they could say that themselves.
		if r.user = call.Caller.Namespace; r.user == owner {
			r.user = r.arguments.text("__ow_user")
		}
		result, err := answer(ctx, r)
		if err != nil {
			return r.refuse(err)
		}
		return r.respond(result)
	}
}

// request is one call of an action.
type request struct {
	Config
	on        *controller.Controller
	user      string // the namespace whose APIs are meant; "" if nobody proved to be somebody
	arguments fields
}

// respond answers with a body, or with what a web action says to have that body sent.
func (r request) respond(body any) whisk.Response {
	if r.arguments["__ow_method"] != nil {
		body = message{200, jsonType, body}
	}
	return whisk.Response{Status: whisk.Success, Result: encode(body)}
}

// refuse answers with what is wrong. Web actions make of it what an action that
// is none makes of its failure.
func (r request) refuse(err error) whisk.Response {
	var reason any = r.textOf(err)
	if r.arguments["__ow_method"] != nil {
		reason = message{502, jsonType, map[string]any{"error": reason}}
	}
	return whisk.Response{Status: whisk.ApplicationError, Result: encode(map[string]any{"error": reason})}
}

// textOf is what the user gets to know of an error.
func (r request) textOf(err error) string {
	if _, forUser := err.(*whisk.Error); forUser {
		return err.Error()
	}
	r.Logger.Error("API management failed", "err", err)
	return "There was an internal server error."
}

// message is a web action's result.
type message struct {
	StatusCode int               `json:"statusCode"`
	Headers    map[string]string `json:"headers"`
	Body       any               `json:"body"`
}

var jsonType = map[string]string{"Content-Type": "application/json"}

func encode(value any) json.RawMessage {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // it consists of text and of JSON
	}
	return text
}

// item is an API as clients read it, of which only the value says anything.
type item struct {
	ID    string `json:"id"`
	Key   string `json:"key"`
	Value value  `json:"value"`
}

type value struct {
	Namespace   string          `json:"namespace"`
	GwAPIUrl    string          `json:"gwApiUrl"`
	GwAPIActive bool            `json:"gwApiActivated"`
	TenantID    string          `json:"tenantId"`
	APIDoc      json.RawMessage `json:"apidoc"`
}

// unused is what OpenWhisk has in the fields that are there for older clients.
const unused = "Not Used"

func (r request) valueOf(view controller.APIView) value {
	return value{unused, r.origin() + view.Path, true, unused, view.Document}
}

// origin is the beginning of URLs of this platform.
func (r request) origin() string {
	if r.PublicURL != "" {
		return strings.TrimSuffix(r.PublicURL, "/")
	}
	header := r.arguments.object("__ow_headers")
	scheme, host := header.text("x-forwarded-proto"), header.text("x-forwarded-host")
	if scheme != "https" {
		scheme = "http"
	}
	if host == "" {
		host = header.text("host")
	}
	return scheme + "://" + host
}

// getAPI lists the caller's APIs.
func getAPI(ctx context.Context, r request) (any, error) {
	if r.user == "" {
		return nil, whisk.Errorf(whisk.Denied, "Invalid authentication.")
	}
	switch strings.ToLower(r.arguments.text("outputFormat")) {
	case "", "apigw", "swagger":
	default:
		return nil, whisk.Errorf(whisk.Invalid, "Invalid outputFormat value. Valid values are: apigw, swagger")
	}
	limit, err := r.count("limit")
	if err != nil {
		return nil, err
	}
	skip, err := r.count("skip")
	if err != nil {
		return nil, err
	}
	views, err := r.on.APIs(ctx, r.user, r.arguments.text("basepath"))
	if err != nil {
		return nil, err
	}
	views = views[min(skip, len(views)):]
	if limit > 0 {
		views = views[:min(limit, len(views))]
	}
	items := make([]item, 0, len(views))
	for _, view := range views {
		items = append(items, item{unused, unused, r.valueOf(view)})
	}
	return map[string]any{"apis": items}, nil
}

// count reads a number of APIs, 0 if it is not given.
func (r request) count(name string) (int, error) {
	text := r.arguments.text(name)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return 0, whisk.Errorf(whisk.Invalid, "The value '%s' of %s is not a number of APIs.", text, name)
	}
	return int(n), nil
}

// deleteAPI deletes an API or a part of it.
func deleteAPI(ctx context.Context, r request) (any, error) {
	base, path, verb := r.arguments.text("basepath"), r.arguments.text("relpath"), r.arguments.text("operation")
	switch {
	case r.user == "":
		return nil, whisk.Errorf(whisk.Denied, "Invalid authentication.")
	case base == "":
		return nil, whisk.Errorf(whisk.Invalid, "basepath is required.")
	case path == "" && verb != "":
		return nil, whisk.Errorf(whisk.Invalid, "When specifying an operation, the path is required.")
	}
	if err := r.on.DeleteAPI(ctx, r.user, base, path, verb); err != nil {
		return nil, whisk.Errorf(whisk.KindOf(err), "API deletion failure: %s", r.textOf(err))
	}
	return map[string]any{}, nil
}

// createAPI makes an API of a document, or adds an operation to one.
func createAPI(ctx context.Context, r request) (any, error) {
	if r.user == "" {
		return nil, whisk.Errorf(whisk.Denied, "A valid auth key is required.")
	}
	wanted, err := readCreation(r.arguments, r.user)
	if err != nil {
		return nil, err
	}
	view, err := r.create(ctx, wanted)
	if err != nil {
		return nil, whisk.Errorf(whisk.KindOf(err), "API creation failure: %s", r.textOf(err))
	}
	return r.valueOf(view), nil
}

func (r request) create(ctx context.Context, wanted creation) (controller.APIView, error) {
	if wanted.document == nil {
		return r.on.PutAPIOperation(ctx, r.user, wanted.base, wanted.title, wanted.endpoint)
	}
	return r.on.PutAPI(ctx, r.user, wanted.document)
}
