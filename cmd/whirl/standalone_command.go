// SPDX-License-Identifier: Apache-2.0

package main

import (
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/whirl-faas/whirl/whisk"
)

// guestKey is the key of the guest user in OpenWhisk's own standalone
// distribution. Tutorials and tools have it built in; it is no secret.
const guestKey = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP"

// minimumMemory is room for one action of the default size.
const minimumMemory = 256 * whisk.MB

// standaloneSettings are the flags of whirl standalone, checked.
type standaloneSettings struct {
	listen      string
	data        string
	memory      whisk.Bytes
	driver      string
	network     string
	docker      dockerSettings
	auth        whisk.AuthKey
	exposeGuest bool
	drain       time.Duration
	retention   time.Duration
	logLevel    slog.Level
}

func (p program) standaloneCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "standalone",
		Short: "Run the whole platform in this process",
		Long: `Run controller, scheduler and agent in this process, with embedded stores.

Actions run in sandboxes made from Linux namespaces and cgroups; no container
engine is needed. nodejs actions need node 18 or newer on this machine, python
actions python3; native executables and scripts need nothing.

With --driver docker they run in containers of a docker engine instead: all
runtimes that OpenWhisk has images of, or those of --runtimes, and images of
your own. The engine is that of DOCKER_HOST, or this machine's.

The platform listens on the loopback interface and has OpenWhisk's well-known
guest user, so that the clients you have work at once. Whoever knows that key
may run code: to listen on another address, give the guest a key of your own
with --auth, or say --expose-guest if the network is yours alone.

An interrupt or SIGTERM drains: no new activations, running ones finish within
--drain, sandboxes are removed, stores are flushed. A second signal kills.`,
		Example: `  whirl standalone
  whirl standalone --listen 127.0.0.1:8080 --data ./whirl-data --memory 4g
  whirl standalone --driver docker --runtimes ./runtimes.json
  WHIRL_LOG_LEVEL=debug whirl standalone --sandbox-network none`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.loadSettings(cmd); err != nil {
				return err
			}
			settings, err := readStandaloneSettings(cmd)
			if err != nil {
				return err
			}
			return p.runStandalone(cmd.Context(), settings)
		},
	}
	addConfigFlag(cmd)
	flags := cmd.Flags()
	flags.String("listen", "127.0.0.1:3233", "`HOST:PORT` to serve the API on")
	flags.String("data", defaultDataDirectory(), "`DIRECTORY` for entities, code, records and logs")
	flags.String("memory", "", "memory for actions, a `SIZE` such as 2g (default: three quarters of the machine's)")
	flags.String("driver", processDriver, "what makes sandboxes: process or docker")
	flags.String("sandbox-network", "outbound", "what actions reach: outbound (the network, but not this machine), none, or, with the process driver, host (this machine's own network, unprotected)")
	addDockerFlags(flags)
	flags.String("auth", guestKey, "the guest user's key, `UUID:KEY` with a key of 64 characters")
	flags.Bool("expose-guest", false, "allow the well-known guest key on an address that others can reach")
	flags.Duration("drain", 30*time.Second, "how long running activations may take to finish at shutdown")
	flags.Duration("retention", 7*24*time.Hour, "how long activation records and logs are kept; 0 for ever")
	flags.String("log-level", "warn", "what the platform says on stderr: debug, info, warn or error")
	return cmd
}

func readStandaloneSettings(cmd *cobra.Command) (standaloneSettings, error) {
	flags := cmd.Flags()
	text := func(name string) string { return flags.Lookup(name).Value.String() }
	s := standaloneSettings{listen: text("listen"), memory: defaultActionMemory()}
	s.exposeGuest, _ = flags.GetBool("expose-guest")
	s.drain, _ = flags.GetDuration("drain")
	s.retention, _ = flags.GetDuration("retention")

	if s.drain < 0 || s.retention < 0 {
		return s, usageErrorf("--drain and --retention must not be negative")
	}
	if err := s.logLevel.UnmarshalText([]byte(text("log-level"))); err != nil {
		return s, usageErrorf("--log-level %q: want debug, info, warn or error", text("log-level"))
	}
	for _, read := range []func(func(string) string) error{s.readData, s.readMemory, s.readDriver, s.readAuth} {
		if err := read(text); err != nil {
			return s, err
		}
	}
	return s, nil
}

func (s *standaloneSettings) readData(text func(string) string) (err error) {
	if text("data") == "" {
		return usageErrorf("--data needs a directory: this user has no home directory to take a default from")
	}
	if s.data, err = filepath.Abs(text("data")); err != nil {
		return usageErrorf("--data %q: %w", text("data"), err)
	}
	return nil
}

func (s *standaloneSettings) readMemory(text func(string) string) (err error) {
	if text("memory") == "" {
		return nil
	}
	if s.memory, err = whisk.ParseBytes(text("memory")); err != nil {
		return usageErrorf("--memory: %w", err)
	}
	if s.memory < minimumMemory {
		return usageErrorf("--memory %s: want at least %s, the default memory of one action", s.memory, minimumMemory)
	}
	return nil
}

// readAuth checks the guest's key and that it fits the address: the well-known
// key opens the door to everybody who can reach it.
func (s *standaloneSettings) readAuth(text func(string) string) (err error) {
	if s.auth, err = whisk.ParseAuthKey(text("auth")); err != nil {
		return usageErrorf("--auth: %w", err)
	}
	host, port, err := net.SplitHostPort(s.listen)
	if err != nil || port == "" {
		return usageErrorf("--listen %q: want HOST:PORT, such as 127.0.0.1:3233", s.listen)
	}
	if !isLoopback(host) && s.auth.String() == guestKey && !s.exposeGuest {
		return usageErrorf("--listen %s: others could reach this address and run code with the well-known guest key; "+
			"give the guest a key of your own with --auth UUID:KEY, or say --expose-guest if you want that", s.listen)
	}
	return nil
}

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// defaultDataDirectory is where the platform of this user keeps its data: ""
// if the user has no home.
func defaultDataDirectory() string {
	if os.Geteuid() == 0 {
		return "/var/lib/whirl"
	}
	if dir := os.Getenv("XDG_DATA_HOME"); dir != "" {
		return filepath.Join(dir, "whirl")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ""
	}
	return filepath.Join(home, ".local", "share", "whirl")
}
