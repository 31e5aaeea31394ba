// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/moby/moby/api/types/system"
	"github.com/moby/moby/client"

	"github.com/whirl-faas/whirl/driver/internal/cgroup"
	"github.com/whirl-faas/whirl/whisk"
)

// Driver makes sandboxes. It implements [whisk.Driver].
type Driver struct {
	config       Config
	log          *slog.Logger
	state        *stateDir
	engine       *client.Client
	network      string     // its name
	gateway      netip.Addr // this machine's address there
	walled       bool       // our firewall is in force
	devices      *devices   // nil if containers get their network from the engine
	relay        *relay     // to the API; nil if none is needed
	apiHost      string     // what sandboxes know the API by, "" for nothing
	freezer      Freezer    // what FreezeAuto came to
	frost        *cgroup.Frost
	capabilities whisk.Capabilities
	pulls        pulls
	mends        mends
	runtimes     map[string]system.RuntimeWithStatus // of the engine, by name
	usualRuntime string

	life  context.Context // ends with Close
	stop  context.CancelFunc
	loops sync.WaitGroup
	close sync.Once

	mu        sync.Mutex
	sandboxes map[whisk.ContainerID]*sandbox // those being made and those not destroyed
	byEngine  map[string]*sandbox            // the same, by the engine's id, once that is known
	addresses *addresses
}

var _ whisk.Driver = (*Driver)(nil)

// openTimeout bounds what Open asks of the engine.
const openTimeout = time.Minute

// Open takes hold of the instance, connects to the engine, and makes what the
// containers share. The error says what is wrong with the engine if it does not
// answer, and is Conflict if another process holds the instance.
func Open(config Config) (*Driver, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	d := &Driver{
		config:    config,
		log:       config.Logger,
		freezer:   config.Freezer,
		frost:     &cgroup.Frost{},
		pulls:     pulls{running: map[string]*pull{}},
		sandboxes: map[whisk.ContainerID]*sandbox{},
		byEngine:  map[string]*sandbox{},
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	d.life, d.stop = context.WithCancel(context.Background())
	state, err := openStateDir(config.stateDir())
	if err != nil {
		return nil, fmt.Errorf("open docker driver: %w", err)
	}
	d.state = state
	if err := d.open(); err != nil {
		return nil, fmt.Errorf("open docker driver: %w", errors.Join(err, d.Close()))
	}
	return d, nil
}

func (d *Driver) open() error {
	ctx, cancel := context.WithTimeout(d.life, openTimeout)
	defer cancel()
	options := []client.Opt{client.WithHostFromEnv(), client.WithTLSClientConfigFromEnv()}
	if d.config.Host != "" {
		options = []client.Opt{client.WithHost(d.config.Host)}
	}
	engine, err := client.New(options...)
	if err != nil {
		return whisk.Errorf(whisk.Invalid, "connect to the docker engine: %w", err)
	}
	d.engine = engine
	info, err := engine.Info(ctx, client.InfoOptions{})
	if err != nil {
		return whisk.Errorf(whisk.Unavailable, "the docker engine at %s does not answer: %w", engine.DaemonHost(), err)
	}
	d.runtimes, d.usualRuntime = info.Info.Runtimes, info.Info.DefaultRuntime
	if d.config.CPUs > float64(info.Info.NCPU) {
		return whisk.Errorf(whisk.Invalid, "%g CPUs per sandbox: the engine's machine has %d", d.config.CPUs, info.Info.NCPU)
	}
	if err := d.openNetwork(ctx); err != nil {
		return err
	}
	weak := d.openFirewall()
	if d.config.Ports != nil && !d.walled {
		return whisk.Errorf(whisk.Unavailable, "containers without a firewall are not published: %s", strings.Join(weak, "; "))
	}
	if d.devices, err = d.openDevices(info.Info, d.addresses.subnet); err != nil {
		d.log.Info("the engine connects containers, which takes it longer", "why", err)
		d.devices = nil
	}
	weak = append(weak, describeEngine(info.Info)...)
	if d.frost, err = cgroup.KeepFrozen("docker-" + d.config.Instance); err != nil {
		d.log.Debug("no cgroup is kept frozen", "err", err)
		d.frost = &cgroup.Frost{}
	}
	d.loops.Go(func() { d.watchLoop(d.life) })
	found, err := d.findOut(ctx, info.Info)
	if err != nil {
		return err
	}
	d.capabilities = d.describe(info.Info, found, weak)
	return nil
}

// Capabilities implements [whisk.Driver].
func (d *Driver) Capabilities() whisk.Capabilities { return d.capabilities }

// Ping implements [whisk.Driver].
func (d *Driver) Ping(ctx context.Context) error {
	if _, err := d.engine.Ping(ctx, client.PingOptions{}); err != nil {
		return whisk.Errorf(whisk.Unavailable, "the docker engine at %s does not answer: %w", d.engine.DaemonHost(), err)
	}
	return nil
}

// minMemory is the least that engines take.
const minMemory = 6 * whisk.MB

// Create implements [whisk.Driver].
func (d *Driver) Create(ctx context.Context, req whisk.CreateSandbox) (whisk.Sandbox, error) {
	if req.Spec.Memory < minMemory {
		return nil, &whisk.CreateError{Text: fmt.Sprintf("%s of memory are too little for a container, it needs %s", req.Spec.Memory, minMemory)}
	}
	s := newSandbox(d, req)
	if err := d.enter(s); err != nil {
		return nil, err
	}
	l := &launch{sandbox: s, req: req, name: containerName(d.config.Instance, req.ID, req.Label)}
	if err := l.run(ctx); err != nil {
		if left := l.undo(ctx); left != nil || l.unsure {
			d.undoLater(l)
			err = errors.Join(err, left)
		}
		return nil, fmt.Errorf("create sandbox %s: %w", req.ID, err)
	}
	return s, nil
}

// undoLater goes on undoing while the driver lives. After that the next Recover
// does. Where the engine may still make the container, it looks several times,
// and nobody gets the same id meanwhile.
func (d *Driver) undoLater(l *launch) {
	d.log.Warn("failed container not removed yet", "container", string(l.id))
	looks := 1
	if l.unsure {
		looks = 6 // a minute in all
	}
	d.loops.Go(func() {
		for wait := time.Second; looks > 0; wait = min(2*wait, time.Minute) {
			select {
			case <-time.After(wait):
			case <-d.life.Done():
				return
			}
			if l.undo(d.life) == nil {
				looks--
			}
		}
		d.forget(l.sandbox)
	})
}

// enter takes a sandbox into the books, and gives it an address unless it has one.
func (d *Driver) enter(s *sandbox) error {
	if !containerID(s.id) {
		return whisk.Errorf(whisk.Invalid, "container id %q must be letters, digits, _ and -", s.id)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sandboxes[s.id] != nil {
		return whisk.Errorf(whisk.Conflict, "there is a sandbox %s already", s.id)
	}
	if s.ip.IsValid() {
		d.addresses.hold(s.ip)
	} else if s.ip = d.addresses.take(); !s.ip.IsValid() {
		return whisk.Errorf(whisk.Unavailable, "all addresses of the network %s are in use", d.network)
	}
	d.sandboxes[s.id] = s
	if s.engineID != "" {
		d.byEngine[s.engineID] = s
	}
	return nil
}

// identify notes what the engine calls a sandbox.
func (d *Driver) identify(s *sandbox, engineID string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	s.engineID = engineID
	d.byEngine[engineID] = s
}

// forget gives back what enter gave to a sandbox of which nothing is left. It is
// idempotent.
func (d *Driver) forget(s *sandbox) {
	if !d.strike(s) {
		return
	}
	d.state.dropHosts(s.ip) // before another container has the address
	d.mu.Lock()
	defer d.mu.Unlock()
	d.addresses.giveBack(s.ip)
}

// strike takes a sandbox out of the books, and reports whether it was there.
func (d *Driver) strike(s *sandbox) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sandboxes[s.id] != s {
		return false
	}
	delete(d.sandboxes, s.id)
	delete(d.byEngine, s.engineID)
	return true
}

func (d *Driver) byEngineID(id string) *sandbox {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.byEngine[id]
}

// known returns the sandboxes that the engine knows.
func (d *Driver) known() []*sandbox {
	d.mu.Lock()
	defer d.mu.Unlock()
	known := make([]*sandbox, 0, len(d.byEngine))
	for _, s := range d.byEngine {
		known = append(known, s)
	}
	return known
}

func containerID(id whisk.ContainerID) bool {
	for _, c := range []byte(id) {
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c == '-') {
			return false
		}
	}
	return id != ""
}

// Close implements [whisk.Driver]. The network and the firewall stay for as
// long as there are containers of the instance.
func (d *Driver) Close() error {
	var errs []error
	d.close.Do(func() {
		d.stop()
		d.loops.Wait()
		errs = append(errs, d.frost.Close())
		if d.network != "" {
			ctx, cancel := context.WithTimeout(context.Background(), d.config.Grace)
			defer cancel()
			errs = append(errs, d.closeNetwork(ctx))
		}
		if d.engine != nil {
			errs = append(errs, d.engine.Close())
		}
		errs = append(errs, d.state.close())
	})
	return errors.Join(errs...)
}
