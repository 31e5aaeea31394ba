// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/moby/moby/api/types/container"

	"github.com/whirl-faas/whirl/whisk"
)

// Config says what a driver offers and where it finds the engine.
type Config struct {
	// Instance names this agent on its machine: letters, digits, "_", "." and
	// "-". One process at a time can hold an instance.
	Instance string
	// Host is the engine's address, such as unix:///var/run/docker.sock; "" takes
	// $DOCKER_HOST, or that socket.
	Host string
	// StateDir is a directory for what the next agent must know. "" stands for
	// one of the instance under /run/whirl-docker.
	StateDir string
	// Images are the runtimes' images by kind, for specs that name none.
	Images map[string]string
	// Pull says when images are pulled.
	Pull Pull
	// Credentials are for registries, by the host that images name; "docker.io"
	// is for images that name none. See [ReadCredentials].
	Credentials map[string]Credentials
	// Network is what sandboxes can reach.
	Network Network
	// Denied are networks outside that sandboxes may not reach. Link-local
	// addresses and the metadata services of clouds never are.
	Denied []netip.Prefix
	// Ports, if not nil, publish containers to other hosts. It needs the outbound
	// network, and an engine on this machine.
	Ports Ports
	// API is the URL of the platform as the host sees it. Sandboxes find it by
	// __OW_API_HOST. "" gives them none.
	API string
	// ReadOnly says whose root is read-only.
	ReadOnly ReadOnly
	// PIDs bounds the processes and threads of one sandbox, OpenFiles the open
	// files of one process.
	PIDs, OpenFiles int
	// CPUs bounds what one sandbox uses of the machine's processors; 0 sets no
	// bound. Whatever it is, busy sandboxes share in proportion to their memory.
	CPUs float64
	// Options is a JSON object of the Engine API's HostConfig. Its fields
	// replace those that the driver sets for every container.
	Options json.RawMessage
	// Freezer chooses how sandboxes are suspended.
	Freezer Freezer
	// Trial makes Open start a container of an image that is there, to find out
	// what the engine really does and how fast it freezes.
	Trial bool

	// ListenTimeout bounds the wait for a new container to listen. One that is
	// slower is handed out all the same: /init is tried again until it does.
	ListenTimeout time.Duration
	// PullTimeout bounds one pull.
	PullTimeout time.Duration
	// Grace is how long a request to the engine goes on after its caller gave
	// up, and how long undoing it may take.
	Grace time.Duration
	// Logger takes what an operator should know. nil discards it.
	Logger *slog.Logger
}

// Ports are what containers may be reached by from other hosts, and the guard before
// them. Calls may overlap.
type Ports interface {
	// Take returns a socket that holds a port for the engine, and keeps everybody
	// from it who was not admitted. The owner is 0: a container has a network of its own.
	Take(owner int) (socket *os.File, at netip.AddrPort, err error)
	// GiveBack says that nobody listens there any more.
	GiveBack(at netip.AddrPort) error
	// Guards reports whether a port of a former process can be guarded.
	Guards(at netip.AddrPort) bool
	// Keep says which ports of a former process are in use still, and whose they
	// are, as with Take, before any.
	Keep(used map[netip.AddrPort]int) error
}

// Pull says when images are pulled.
type Pull string

// The policies. An image that users name is theirs to change: with Auto it is
// pulled each time if it has the tag latest or none. All others, and the images
// of the manifest, are pulled if they are not here.
const (
	PullAuto    Pull = "auto"
	PullAlways  Pull = "always"
	PullMissing Pull = "missing"
	PullNever   Pull = "never"
)

// Network is what sandboxes can reach.
type Network string

// The networks.
const (
	Outbound Network = "outbound" // the world and the platform's API, but nothing else of this machine
	None     Network = "none"     // nothing
)

// ReadOnly says whose root file system is read-only, with a private /tmp.
type ReadOnly string

// Whose root is read-only. OpenWhisk's own images need to write to theirs.
const (
	ReadOnlyLabelled ReadOnly = "labelled" // images with the label whirl.read-only-root=true
	ReadOnlyAlways   ReadOnly = "always"
	ReadOnlyNever    ReadOnly = "never"
)

// Freezer is a way to suspend a container.
type Freezer string

// The ways, the fastest first. FreezeAuto takes the first that works, or that
// the trial found fastest.
const (
	FreezeAuto    Freezer = "auto"
	FreezeUnified Freezer = "cgroup-v2" // cgroup.freeze of the container's cgroup
	FreezeLegacy  Freezer = "cgroup-v1" // the freezer hierarchy
	FreezeRuntime Freezer = "runtime"   // the OCI runtime that made the container
	FreezeEngine  Freezer = "engine"    // the engine's pause
)

// Default returns a configuration for everything but the images and the API.
func Default() Config {
	return Config{
		Instance:      "default",
		Pull:          PullAuto,
		Network:       Outbound,
		ReadOnly:      ReadOnlyLabelled,
		PIDs:          1024,
		OpenFiles:     4096,
		Freezer:       FreezeAuto,
		Trial:         true,
		ListenTimeout: 10 * time.Second,
		PullTimeout:   5 * time.Minute,
		Grace:         10 * time.Second,
	}
}

// What engines take as a bound of CPUs; more than the machine has they refuse.
const (
	leastCPUs = 0.01
	mostCPUs  = 1 << 16
)

// Validate reports what is missing or makes no sense.
func (c Config) Validate() error {
	switch {
	case !engineName(c.Instance) || len(c.Instance) > 64:
		return whisk.Errorf(whisk.Invalid, "instance %q must be 1 to 64 letters, digits, _, . and -, and begin with a letter or digit", c.Instance)
	case c.PIDs < 1:
		return whisk.Errorf(whisk.Invalid, "%d processes per sandbox are too few, at least 1", c.PIDs)
	case c.OpenFiles < 64:
		return whisk.Errorf(whisk.Invalid, "%d open files per process are too few, at least 64", c.OpenFiles)
	case c.Ports != nil && c.Network != Outbound:
		return whisk.Errorf(whisk.Invalid, "the engine publishes no containers of the network %q: want outbound", string(c.Network))
	case c.CPUs != 0 && !(leastCPUs <= c.CPUs && c.CPUs <= mostCPUs): // also what is no number
		return whisk.Errorf(whisk.Invalid, "%g CPUs per sandbox: want 0 for no bound, or %g to %d", c.CPUs, leastCPUs, mostCPUs)
	case c.ListenTimeout <= 0 || c.PullTimeout <= 0 || c.Grace <= 0:
		return whisk.Errorf(whisk.Invalid, "the listen timeout, the pull timeout and the grace must be positive")
	}
	for _, choice := range []struct {
		what, value string
		allowed     []string
	}{
		{"pull policy", string(c.Pull), []string{"auto", "always", "missing", "never"}},
		{"network", string(c.Network), []string{"outbound", "none"}},
		{"read-only root", string(c.ReadOnly), []string{"labelled", "always", "never"}},
		{"freezer", string(c.Freezer), []string{"auto", "cgroup-v2", "cgroup-v1", "runtime", "engine"}},
	} {
		if err := oneOf(choice.what, choice.value, choice.allowed); err != nil {
			return err
		}
	}
	if c.API != "" {
		if _, err := apiURL(c.API); err != nil {
			return err
		}
	}
	return c.validateOptions()
}

// validateOptions refuses what would take a container out of the driver's hands.
func (c Config) validateOptions() error {
	var host container.HostConfig
	if err := c.applyOptions(&host); err != nil {
		return err
	}
	for field, set := range map[string]bool{
		"NetworkMode":     host.NetworkMode != "",
		"AutoRemove":      host.AutoRemove,
		"RestartPolicy":   host.RestartPolicy.Name != "",
		"PortBindings":    len(host.PortBindings) > 0,
		"PublishAllPorts": host.PublishAllPorts,
		"PidMode":         host.PidMode != "",
	} {
		if set {
			return whisk.Errorf(whisk.Invalid, "container options: %s is the driver's to set", field)
		}
	}
	return nil
}

func oneOf(what, value string, allowed []string) error {
	if slices.Contains(allowed, value) {
		return nil
	}
	return whisk.Errorf(whisk.Invalid, "%s %q: want one of %q", what, value, allowed)
}

// applyOptions lays the operator's options over what the driver has set.
func (c Config) applyOptions(host *container.HostConfig) error {
	if len(c.Options) == 0 {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(c.Options))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(host); err != nil {
		return whisk.Errorf(whisk.Invalid, "container options: want a JSON object of the Engine API's HostConfig: %w", err)
	}
	return nil
}

func (c Config) stateDir() string {
	if c.StateDir != "" {
		return filepath.Clean(c.StateDir)
	}
	return filepath.Join("/run/whirl-docker", c.Instance)
}

// engineName reports whether the engine takes a text as a name.
func engineName(name string) bool {
	for i, c := range []byte(name) {
		letter := '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || c != '_' && c != '.' && c != '-') {
			return false
		}
	}
	return name != ""
}

func apiURL(api string) (*url.URL, error) {
	location, err := url.Parse(api)
	if err != nil || location.Hostname() == "" || location.Scheme != "http" && location.Scheme != "https" {
		return nil, whisk.Errorf(whisk.Invalid, "API %q must be a URL such as http://127.0.0.1:3233", api)
	}
	return location, nil
}
