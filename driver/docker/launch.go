// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/whirl-faas/whirl/driver/internal/cgroup"
	"github.com/whirl-faas/whirl/whisk"
)

// Labels of containers and networks, for operators and for the next agent.
const (
	labelInstance  = "whirl.instance"
	labelContainer = "whirl.container"
	labelKind      = "whirl.kind"
	labelImage     = "whirl.image" // of the spec, "" if that named none
	labelMemory    = "whirl.memory"
	labelLabel     = "whirl.label"
	labelAddress   = "whirl.address" // only where the driver made the network device

	labelReadOnly = "whirl.read-only-root" // of images
)

// actionPort is where the runtime in a container serves.
const actionPort = 8080

// launch makes one container.
type launch struct {
	*sandbox
	req     whisk.CreateSandbox
	name    string
	picture picture
	holder  *os.File // of the published port, until the engine takes it; nil without one
	unsure  bool     // the engine may make the container yet, without our knowing
}

// run makes and starts the container. The steps that change something go on a
// while after ctx has ended, so that their outcome is known and can be undone.
func (l *launch) run(ctx context.Context) (err error) {
	if l.picture, err = l.driver.provide(ctx, l.spec); err != nil {
		return err
	}
	graced, cancel := l.driver.grace(ctx)
	defer cancel()
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{{"take a port", l.takePort}, {"look for the network", l.driver.ensureNetwork}, {"create", l.create}, {"attach", l.attach}, {"start", l.start}, {"find", l.find}} {
		began := time.Now()
		if err := step.do(graced); err != nil {
			return err
		}
		l.driver.log.Debug("container launched a step further", "container", string(l.id), "step", step.name, "took", time.Since(began))
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return l.awaitListener(ctx)
}

// grace returns a context that ends some time after ctx did.
func (d *Driver) grace(ctx context.Context) (context.Context, context.CancelFunc) {
	graced, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(d.config.Grace)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel(context.Cause(ctx))
		case <-graced.Done():
		}
	})
	return graced, func() { stop(); cancel(nil) }
}

// takePort finds the port by which other hosts reach the container, if they are to.
func (l *launch) takePort(context.Context) (err error) {
	if l.driver.config.Ports == nil {
		return nil
	}
	l.holder, l.published, err = l.driver.config.Ports.Take(0)
	l.port = l.published
	return err
}

// letGo leaves the published port to the engine. Others may be faster, but not by plan: whoever
// takes ports of that range holds them.
func (l *launch) letGo() {
	if l.holder != nil {
		l.holder.Close()
		l.holder = nil
	}
}

func (l *launch) create(ctx context.Context) error {
	host, err := l.driver.hostConfig(l.spec, l.picture)
	if err != nil {
		return err
	}
	options := client.ContainerCreateOptions{
		Name:       l.name,
		HostConfig: host,
		Config: &container.Config{
			Image:  l.picture.name,
			Env:    l.driver.environment(l.req),
			Labels: labelsOf(l.driver.config.Instance, l.req),

			ExposedPorts: l.publishIn(host),
			// A check would run beside the action, and not at all while it is frozen.
			Healthcheck: &container.HealthConfig{Test: []string{"NONE"}},
		},
	}
	if err := l.chooseNetwork(&options); err != nil {
		return fmt.Errorf("prepare the container's network: %w", err)
	}
	created, err := l.driver.engine.ContainerCreate(ctx, options)
	if err != nil {
		l.unsure = !answered(err)
		return createFault(l.picture.name, err)
	}
	l.driver.identify(l.sandbox, created.ID)
	return nil
}

// chooseNetwork has the engine connect the container, unless we do that ourselves.
func (l *launch) chooseNetwork(options *client.ContainerCreateOptions) error {
	if l.driver.devices != nil {
		return l.driver.devices.prepare(l.ip, options.Config, options.HostConfig)
	}
	options.NetworkingConfig = &network.NetworkingConfig{EndpointsConfig: map[string]*network.EndpointSettings{
		l.driver.network: {IPAMConfig: &network.EndpointIPAMConfig{IPv4Address: l.ip}},
	}}
	return nil
}

// publishIn has the engine publish the container's port, if there is one to take.
func (l *launch) publishIn(host *container.HostConfig) (exposed network.PortSet) {
	if !l.published.IsValid() {
		return nil
	}
	inside := publishedPort()
	host.PortBindings = network.PortMap{inside: {{
		HostIP: l.published.Addr(), HostPort: strconv.Itoa(int(l.published.Port())),
	}}}
	return network.PortSet{inside: {}}
}

func publishedPort() network.Port {
	port, _ := network.PortFrom(actionPort, network.TCP) // it is a port
	return port
}

// hostConfig is the cage of a container.
func (d *Driver) hostConfig(spec whisk.ContainerSpec, image picture) (*container.HostConfig, error) {
	memory, pids := int64(spec.Memory), int64(d.config.PIDs)
	open := int64(d.config.OpenFiles)
	host := &container.HostConfig{
		NetworkMode:    container.NetworkMode(d.network),
		CapDrop:        []string{"ALL"},
		SecurityOpt:    []string{"no-new-privileges"},
		ReadonlyRootfs: image.readOnly,
		LogConfig:      journalConfig(),
		IpcMode:        "private",
		Resources: container.Resources{
			Memory:     memory,
			MemorySwap: memory, // together with swap, so none
			CPUShares:  max(memory*1024/int64(256*whisk.MB), 2),
			NanoCPUs:   int64(d.config.CPUs * 1e9),
			PidsLimit:  &pids,
			Ulimits: []*container.Ulimit{
				{Name: "nofile", Soft: open, Hard: open},
				{Name: "core", Soft: 0, Hard: 0},
			},
		},
	}
	if image.readOnly {
		// Pages of it count as the container's memory. Native actions run from there.
		host.Tmpfs = map[string]string{"/tmp": fmt.Sprintf("rw,exec,nosuid,nodev,mode=1777,size=%d", memory/2)}
	}
	return host, d.config.applyOptions(host)
}

func labelsOf(instance string, req whisk.CreateSandbox) map[string]string {
	return map[string]string{
		labelInstance:  instance,
		labelContainer: string(req.ID),
		labelKind:      req.Spec.Kind,
		labelImage:     req.Spec.Image,
		labelMemory:    strconv.FormatInt(int64(req.Spec.Memory), 10),
		labelLabel:     req.Label,
	}
}

// containerName says what a container is, in the letters that the engine takes.
func containerName(instance string, id whisk.ContainerID, label string) string {
	const longest = 60
	name := "whirl_" + instance + "_" + string(id)
	plain := strings.Map(func(c rune) rune {
		if c < 128 && engineName("a"+string(c)) {
			return c
		}
		return '-'
	}, label)
	plain = plain[:min(len(plain), longest)]
	if plain == "" || strings.HasSuffix(name, "_"+plain) { // ids often say it already
		return name
	}
	return name + "_" + plain
}

// attach takes hold of the output before there is any.
func (l *launch) attach(ctx context.Context) error {
	attached, err := l.driver.engine.ContainerAttach(ctx, l.engineID, client.ContainerAttachOptions{Stream: true, Stdout: true, Stderr: true})
	if err != nil {
		return fmt.Errorf("attach to the container: %w", err)
	}
	if l.tap, err = l.driver.newTap(l.sandbox, false); err != nil {
		attached.Close()
		return err
	}
	l.driver.loops.Go(func() { l.tap.runLoop(hijacked{attached}) })
	return nil
}

func (l *launch) start(ctx context.Context) error {
	l.letGo()
	_, err := l.driver.engine.ContainerStart(ctx, l.engineID, client.ContainerStartOptions{})
	if err != nil {
		return createFault(l.picture.name, err)
	}
	return nil
}

// find learns where the container is, and connects it if the engine did not.
func (l *launch) find(ctx context.Context) error {
	inspected, err := l.driver.engine.ContainerInspect(ctx, l.engineID, client.ContainerInspectOptions{})
	if err != nil {
		return fmt.Errorf("inspect the container: %w", err)
	}
	l.place(inspected.Container)
	state := inspected.Container.State
	if l.driver.devices == nil || state == nil || state.Pid == 0 {
		return nil
	}
	err = l.driver.devices.plug(state.Pid, l.ip)
	if err != nil && !errors.Is(err, os.ErrNotExist) { // the network may have gone a moment ago
		if err = l.driver.ensureNetwork(ctx); err == nil {
			err = l.driver.devices.plug(state.Pid, l.ip)
		}
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil // it has ended, and awaitListener tells why
	}
	return err
}

// place notes the address and the cgroup of a running container.
func (s *sandbox) place(c container.InspectResponse) {
	if c.NetworkSettings != nil {
		if endpoint := c.NetworkSettings.Networks[s.driver.network]; endpoint != nil && endpoint.IPAddress.IsValid() {
			s.ip = endpoint.IPAddress
		}
	}
	s.private = whisk.Address{Network: "tcp", Address: netip.AddrPortFrom(s.ip, actionPort).String()}
	if c.State == nil || c.State.Pid == 0 {
		return // it has ended, which its events tell
	}
	group, err := cgroup.Of(c.State.Pid, s.engineID)
	s.runtime = s.driver.runtimeOf(c)
	if err != nil {
		s.driver.log.Debug("container's cgroup not found", "container", string(s.id), "err", err)
		return
	}
	s.group = group
	s.placed.Store(true)
}

// awaitListener waits until the runtime listens, but not for ever: an image may
// be slow, and /init is tried again.
func (l *launch) awaitListener(ctx context.Context) error {
	const slowest = 25 * time.Millisecond
	deadline := time.Now().Add(l.driver.config.ListenTimeout)
	dialer := net.Dialer{Timeout: time.Second}
	for pause := time.Millisecond; time.Now().Before(deadline); pause = min(2*pause, slowest) {
		conn, err := dialer.DialContext(ctx, l.private.Network, l.private.Address)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-l.done:
			return l.earlyEnd(ctx)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
		}
	}
	l.driver.log.Info("container does not listen yet", "container", string(l.id), "image", l.picture.name)
	return nil
}

// earlyEnd tells why a container ended before it served anything.
func (l *launch) earlyEnd(ctx context.Context) error {
	last := strings.TrimSpace(l.driver.lastWords(ctx, l.engineID))
	text := fmt.Sprintf("The container of image '%s' ended with status %d before it listened on port %d.", l.picture.name, l.exit.Code, actionPort)
	switch {
	case l.exit.OutOfMemory:
		text = fmt.Sprintf("The container of image '%s' needs more than %s of memory to start.", l.picture.name, l.spec.Memory)
	case last != "":
		text += " It said: " + last
	case l.exit.Code < 0:
		return fmt.Errorf("the container was killed by signal %d while it started", -l.exit.Code)
	}
	return &whisk.CreateError{Text: text}
}

// createFault tells a user's mistake from an engine in trouble, by what the
// engine and the OCI runtime behind it say.
func createFault(image string, err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return fmt.Errorf("start a container of image %s: %w", image, err)
	}
	text := strings.ToLower(err.Error())
	for _, fault := range []struct{ sign, says string }{
		{"no command specified", "the image has no entry point"},
		{"executable file not found", "the image has no such entry point"},
		{"exec format error", "its entry point is no program for this platform's processors"},
		{"unable to find user", "the image names a user that it has not"},
		{"no matching entries in passwd", "the image names a user that it has not"},
		{"is not a directory", "its entry point or working directory is no such thing"},
		{"minimum memory limit", "it has too little memory"},
	} {
		if strings.Contains(text, fault.sign) {
			return &whisk.CreateError{Text: fmt.Sprintf("The container of image '%s' cannot start: %s.", image, fault.says), Err: err}
		}
	}
	// These two need more than one sign: others say the same of the node.
	if strings.Contains(text, "exec: \"") && (strings.Contains(text, "no such file or directory") || strings.Contains(text, "permission denied")) {
		return &whisk.CreateError{Text: fmt.Sprintf("The container of image '%s' cannot start: its entry point is missing or no program.", image), Err: err}
	}
	if errdefs.IsNotFound(err) && strings.Contains(text, "no such image") {
		return notPulled(image, "there is no such image or tag", err)
	}
	return fmt.Errorf("start a container of image %s: %w", image, err)
}

// undo removes what a failed launch made.
func (l *launch) undo(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.driver.config.Grace)
	defer cancel()
	l.letGo()
	if l.engineID == "" {
		// The engine may know it all the same, if its answer got lost.
		err := errors.Join(l.driver.removeByName(ctx, l.name), l.giveBack())
		if err == nil && !l.unsure {
			l.driver.forget(l.sandbox)
		}
		return err
	}
	return l.Destroy(ctx)
}

// answered reports whether an error is what the engine said, and not that
// nothing came of it.
func answered(err error) bool {
	return errdefs.IsInvalidArgument(err) || errdefs.IsNotFound(err) || errdefs.IsConflict(err) || errdefs.IsInternal(err)
}
