// SPDX-License-Identifier: Apache-2.0

package process

import (
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Config says what a driver offers and where it keeps things.
type Config struct {
	// Runtimes are the recipes, one per kind.
	Runtimes []Runtime
	// Instance names this agent on its machine: letters, digits, "_", "." and
	// "-". One process at a time can hold an instance.
	Instance string
	// Program is the path of what sandboxes begin as: a program that has package stage in it. It
	// is started for each of them, so it had better be small: whirl-sandbox. "" stands for the
	// program that runs.
	Program string
	// Self is the path of the program that sandboxes are shown at /whirl-self, where recipes of
	// the platform's own start it: it serves native:default when it is started as "native-proxy", and had
	// better be small, too: whirl-native. "" stands for the program that runs.
	Self string
	// StateDir is a directory for sockets and locks. "" stands for a place of the
	// instance under /run/whirl, or under the user's runtime directory. Its
	// path must be short: a socket's path has at most 107 bytes.
	StateDir string
	// Network is what sandboxes can reach.
	Network Network
	// Denied are networks outside that sandboxes with an outbound network may not
	// reach, such as that of the cluster's hosts. This machine, link-local addresses
	// and multicast never are reached.
	Denied []netip.Prefix
	// API is the URL of the platform as the host sees it. Sandboxes find it by
	// __OW_API_HOST. "" gives them none.
	API string
	// Resolvers are the name servers, as host:port, that the queries of sandboxes
	// with an outbound network go to. nil stands for those of /etc/resolv.conf.
	Resolvers []string
	// PIDs bounds the processes and threads of one sandbox.
	PIDs int
	// OpenFiles bounds the open files of one process.
	OpenFiles int
	// Flows bounds the connections that one sandbox has to the outside.
	Flows int
	// FirstUID begins the range of user ids, one for each sandbox, that a root
	// agent gives out; 0 stands for a range that depends on the instance, far
	// above those of people and services.
	FirstUID int
	// Ports, if not nil, publish sandboxes to other hosts: they serve on ports that
	// it gives out, and not on Unix sockets. Only a root agent can do that.
	Ports Ports
	// StartTimeout bounds the making of one sandbox, until its runtime starts.
	StartTimeout time.Duration
	// Grace is how long sandboxes outlive this process, however it ends, while no
	// other process takes them over. 0 has them end with it.
	Grace time.Duration
	// Logger takes what an operator should know. nil discards it.
	Logger *slog.Logger
}

// Ports are what sandboxes may be reached by from other hosts, and the guard before
// them. Calls may overlap.
type Ports interface {
	// Take returns a socket that is bound and does not listen yet, and keeps
	// everybody from it who was not admitted. The owner is the sandbox's user, who
	// may do nothing in the host's network but answer there; 0 is for one who may.
	Take(owner int) (socket *os.File, at netip.AddrPort, err error)
	// GiveBack says that nobody listens there any more. It is idempotent.
	GiveBack(at netip.AddrPort) error
	// Guards reports whether a port of a former process can be guarded.
	Guards(at netip.AddrPort) bool
	// Keep says which ports of a former process are in use still, and whose they
	// are, before any Take.
	Keep(used map[netip.AddrPort]int) error
}

// Runtime is the recipe of one kind.
type Runtime struct {
	Kind   string            // such as "nodejs:20"
	Argv   []string          // the command, as the sandbox sees it; the first is an absolute path
	Files  fs.FS             // shown read-only at /whirl; nil for none
	Mounts []string          // host paths shown read-only at the same place, beside /usr and the like
	Env    map[string]string // added to the environment
}

// Network is what sandboxes can reach.
type Network string

// The networks. A sandbox always has a loopback device.
const (
	Outbound Network = "outbound" // the world and the platform's API, but nothing else of this machine
	None     Network = "none"     // nothing
	Host     Network = "host"     // all that the host reaches, its own services included
)

// Default returns a configuration for everything but the runtimes and the API.
func Default() Config {
	return Config{
		Instance:     "default",
		Network:      Outbound,
		PIDs:         1024,
		OpenFiles:    4096,
		Flows:        512,
		StartTimeout: 30 * time.Second,
	}
}

// Validate reports the first value that is not allowed.
func (c Config) Validate() error {
	switch {
	case !instanceName(c.Instance):
		return whisk.Errorf(whisk.Invalid, "instance %q must be 1 to 64 letters, digits, _, . or -", c.Instance)
	case c.Network != Outbound && c.Network != None && c.Network != Host:
		return whisk.Errorf(whisk.Invalid, "network %q must be outbound, none or host", string(c.Network))
	case c.Network == Host && len(c.Denied) > 0:
		return whisk.Errorf(whisk.Invalid, "sandboxes of the host's network cannot be denied %v: want the network outbound", c.Denied)
	case c.Program != "" && !filepath.IsAbs(c.Program):
		return whisk.Errorf(whisk.Invalid, "program %q must be an absolute path", c.Program)
	case c.Self != "" && !filepath.IsAbs(c.Self):
		return whisk.Errorf(whisk.Invalid, "program to show %q must be an absolute path", c.Self)
	case c.StateDir != "" && !filepath.IsAbs(c.StateDir):
		return whisk.Errorf(whisk.Invalid, "state directory %q must be an absolute path", c.StateDir)
	case c.PIDs < 16:
		return whisk.Errorf(whisk.Invalid, "%d processes per sandbox are too few, at least 16", c.PIDs)
	case c.OpenFiles < 64:
		return whisk.Errorf(whisk.Invalid, "%d open files per process are too few, at least 64", c.OpenFiles)
	case c.Flows < 1:
		return whisk.Errorf(whisk.Invalid, "%d connections per sandbox are too few, at least 1", c.Flows)
	case c.FirstUID < 0 || c.FirstUID > 0 && c.FirstUID < 1000 || c.FirstUID > 1<<31-uidCount:
		return whisk.Errorf(whisk.Invalid, "first user id %d must be between 1000 and %d", c.FirstUID, 1<<31-uidCount)
	case c.Grace < 0:
		return whisk.Errorf(whisk.Invalid, "grace %s must not be negative", c.Grace)
	case c.StartTimeout <= 0:
		return whisk.Errorf(whisk.Invalid, "start timeout %s must be positive", c.StartTimeout)
	}
	if c.API != "" {
		if _, _, err := apiAddress(c.API); err != nil {
			return err
		}
	}
	return c.validateRuntimes()
}

// instanceName reports whether a name can be a part of paths. It is no regular
// expression because compiling one would be paid for by each stage.
func instanceName(name string) bool {
	strange := func(c rune) bool {
		return !('0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || c == '_' || c == '.' || c == '-')
	}
	return name != "" && len(name) <= 64 && name[0] != '.' && name[0] != '-' && !strings.ContainsFunc(name, strange)
}

func (c Config) validateRuntimes() error {
	seen := map[string]bool{}
	for _, runtime := range c.Runtimes {
		switch {
		case runtime.Kind == "" || seen[runtime.Kind]:
			return whisk.Errorf(whisk.Invalid, "runtime %q must have a kind of its own", runtime.Kind)
		case len(runtime.Argv) == 0 || !filepath.IsAbs(runtime.Argv[0]):
			return whisk.Errorf(whisk.Invalid, "runtime %s: the command %q must begin with an absolute path", runtime.Kind, runtime.Argv)
		}
		for _, path := range runtime.Mounts {
			if !filepath.IsAbs(path) || filepath.Clean(path) != path || path == "/" {
				return whisk.Errorf(whisk.Invalid, "runtime %s: mount %q must be a clean absolute path below /", runtime.Kind, path)
			}
		}
		seen[runtime.Kind] = true
	}
	return nil
}

// stateDir returns where the instance's directory is, and the directory in which
// its neighbours are; "" if the place was chosen by the user.
func (c Config) stateDir() (dir, parent string) {
	if c.StateDir != "" {
		return filepath.Clean(c.StateDir), ""
	}
	parent = "/run/whirl"
	if uid := os.Geteuid(); uid != 0 {
		parent = fmt.Sprintf("/tmp/whirl-%d", uid)
		if runtimeDir := os.Getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(runtimeDir) {
			if info, err := os.Stat(runtimeDir); err == nil && info.IsDir() {
				parent = filepath.Join(runtimeDir, "whirl")
			}
		}
	}
	return filepath.Join(parent, c.Instance), parent
}

// apiAddress returns host:port of the API's URL, and the port.
func apiAddress(api string) (address string, port uint16, err error) {
	location, err := url.Parse(api)
	if err != nil || location.Host == "" || location.Scheme != "http" && location.Scheme != "https" {
		return "", 0, whisk.Errorf(whisk.Invalid, "API %q must be a URL such as http://127.0.0.1:3233", api)
	}
	text := location.Port()
	if text == "" {
		text = map[string]string{"http": "80", "https": "443"}[location.Scheme]
	}
	number, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return "", 0, whisk.Errorf(whisk.Invalid, "API %q has the bad port %q", api, text)
	}
	return location.Hostname() + ":" + text, uint16(number), nil
}
