// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/apidocs"
	"github.com/whirl-faas/whirl/controller/lookout"
	"github.com/whirl-faas/whirl/whisk"
)

// API is what the routes need of a [controller.Controller].
type API interface {
	Limits() whisk.Limits
	LimitsOf(caller *controller.Caller) *whisk.Limits
	Runtimes() whisk.Manifest
	Invokers() []whisk.NodeStanding
	Authenticate(ctx context.Context, header string) (*controller.Caller, error)

	MayList(ctx context.Context, caller *controller.Caller, listing controller.Listing) error
	List(ctx context.Context, caller *controller.Caller, listing controller.Listing, page controller.Page) ([]json.RawMessage, error)
	Count(ctx context.Context, caller *controller.Caller, listing controller.Listing, skip int) (int, error)

	AdmitCall(caller *controller.Caller) error
	AdmitFire(caller *controller.Caller) error
	MayInvoke(ctx context.Context, caller *controller.Caller, action whisk.FullName) error
	MayWait(ctx context.Context, caller *controller.Caller, action whisk.FullName) error
	MayRead(ctx context.Context, caller *controller.Caller, action whisk.FullName) error
	MayChange(ctx context.Context, caller *controller.Caller, action whisk.FullName) error
	Action(ctx context.Context, caller *controller.Caller, name whisk.FullName, withCode bool) (controller.ActionView, error)
	PutAction(ctx context.Context, caller *controller.Caller, name whisk.FullName, body []byte, overwrite bool) (whisk.Action, []byte, error)
	DeleteAction(ctx context.Context, caller *controller.Caller, name whisk.FullName) (whisk.Action, []byte, error)
	Invoke(ctx context.Context, call controller.Call, wait time.Duration) (controller.Answer, error)
	Submit(ctx context.Context, call controller.Call) (whisk.ActivationID, error)
	WebAction(ctx context.Context, name whisk.FullName, caller *controller.Caller) (*controller.WebAction, error)
	InvokeWeb(ctx context.Context, call controller.WebCall, wait time.Duration) (controller.Answer, error)
	Offer(ctx context.Context, tenant string) (*controller.Offer, error)
	Controllers() int

	Package(ctx context.Context, caller *controller.Caller, name whisk.FullName) (controller.PackageView, error)
	PutPackage(ctx context.Context, caller *controller.Caller, name whisk.FullName, body []byte, overwrite bool) (whisk.Package, error)
	DeletePackage(ctx context.Context, caller *controller.Caller, name whisk.FullName, force bool) (whisk.Package, error)

	Trigger(ctx context.Context, caller *controller.Caller, name whisk.FullName) (whisk.Trigger, error)
	PutTrigger(ctx context.Context, caller *controller.Caller, name whisk.FullName, body []byte, overwrite bool) (whisk.Trigger, error)
	DeleteTrigger(ctx context.Context, caller *controller.Caller, name whisk.FullName) (whisk.Trigger, error)
	Fire(ctx context.Context, call controller.FireCall) (whisk.ActivationID, error)

	Rule(ctx context.Context, caller *controller.Caller, name whisk.FullName) (controller.RuleView, error)
	PutRule(ctx context.Context, caller *controller.Caller, name whisk.FullName, body []byte, overwrite bool) (controller.RuleView, error)
	DeleteRule(ctx context.Context, caller *controller.Caller, name whisk.FullName) (controller.RuleView, error)
	SetRuleStatus(ctx context.Context, caller *controller.Caller, name whisk.FullName, body []byte) error

	Activation(ctx context.Context, caller *controller.Caller, namespace string, id whisk.ActivationID) (whisk.Activation, error)
	ActivationWithLogs(ctx context.Context, caller *controller.Caller, namespace string, id whisk.ActivationID) (whisk.Activation, error)
	Activations(ctx context.Context, caller *controller.Caller, namespace string, filter controller.ActivationFilter, page controller.Page, full bool) ([]whisk.Activation, error)
	CountActivations(ctx context.Context, caller *controller.Caller, namespace string, filter controller.ActivationFilter, skip int) (int, error)
}

// Config holds what the API shows of itself and how it names transactions.
type Config struct {
	Build          string        // date of the build, for GET /api/v1
	BuildNumber    string        // for GET /api/v1
	NewTransaction func() string // nil for 32 random letters and digits
	VanityHost     string        // requests to {namespace}.VanityHost are for web actions; "" for none
	Logger         *slog.Logger  // nil discards
}

// Handler serves the API.
type Handler struct {
	api            API
	logger         *slog.Logger
	newTransaction func() string
	vanity         string // what the host ends in that names a namespace, "" for nothing
	info           []byte // of GET /
	version        []byte // of GET /api/v1
	docs           *apidocs.Library
	buffers        buffers
	rooms          rooms // for long bodies
}

// New returns a handler of the use cases of api.
func New(config Config, api API) *Handler {
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	if config.NewTransaction == nil {
		config.NewTransaction = newTransaction
	}
	vanity := ""
	if config.VanityHost != "" {
		vanity = "." + strings.ToLower(config.VanityHost)
	}
	return &Handler{
		api:            api,
		logger:         config.Logger.With("component", "httpapi"),
		newTransaction: config.NewTransaction,
		vanity:         vanity,
		info:           infoDocument(api.Limits(), api.Runtimes()),
		version:        versionDocument(config.Build, config.BuildNumber),
		docs:           apidocs.New(),
		rooms:          newRooms(),
	}
}

// exchange is one request and the means to answer it.
type exchange struct {
	*Handler
	w           http.ResponseWriter
	r           *http.Request
	transaction string
	caller      *controller.Caller // nil on routes that need no credentials
	namespace   string             // whose request it is, "" if nobody's
	begun       time.Time          // when its head had been read
	answered    bool               // the status line is out
	refused     bool               // by 429 or 503
	traced      bool               // what it runs leaves a record however it ends
	timed       bool               // who calls wants to know where the time went
	pretty      bool               // errors go over several lines, as those of web actions do
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{Handler: h, w: w, r: r, begun: time.Now(), transaction: h.transactionOf(r)}
	w.Header()[headerTransaction] = []string{x.transaction}
	x.traced = takeSwitch(r, headerExtraLogging)
	x.timed = takeSwitch(r, headerTiming)
	defer x.recoverPanic()
	x.route()
	lookout.Note(r.Context(), x.namespace, x.refused)
}

// recoverPanic answers a request whose handling broke down.
func (x *exchange) recoverPanic() {
	cause := recover()
	if cause == nil {
		return
	}
	if cause == http.ErrAbortHandler {
		panic(cause)
	}
	x.logger.Error("request panicked", "transaction", x.transaction, "method", x.r.Method, "path", x.r.URL.Path, "panic", cause, "stack", string(debug.Stack()))
	if x.answered {
		panic(http.ErrAbortHandler) // the client must not take half an answer for a whole one
	}
	x.fail(http.StatusInternalServerError, defaultText(http.StatusInternalServerError))
}
