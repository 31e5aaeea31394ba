// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/whirl-faas/whirl/driver/internal/cgroup"
	"github.com/whirl-faas/whirl/driver/process/internal/keeper"
	"github.com/whirl-faas/whirl/driver/process/internal/usernet"
	"github.com/whirl-faas/whirl/whisk"
)

// How sandboxes outlive this process, where the configuration gives them a grace. The keeper is
// their parent, and holds the other ends of what we hold of them: the reading ends of
// their output and the device of their network. With that goes a note of what else the
// next agent must know. All that is changed later can be seen from outside: whether
// it has ended, or is frozen.

// note is what the next agent must know of a sandbox.
type note struct {
	Spec      whisk.ContainerSpec
	UID       int
	Network   Network
	Socket    string         `json:",omitempty"`
	Published netip.AddrPort `json:",omitzero"`
	Namespace string
	Files     string         `json:",omitempty"` // of its runtime, that it is shown
	Support   cgroup.Support // of its group
	Group     *cgroup.Group  `json:",omitempty"`
}

// keep tells the keeper what the next agent must know, if there is to be one that takes over.
func (s *sandbox) keep(files string, device *os.File) error {
	s.files = files
	kept := []*os.File{s.stdout, s.stderr}
	if device != nil {
		kept = append(kept, device)
	}
	return s.keeper.Keep(string(s.id), note{
		Spec: s.spec, UID: s.uid, Network: s.network, Socket: s.socket, Published: s.published,
		Namespace: s.namespace, Files: files, Support: s.support, Group: s.group,
	}, s.group, kept...)
}

// watch waits for the sandbox's end, and for what has to end it.
func (s *sandbox) watch() {
	s.loops.Go(s.waitLoop)
	if s.memoryEvent != nil {
		s.loops.Go(s.memoryLoop)
	}
}

// connect runs the network behind a device. What connections a former agent's had, this
// one knows nothing of, and resets.
func (s *sandbox) connect(device *os.File) {
	stack := usernet.New(device, s.driver.uplink)
	s.loops.Go(func() {
		if err := stack.Run(s.life); err != nil {
			s.driver.log.Warn("sandbox network ended", "container", s.id, "err", err)
		}
	})
}

// leftover is a sandbox of a former agent that waits for Recover.
type leftover struct {
	*sandbox
	device *os.File // nil if it has none
}

// reserveLeft enters what a former agent left, so that nothing else gets its id, its user
// or its cgroup. What cannot be understood is killed.
func (d *Driver) reserveLeft(left []keeper.Left) error {
	var errs []error
	for _, one := range left {
		found, err := d.understand(one)
		if err != nil {
			d.log.Warn("sandbox of a former agent not taken over", "container", one.ID, "err", err)
			one.Close()
			errs = append(errs, d.keeper.Release(one.ID))
			continue
		}
		d.left = append(d.left, found)
		d.sandboxes[found.id] = found.sandbox
		if offset := found.uid - d.firstUID(); !d.rootless && 0 <= offset && offset < uidCount {
			d.uids[offset] = true
		}
	}
	return errors.Join(errs...)
}

func (d *Driver) understand(one keeper.Left) (leftover, error) {
	var n note
	if err := json.Unmarshal(one.Note, &n); err != nil {
		return leftover{}, err
	}
	id := whisk.ContainerID(one.ID)
	switch {
	case !containerName(id) || n.Spec.Memory <= 0 || n.Namespace == "" || len(one.Files) < 2:
		return leftover{}, whisk.Errorf(whisk.Invalid, "what is known of it is not enough")
	case n.Published.IsValid() != (d.config.Ports != nil):
		return leftover{}, whisk.Errorf(whisk.Conflict, "sandboxes are published to other hosts, or are not any more")
	case n.Published.IsValid() && !d.config.Ports.Guards(n.Published):
		return leftover{}, whisk.Errorf(whisk.Conflict, "it is published on %s, which this agent does not guard", n.Published)
	}
	s := newSandbox(d, whisk.CreateSandbox{ID: id, Spec: n.Spec}, n.UID)
	s.network, s.socket, s.published, s.files = n.Network, n.Socket, n.Published, n.Files
	s.namespace, s.support, s.group = n.Namespace, n.Support, n.Group
	s.stdout, s.stderr = one.Files[0], one.Files[1]
	s.first = &firstProcess{id: one.ID, keeper: d.keeper, file: one.PID, exit: one.Exit}
	found := leftover{sandbox: s}
	if len(one.Files) > 2 {
		found.device = one.Files[2]
	}
	return found, nil
}

// Recover implements [whisk.Driver]. It takes over what a former process of this
// instance left with a keeper, and clears what dead agents of neighbouring instances left.
func (d *Driver) Recover(ctx context.Context) ([]whisk.Sandbox, error) {
	var found []whisk.Sandbox
	var ports map[netip.AddrPort]int
	var errs []error
	for _, one := range d.left {
		if err := one.adopt(ctx); err != nil {
			d.log.Warn("sandbox of a former agent not taken over", "container", one.id, "err", err)
			errs = append(errs, one.stdout.Close(), one.stderr.Close(), one.Destroy(ctx))
			continue
		}
		found = append(found, one.sandbox)
		if one.published.IsValid() {
			if ports == nil {
				ports = map[netip.AddrPort]int{}
			}
			ports[one.published] = one.owner()
		}
	}
	d.left = nil
	if d.config.Ports != nil {
		errs = append(errs, d.config.Ports.Keep(ports))
	}
	return found, errors.Join(append(errs, d.clearFiles(), d.clearNeighbours(ctx))...)
}

// adopt makes a leftover work. It is frozen if it was, or if somebody had begun to freeze it.
func (l leftover) adopt(ctx context.Context) error {
	d := l.driver
	var err error
	if l.group != nil && l.first.exit == nil {
		l.memoryEvent, err = l.group.WatchMemory()
	}
	l.watch()
	d.mu.Lock()
	l.built = true
	d.mu.Unlock()
	if l.device != nil && l.network == d.config.Network {
		l.connect(l.device)
	} else if l.device != nil {
		l.device.Close()
	}
	switch {
	case err != nil:
		return err
	case l.network != d.config.Network:
		return whisk.Errorf(whisk.Conflict, "its network is %s, and that of sandboxes here is %s", l.network, d.config.Network)
	}
	if l.group != nil {
		l.giveShare() // whether it had started or not
	}
	if l.group != nil && l.group.OutOfMemory() {
		l.killOutOfMemory() // while nobody watched
	}
	return l.settleFreeze(ctx)
}

func (l leftover) settleFreeze(ctx context.Context) error {
	frozen := l.support.Freeze && l.group.Frozen() || !l.support.Freeze && anyStopped(l.namespace)
	if !frozen {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, freezeTime)
	defer cancel()
	if err := l.Suspend(ctx); err != nil && whisk.KindOf(err) != whisk.NotFound { // that is its end, which its watcher sees
		return err
	}
	return nil
}

const freezeTime = 5 * time.Second

// owner is who may answer on the sandbox's published port and do nothing else in the host's
// network; 0 if its user is at home there.
func (s *sandbox) owner() int {
	if s.network == Host {
		return 0
	}
	return s.uid
}

// clearFiles removes what former agents showed to sandboxes that are gone.
func (d *Driver) clearFiles() error {
	used := map[string]bool{}
	for _, recipe := range d.recipes {
		used[recipe.files] = true
	}
	d.mu.Lock()
	for _, s := range d.sandboxes {
		used[s.files] = true
	}
	d.mu.Unlock()
	return d.state.clearFiles(used)
}

func (d *Driver) clearNeighbours(ctx context.Context) error {
	if d.neighbours == "" {
		return nil // Open has cleared the own instance
	}
	return deadNeighbours(d.neighbours, d.state.path, func(name string) error {
		tree, err := cgroup.Open(name)
		if err != nil {
			return err
		}
		d.log.Info("clearing a dead instance", "tree", name)
		return errors.Join(tree.Sweep(ctx), tree.Close())
	})
}

// leave ends all that we have of a sandbox, which goes on for the next agent.
func (s *sandbox) leave() {
	s.end(errLeft)
	for _, file := range []*os.File{s.stdout, s.stderr, s.memoryEvent} {
		if file != nil {
			file.Close() // or it was before
		}
	}
	if s.first != nil {
		s.first.close()
	}
	s.loops.Wait()
}

// errLeft is what calls get that come after this process gave a sandbox up.
var errLeft = errors.New("the sandbox is left to the next agent")

// keeperLoop notices the death of the keeper, with which all sandboxes end, and starts another.
func (d *Driver) keeperLoop(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.currentKeeper().Gone():
		}
		dead := d.running()
		d.log.Error("the keeper of sandboxes died, and they with it", "sandboxes", len(dead))
		for _, s := range dead {
			s.kill() // a frozen one cannot die by itself
		}
		for {
			err := d.renewKeeper()
			if err == nil {
				break
			}
			d.log.Error("no keeper of sandboxes can be started", "err", err)
			select {
			case <-ctx.Done():
				return
			case <-time.After(keeperPause):
			}
		}
	}
}

const keeperPause = time.Second

func (d *Driver) currentKeeper() *keeper.Keeper {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.keeper
}

// renewKeeper takes a new keeper in the place of one that has died. What a keeper may have for us
// none of ours wants.
func (d *Driver) renewKeeper() error {
	next, left, err := keeper.Attach(d.keeperConfig())
	if err != nil {
		return err
	}
	for _, one := range left {
		one.Close()
		err = errors.Join(err, next.Release(one.ID))
	}
	d.mu.Lock()
	former := d.keeper
	d.keeper = next
	d.mu.Unlock()
	former.Close()
	return err
}

// openKeeper takes the keeper that there is, or starts one. Without a grace it is a
// thread of this process.
func (d *Driver) openKeeper() (err error) {
	if d.config.Grace == 0 {
		if err := keeper.Clear(d.state.path); err != nil { // of a former process, which had a grace
			return err
		}
		d.keeper = keeper.Local(d.program.file)
		return nil
	}
	k, left, err := keeper.Attach(d.keeperConfig())
	if err != nil {
		return err
	}
	d.keeper = k
	return d.reserveLeft(left)
}

func (d *Driver) keeperConfig() keeper.Config {
	return keeper.Config{Dir: d.state.path, Program: d.program.file, Grace: d.config.Grace, Logger: d.log}
}

// endLeft gives all up that a former agent left, with its keeper, where that is of no use for us.
func (d *Driver) endLeft(cause error) error {
	d.log.Warn("the keeper of a former agent makes no sandboxes here, and is ended with all it keeps", "sandboxes", len(d.left), "err", cause)
	killed := d.keeper.Kill()
	for _, one := range d.left {
		if one.device != nil {
			one.device.Close()
		}
		one.leave()
		d.forget(one.sandbox)
	}
	d.left = nil
	if killed != nil {
		return fmt.Errorf("end the former keeper: %w", killed)
	}
	return errors.Join(d.openKeeper(), d.clear())
}
