// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/whirl-faas/whirl/driver/internal/cgroup"
	"github.com/whirl-faas/whirl/driver/process/internal/keeper"
	"github.com/whirl-faas/whirl/driver/process/internal/usernet"
	"github.com/whirl-faas/whirl/driver/process/stage"
	"github.com/whirl-faas/whirl/whisk"
)

// Driver makes sandboxes. It implements [whisk.Driver].
type Driver struct {
	config       Config
	recipes      map[string]recipe
	apiHost      string // what sandboxes know the API by, "" for nothing
	rootless     bool
	log          *slog.Logger
	state        *stateDir
	program      *program // what sandboxes begin as
	self         *program // what they are shown at /whirl-self
	neighbours   string   // the parent of state directories, "" if there are no neighbours
	tree         *cgroup.Tree
	support      cgroup.Support
	uplink       *usernet.Uplink
	capabilities whisk.Capabilities
	left         []leftover         // what Recover has to take over
	stop         context.CancelFunc // of the loops
	loops        sync.WaitGroup
	close        sync.Once

	mu        sync.Mutex
	keeper    *keeper.Keeper                 // of the sandboxes that will be made
	sandboxes map[whisk.ContainerID]*sandbox // those being made and those not destroyed
	uids      map[int]bool                   // in use, as offsets from the first
	nextUID   int                            // where the search for a free one begins
}

// recipe is a Runtime, and the host directory that its files were written to.
type recipe struct {
	Runtime
	files string // "" for none
}

// A root agent gives each sandbox a user of its own; a sandbox in a user
// namespace is this user inside, and the agent's outside.
const (
	uidCount   = 1 << 16
	sandboxUID = 1000
)

var _ whisk.Driver = (*Driver)(nil)

// Open takes hold of the instance and makes a trial sandbox, so that a machine
// that cannot make any is found out now. The error then says what to change. It
// is Conflict if another process holds the instance.
func Open(config Config) (*Driver, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if config.Ports != nil && os.Geteuid() != 0 {
		return nil, whisk.Errorf(whisk.Denied, "open process driver: sandboxes can be published to other hosts by root alone")
	}
	d := &Driver{
		config:    config,
		rootless:  os.Geteuid() != 0,
		log:       config.Logger,
		sandboxes: map[whisk.ContainerID]*sandbox{},
		uids:      map[int]bool{},
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	dir, neighbours := config.stateDir()
	d.neighbours = neighbours
	tree := treeName(config.Instance, dir)
	state, err := openStateDir(dir, neighbours, tree)
	if err != nil {
		return nil, fmt.Errorf("open process driver: %w", err)
	}
	d.state = state
	if err := d.open(tree); err != nil {
		return nil, fmt.Errorf("open process driver: %w", errors.Join(err, d.Close()))
	}
	return d, nil
}

func (d *Driver) open(tree string) error {
	if err := d.unpackRuntimes(); err != nil {
		return err
	}
	var err error
	if d.program, err = openProgram(d.config.Program, "which sandboxes are to begin as"); err != nil {
		return err
	}
	if d.self, err = openProgram(d.config.Self, "which sandboxes are to be shown"); err != nil {
		return err
	}
	if d.tree, err = cgroup.Open(tree); err != nil {
		return err
	}
	d.support = d.tree.Support()
	if err := d.setUplink(); err != nil {
		return err
	}
	// Only now: where cgroups are delegated, opening them moved this process, and
	// the keeper has to be beside it.
	if err := d.openKeeper(); err != nil {
		return err
	}
	// A predecessor may have died in the middle of its own trial.
	if err := d.clear(); err != nil {
		return err
	}
	weak, err := d.trial()
	if err != nil {
		return err
	}
	d.capabilities = d.describe(weak)
	d.start()
	return nil
}

// trial makes a sandbox, and returns what is weaker here than it should be.
func (d *Driver) trial() (weak []string, err error) {
	weak, err = d.tryNetwork()
	if err != nil && d.keeper.Former() {
		// It may live in namespaces or cgroups that are not ours any more.
		if err = d.endLeft(err); err == nil {
			weak, err = d.tryNetwork()
		}
	}
	if err != nil && d.config.Program != "" {
		err = fmt.Errorf("sandboxes that begin as %s: %w", d.config.Program, err)
	}
	return weak, err
}

// start begins to watch over the sandboxes, for what the kernel does not do.
func (d *Driver) start() {
	ctx, cancel := context.WithCancel(context.Background())
	d.stop = cancel
	if !d.support.Memory || slices.ContainsFunc(d.left, func(one leftover) bool { return !one.support.Memory }) {
		d.loops.Go(func() { d.watchdogLoop(ctx) })
	}
	if d.keeper.Outlives() {
		d.loops.Go(func() { d.keeperLoop(ctx) })
	}
}

func (d *Driver) unpackRuntimes() error {
	d.recipes = make(map[string]recipe, len(d.config.Runtimes))
	for _, runtime := range d.config.Runtimes {
		recipe := recipe{Runtime: runtime}
		if runtime.Files != nil {
			var err error
			if recipe.files, err = d.state.unpack(runtime.Files); err != nil {
				return err
			}
		}
		d.recipes[runtime.Kind] = recipe
	}
	return nil
}

// setUplink says how sandboxes reach the outside, and finds the name that they
// know the API by: the gateway's, unless they share the host's network.
func (d *Driver) setUplink() error {
	d.uplink = &usernet.Uplink{Flows: d.config.Flows, Denied: d.config.Denied}
	if servers := d.config.Resolvers; servers != nil {
		d.uplink.Resolvers = func() []string { return servers }
	}
	if d.config.API == "" {
		return nil
	}
	address, port, err := apiAddress(d.config.API)
	if err != nil {
		return err
	}
	d.uplink.API, d.uplink.APIPort = address, port
	d.apiHost = d.config.API
	if d.config.Network != Host {
		location, err := url.Parse(d.config.API)
		if err != nil {
			return err
		}
		location.Host = usernet.GatewayName + ":" + strconv.Itoa(int(port))
		d.apiHost = location.String()
	}
	return nil
}

// tryNetwork makes a sandbox that ends at once, and another one without a
// network if the first could not have its own.
func (d *Driver) tryNetwork() (weak []string, err error) {
	err = d.try(d.config.Network)
	if failure, ok := errors.AsType[*stage.Failure](err); ok && failure.Step == stage.NetworkStep && d.config.Network == Outbound {
		if err = d.try(None); err == nil {
			d.config.Network = None
			return []string{adviseNetwork(failure)}, nil
		}
	}
	if err != nil {
		return nil, d.advise(err)
	}
	return nil, nil
}

func (d *Driver) try(network Network) error {
	ctx, cancel := context.WithTimeout(context.Background(), d.config.StartTimeout)
	defer cancel()
	s, err := d.reserve(whisk.CreateSandbox{ID: "trial", Spec: whisk.ContainerSpec{Memory: 128 * whisk.MB}})
	if err != nil {
		return err
	}
	s.network = network
	l := &launch{sandbox: s, probe: true}
	err = l.run(ctx)
	return errors.Join(err, l.undo(ctx))
}

// Capabilities implements [whisk.Driver].
func (d *Driver) Capabilities() whisk.Capabilities { return d.capabilities }

// Create implements [whisk.Driver].
func (d *Driver) Create(ctx context.Context, req whisk.CreateSandbox) (whisk.Sandbox, error) {
	recipe, known := d.recipes[req.Spec.Kind]
	switch {
	case req.Spec.Image != "":
		return nil, &whisk.CreateError{Text: fmt.Sprintf("container image %q cannot run here: the process driver runs no images", req.Spec.Image)}
	case !known:
		return nil, &whisk.CreateError{Text: fmt.Sprintf("kind %q has no runtime here, only %q", req.Spec.Kind, d.capabilities.Kinds)}
	case req.Spec.Memory < minMemory:
		return nil, &whisk.CreateError{Text: fmt.Sprintf("%s of memory are too little for a sandbox, it needs %s", req.Spec.Memory, minMemory)}
	}
	s, err := d.reserve(req)
	if err != nil {
		return nil, err
	}
	l := &launch{sandbox: s, recipe: recipe, env: req.Env}
	if err := l.run(ctx); err != nil {
		return nil, fmt.Errorf("create sandbox %s: %w", req.ID, errors.Join(err, l.undo(ctx)))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	s.built = true
	return s, nil
}

// minMemory is what the stage needs to get as far as the runtime's exec.
const minMemory = 16 * whisk.MB

// reserve enters a sandbox that is about to be made, and gives it a user.
func (d *Driver) reserve(req whisk.CreateSandbox) (*sandbox, error) {
	if !containerName(req.ID) {
		return nil, whisk.Errorf(whisk.Invalid, "container id %q must be letters, digits, _ and -", req.ID)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sandboxes[req.ID] != nil {
		return nil, whisk.Errorf(whisk.Conflict, "there is a sandbox %s already", req.ID)
	}
	uid := sandboxUID
	if !d.rootless {
		if len(d.uids) == uidCount {
			return nil, whisk.Errorf(whisk.Unavailable, "all %d user ids are in use", uidCount)
		}
		for d.uids[d.nextUID] {
			d.nextUID = (d.nextUID + 1) % uidCount
		}
		d.uids[d.nextUID] = true
		uid = d.firstUID() + d.nextUID
		// Not the same again at once: a freed id rests as long as possible.
		d.nextUID = (d.nextUID + 1) % uidCount
	}
	s := newSandbox(d, req, uid)
	s.network = d.config.Network
	d.sandboxes[req.ID] = s
	return s, nil
}

func containerName(id whisk.ContainerID) bool {
	for _, c := range []byte(id) {
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c == '-') {
			return false
		}
	}
	return id != ""
}

// firstUID begins the instance's range of users. By default it lies above all
// ranges that systemd knows a use for.
func (d *Driver) firstUID() int {
	if d.config.FirstUID != 0 {
		return d.config.FirstUID
	}
	hash := fnv.New32a()
	hash.Write([]byte(d.state.path))
	return 1_900_000_000 + int(hash.Sum32()%1024)*uidCount
}

// forget gives back what reserve gave to a sandbox of which nothing is left.
func (d *Driver) forget(s *sandbox) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.sandboxes, s.id)
	delete(d.uids, s.uid-d.firstUID())
}

// running returns the sandboxes that were built and have not ended. Those that
// are being built still see the host's file systems.
func (d *Driver) running() []*sandbox {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.DeleteFunc(slices.Collect(maps.Values(d.sandboxes)), func(s *sandbox) bool {
		return !s.built || s.life.Err() != nil
	})
}

// clear removes what nobody has any more: what dead agents left, or we.
func (d *Driver) clear() error {
	d.mu.Lock()
	var kept []string
	for id := range d.sandboxes {
		kept = append(kept, string(id))
	}
	d.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(d.tree.Sweep(ctx, kept...), d.state.clearSockets(kept))
}

// Ping implements [whisk.Driver]. There is no engine between us and the kernel.
func (d *Driver) Ping(ctx context.Context) error { return ctx.Err() }

// Close implements [whisk.Driver].
func (d *Driver) Close() error {
	var err error
	d.close.Do(func() {
		err = d.closeOnce()
		err = errors.Join(err, d.program.close(), d.self.close())
	})
	return err
}

func (d *Driver) closeOnce() error {
	if d.stop != nil {
		d.stop()
	}
	d.loops.Wait()
	switch {
	case d.keeper == nil && d.config.Grace > 0:
		return d.state.leave() // what may be there is not ours
	case d.keeper != nil && d.keeper.Outlives() && len(d.sandboxes) > 0:
		return d.leaveAll()
	}
	var err error
	if d.keeper != nil {
		err = d.keeper.End()
	}
	if d.tree != nil {
		err = errors.Join(err, d.clear(), d.tree.Close())
	}
	return errors.Join(err, d.state.close())
}

// leaveAll leaves the sandboxes to the next process.
func (d *Driver) leaveAll() error {
	for _, one := range d.left { // nobody called Recover
		if one.device != nil {
			one.device.Close()
		}
	}
	for _, s := range d.sandboxes {
		s.leave()
	}
	d.keeper.Close()
	return d.state.leave()
}
