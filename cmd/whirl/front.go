// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/alarms"
	"github.com/whirl-faas/whirl/controller/apimgmt"
	"github.com/whirl-faas/whirl/controller/balancer"
	"github.com/whirl-faas/whirl/controller/catalog"
	"github.com/whirl-faas/whirl/controller/httpapi"
	"github.com/whirl-faas/whirl/controller/lookout"
	"github.com/whirl-faas/whirl/controller/meter"
	"github.com/whirl-faas/whirl/surface"
	"github.com/whirl-faas/whirl/whisk"
)

// front is the controller's part of a process: the API, the stores behind it,
// and the balancer by which activations reach containers.
type front struct {
	settings frontSettings
	id       whisk.ControllerID // a new one at each start
	offer    offer
	peers    *peers
	figures  []prometheus.Collector // of other roles in this process
	logger   *slog.Logger
	data     *data
	listener net.Listener
	dial     func(context.Context, whisk.Address) (net.Conn, error) // reaches containers
	lookout  *lookout.Lookout

	balancer   *balancer.Balancer
	alarms     *alarms.Service
	controller *controller.Controller
	server     *http.Server
	office     *office   // nil for none
	forwards   *forwards // nil for none
}

// openFront opens the stores and takes the address. name is what the
// controller's id begins with, "" for nothing.
func openFront(ctx context.Context, settings frontSettings, name string, logger *slog.Logger) (*front, error) {
	data, err := openData(ctx, settings.data, settings.logs, logger)
	if err != nil {
		return nil, err
	}
	f := &front{settings: settings, id: newControllerID(name), logger: logger, data: data, dial: dialContainer, lookout: lookout.New()}
	if f.listener, err = listenFor("listen", settings.listen); err != nil {
		return nil, errors.Join(err, f.close())
	}
	if err := ensureUsers(ctx, data.entities, settings.auth); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

func dialContainer(ctx context.Context, address whisk.Address) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, address.Network, address.Address)
}

func newControllerID(name string) whisk.ControllerID {
	id := uuid.NewString()
	if name != "" {
		id = name + "/" + id
	}
	return whisk.ControllerID(id)
}

// close frees what openFront took. What start started has ended by then.
func (f *front) close() error {
	var errs []error
	if f.listener != nil {
		errs = append(errs, closeListener(f.listener))
	}
	if f.office != nil {
		errs = append(errs, closeListener(f.office.listener))
	}
	if f.forwards != nil {
		errs = append(errs, closeListener(f.forwards.listener))
	}
	f.lookout.Crowd(nil)
	return errors.Join(append(errs, f.data.close())...)
}

// assemble makes the role, which reaches the others as ways says.
func (f *front) assemble(ways balancer.Deps) (err error) {
	config := balancer.Default()
	config.Controller = f.id
	if f.forwards != nil {
		config.Peers = f.forwards.address
	}
	ways.Logger = f.logger
	ways.DialContainer = f.dial
	ways.Lookout = f.lookout
	if f.balancer, err = balancer.New(config, ways); err != nil {
		return err
	}
	inner := admitting{f.balancer}
	if !f.watched() {
		return f.makeController(inner, nil)
	}
	counting := meter.New(inner, f.balancer.Snapshot)
	figures := surface.Metrics(append(f.figures, counting)...)
	if err := f.makeController(counting, figures); err != nil || f.settings.http.address == "" {
		return err
	}
	f.office, err = openOffice(f.settings.http, f.peers, surface.Watch{Ready: f.ready, Lacks: f.lacks, Metrics: figures}, nil)
	return err
}

// watched reports whether anybody could ask for figures.
func (f *front) watched() bool { return f.settings.apiMetrics || f.settings.http.address != "" }

// ready reports why activations could not be served.
func (f *front) ready(ctx context.Context) error {
	if _, err := f.data.entities.Subject(ctx, "guest"); err != nil && whisk.KindOf(err) != whisk.NotFound {
		return err
	}
	if f.balancer.Invokers() == nil {
		return errors.New("no node is known yet")
	}
	return nil
}

// lacks reports that logs cannot be read. Activations are served all the same, and
// in a cluster all controllers would be out of service at once.
func (f *front) lacks(ctx context.Context) error {
	if _, err := f.data.logs.Logs(ctx, "guest", "readyz"); err != nil {
		return errors.New("the log store is away: logs cannot be read")
	}
	return nil
}

// makeController makes the role and the server of its API, which has figures if
// that is wanted.
func (f *front) makeController(inner controller.Balancer, figures http.Handler) (err error) {
	config := controller.Default()
	config.ID = f.id
	config.DrainTimeout = f.settings.drain
	config.Retention = f.settings.retention
	config.Sequences = f.settings.sequences
	config.Limits.MaxAction.Concurrency = f.settings.concurrency
	f.settings.throttles.apply(&config.Limits)
	config.Namespaces = f.settings.throttles.namespaces
	if f.alarms, err = alarms.New(alarms.Default(), f.data.entities, f.logger); err != nil {
		return err
	}
	config.ExecuteOnly = f.settings.executeOnly
	config.KeepBlocking, config.KeepNonBlocking = f.settings.blocking, f.settings.others
	f.controller, err = controller.New(config, controller.Deps{
		Entities:    f.data.entities,
		Subjects:    f.data.entities,
		APIs:        f.data.entities,
		Blobs:       f.data.code,
		Activations: f.data.activations,
		Logs:        f.data.logs,
		Queue:       f.data.entities,
		Balancer:    inner,
		Manifest:    f.offer.manifest,
		Images:      f.offer.images,
		Builtins:    f.builtins(),
		Keys:        f.settings.keys,
		Secret:      f.data.secret,
		Hint:        f.offer.hint,
		Logger:      f.logger,
	})
	if err != nil {
		return err
	}
	var handler http.Handler = httpapi.New(httpapi.Config{
		Build: buildDate(), BuildNumber: version, VanityHost: f.settings.vanity, Logger: f.logger,
	}, f.controller)
	if f.settings.apiMetrics {
		handler = withFigures(handler, figures)
	}
	f.server = httpapi.Server(handler, f.connections(), f.logger)
	return nil
}

// connections is how many clients may be connected at once. Half of the files
// that the process may open are left for containers and stores, whatever was said.
func (f *front) connections() int {
	wanted := f.settings.connections
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil || files.Cur/2 >= uint64(wanted) {
		return wanted
	}
	f.logger.Warn("fewer connections than wanted: the process may open too few files", "wanted", wanted, "connections", files.Cur/2)
	return int(files.Cur / 2)
}

// builtins are the actions that are part of the platform.
func (f *front) builtins() map[whisk.FullName]controller.Builtin {
	all := f.alarms.Builtins(catalog.Alarms)
	maps.Copy(all, apimgmt.Builtins(catalog.APIManagement, apimgmt.Config{PublicURL: f.settings.publicURL, Logger: f.logger}))
	return all
}

// withFigures puts figures beside the API, where OpenWhisk has them.
func withFigures(api, figures http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" && r.Method == http.MethodGet {
			figures.ServeHTTP(w, r)
			return
		}
		api.ServeHTTP(w, r)
	})
}

// admitting is the balancer as the controller wants it: Go does not take a
// method that returns *balancer.Admission for one that returns the interface.
type admitting struct{ *balancer.Balancer }

func (a admitting) Admit(inv *whisk.Invocation) (controller.Admission, error) {
	admission, err := a.Balancer.Admit(inv)
	if err != nil {
		return nil, err
	}
	return admission, nil
}

// installCatalog brings the packages of whisk.system into the store, if they are wanted.
func (f *front) installCatalog(ctx context.Context) error {
	if !f.settings.catalog {
		return nil
	}
	return catalog.Install(ctx, f.controller, f.logger)
}

// start runs the role. It stops the other way round: the controller refuses new
// activations and finishes what it accepted while the API still answers, and
// what it runs for other controllers while they can still hear it.
func (f *front) start(ctx context.Context, parts *lifecycle) {
	parts.start(ctx, "balancer", f.balancer.Run)
	if f.forwards != nil {
		parts.start(ctx, "forwards", f.serveForwards)
	}
	parts.start(ctx, "API", f.serve)
	parts.start(ctx, "controller", f.controller.Run)
	parts.start(ctx, "alarms", func(ctx context.Context) error { return f.alarms.Run(ctx, f.controller) })
	if f.office != nil {
		parts.start(ctx, "HTTP", f.office.serve)
	}
}

// lastAnswers is how long requests may take to be answered once no activation
// runs any more.
const lastAnswers = 2 * time.Second

// serve answers requests until ctx ends.
func (f *front) serve(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- f.server.Serve(f.lookout.Listener(f.listener)) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastAnswers)
	defer cancel()
	err := f.server.Shutdown(patience)
	if errors.Is(err, context.DeadlineExceeded) {
		err = f.server.Close()
	}
	<-served
	return err
}

// url is where clients on this machine find the API.
func (f *front) url() string { return "http://" + f.listener.Addr().String() }
