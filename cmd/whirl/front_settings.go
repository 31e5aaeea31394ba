// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/keyring"
	"github.com/whirl-faas/whirl/store/postgres"
	"github.com/whirl-faas/whirl/whisk"
)

// guestKey is the key of the guest user in OpenWhisk's own standalone
// distribution. Tutorials and tools have it built in; it is no secret.
const guestKey = "23bc46b1-71f6-4ed5-8c54-816aa4f8c502:123zO3xZCLrMN6v2BKK1dXYFpXlPkccOFqm12CdAsMgRU4VrNZ9lyGVCGuMDGIwP"

// frontSettings are the flags of a process that plays the controller, checked.
type frontSettings struct {
	listen      string
	connections int // that clients may have open at once
	data        string
	logs        logSettings
	auth        whisk.AuthKey
	drain       time.Duration
	retention   time.Duration
	concurrency int // that actions may have at most
	sequences   int // and compositions, that run at once
	http        officeSettings
	throttles   throttleSettings
	apiMetrics  bool
	catalog     bool   // the packages of whisk.system are installed
	publicURL   string // by which clients reach the API, "" for the one that they use
	vanity      string // the host below which namespaces have names, "" for none
	executeOnly bool
	blocking    controller.Keeping // which blocking calls leave records
	others      controller.Keeping
	keys        *keyring.Keyring // nil for none
}

func addFrontFlags(flags *pflag.FlagSet) {
	flags.String("listen", "127.0.0.1:3233", "`HOST:PORT` to serve the API on")
	flags.Int("max-connections", 10_000, "how many connections clients may have open at once, a `NUMBER`; more close those that are idle")
	flags.String("data", defaultDataDirectory(), "`DIRECTORY` for entities, code, records and logs")
	addLogStoreFlag(flags)
	flags.String("auth", guestKey, "the guest user's key, `UUID:KEY` with a key of 64 characters")
	flags.Bool("expose-guest", false, "allow the well-known guest key on an address that others can reach")
	flags.Duration("drain", 30*time.Second, "how long running activations may take to finish at shutdown")
	flags.Duration("retention", 7*24*time.Hour, "how long activation records and logs are kept; 0 for ever")
	flags.Bool("api-metrics", false, "answer GET /metrics on --listen too, as OpenWhisk does; everybody who reaches the API may read it")
	flags.Bool("catalog", true, "install the packages utils, samples, alarms and apimgmt of whisk.system at the start, or what is new of them; =false leaves all as it is")
	flags.String("public-url", "", "`URL` by which clients reach the API, where a proxy before it does not say so in X-Forwarded headers; for the URLs of APIs")
	flags.String("vanity-host", "", "`HOST` below which every namespace has a name of its own: NAMESPACE.HOST/PACKAGE/ACTION is a web action")
	flags.Int("concurrent-sequences", controller.Default().Sequences, "sequences and compositions that this controller runs at once, a `NUMBER`; those within others do not count")
	flags.Bool("shared-packages-execute-only", false, "let other namespaces run what is in shared packages, but not read it")
	flags.String("record-blocking", string(controller.KeepAll), "`WHICH` blocking calls leave records: all, failures, or faults, which are failures but for the errors that actions answer with")
	flags.String("record-non-blocking", string(controller.KeepAll), "the same of non-blocking calls and of what triggers fire")
	addKeyFlags(flags)
	addThrottleFlags(flags)
	addOfficeFlags(flags, "")
}

// read reads the flags. plain says that there are no certificates.
func (s *frontSettings) read(flags *pflag.FlagSet, plain bool) (err error) {
	s.listen = textOf(flags, "listen")
	if s.connections, _ = flags.GetInt("max-connections"); s.connections < 1 {
		return usageErrorf("--max-connections must be 1 or more, not %d", s.connections)
	}
	s.drain, _ = flags.GetDuration("drain")
	s.retention, _ = flags.GetDuration("retention")
	if s.drain < 0 || s.retention < 0 {
		return usageErrorf("--drain and --retention must not be negative")
	}
	if s.data, err = readData(flags); err != nil {
		return err
	}
	if err := s.logs.read(flags, s.data, "controller", postgres.Default().Connections); err != nil {
		return err
	}
	if s.concurrency, err = readConcurrency(flags); err != nil {
		return err
	}
	s.sequences, _ = flags.GetInt("concurrent-sequences")
	if most := controller.Default().Records.Records - 1; s.sequences < 1 || s.sequences > most {
		return usageErrorf("--concurrent-sequences %d: want a number from 1 to %d", s.sequences, most)
	}
	if err := s.throttles.read(flags); err != nil {
		return err
	}
	s.apiMetrics, _ = flags.GetBool("api-metrics")
	s.catalog, _ = flags.GetBool("catalog")
	if s.publicURL, err = readPublicURL(flags); err != nil {
		return err
	}
	s.vanity = textOf(flags, "vanity-host")
	if strings.ContainsAny(s.vanity, ":/* ") || strings.HasPrefix(s.vanity, ".") {
		return usageErrorf("--vanity-host %q: want a host without scheme and port, such as example.org", s.vanity)
	}
	s.executeOnly, _ = flags.GetBool("shared-packages-execute-only")
	if s.blocking, err = readKeeping(flags, "record-blocking"); err != nil {
		return err
	}
	if s.others, err = readKeeping(flags, "record-non-blocking"); err != nil {
		return err
	}
	if s.keys, err = readKeys(flags); err != nil {
		return err
	}
	if err := s.http.read(flags, plain); err != nil {
		return err
	}
	exposed, _ := flags.GetBool("expose-guest")
	return s.readAuth(textOf(flags, "auth"), exposed)
}

// readPublicURL reads --public-url, which has nothing but a scheme and a host.
func readPublicURL(flags *pflag.FlagSet) (string, error) {
	text := strings.TrimSuffix(textOf(flags, "public-url"), "/")
	if text == "" {
		return "", nil
	}
	if parsed, err := url.Parse(text); err != nil || parsed.Host == "" || (parsed.Scheme != "http" && parsed.Scheme != "https") || text != parsed.Scheme+"://"+parsed.Host {
		return "", usageErrorf("--public-url %q: want a scheme and a host, such as https://whirl.example.org", text)
	}
	return text, nil
}

// textOf returns the text of a flag that the command has.
func textOf(flags *pflag.FlagSet, name string) string { return flags.Lookup(name).Value.String() }

// readData returns the absolute path of --data.
func readData(flags *pflag.FlagSet) (string, error) {
	text := textOf(flags, "data")
	if text == "" {
		return "", usageErrorf("--data needs a directory: this user has no home directory to take a default from")
	}
	path, err := filepath.Abs(text)
	if err != nil {
		return "", usageErrorf("--data %q: %w", text, err)
	}
	return path, nil
}

// readKeeping reads which activations leave records.
func readKeeping(flags *pflag.FlagSet, name string) (controller.Keeping, error) {
	keeping := controller.Keeping(textOf(flags, name))
	if !slices.Contains(controller.Keepings(), keeping) {
		return "", usageErrorf("--%s %q: want one of %v", name, keeping, controller.Keepings())
	}
	return keeping, nil
}

// readAuth checks the guest's key and that it fits the address: the well-known
// key opens the door to everybody who can reach it.
func (s *frontSettings) readAuth(text string, exposed bool) (err error) {
	if s.auth, err = whisk.ParseAuthKey(text); err != nil {
		return usageErrorf("--auth: %w", err)
	}
	host, err := hostOf("listen", s.listen)
	if err != nil {
		return err
	}
	if !isLoopback(host) && s.auth.String() == guestKey && !exposed {
		return usageErrorf("--listen %s: others could reach this address and run code with the well-known guest key; "+
			"give the guest a key of your own with --auth UUID:KEY, or say --expose-guest if you want that", s.listen)
	}
	return nil
}

// hostOf checks an address that a flag gives, and returns its host.
func hostOf(flag, address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || port == "" {
		return "", usageErrorf("--%s %q: want HOST:PORT, such as 127.0.0.1:3233", flag, address)
	}
	return host, nil
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
