// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/couchdb"
)

// passwordVariable holds the password of a CouchDB. There is no flag for it:
// command lines are seen by others, and stay in the shell's history.
const passwordVariable = "COUCHDB_PASSWORD"

// importSettings are the flags of whirl admin import, checked.
type importSettings struct {
	source      couchdb.Source
	reach       func(context.Context) error
	data        string
	activations bool
	retention   time.Duration
	overwrite   bool
	dryRun      bool
}

func (p program) importCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import SOURCE",
		Short: "Take over users, entities and records from an OpenWhisk",
		Long: `Take over from an OpenWhisk its users with their keys and limits, packages,
actions, triggers, rules and activation records. SOURCE is the URL of its
CouchDB, or a directory with the files subjects.json, whisks.json and
activations.json, which hold CouchDB's answers to

  GET /DATABASE/_all_docs?include_docs=true&attachments=true

Nothing is written to CouchDB. The password is read from --couchdb-password-file or
from the variable ` + passwordVariable + `.

No platform may use the data directory meanwhile. What is there and the same is
left alone, so the command may be repeated; what is there and different is named
and left alone, too, unless --overwrite is given. A document that cannot be
imported is named with the reason, and the others are imported. The exit status
is 0 if all is as in the source then, 1 if not.`,
		Example: `  whirl admin import http://db.example.org:5984 --couchdb-user admin --couchdb-password-file pw --dry-run
  whirl admin import ./dumps --data ./whirl-data --activations=false`,
		Args: oneArgument("SOURCE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := p.loadSettings(cmd); err != nil {
				return err
			}
			settings, err := p.readImportSettings(cmd.Flags(), args[0])
			if err != nil {
				return err
			}
			return p.runImport(cmd.Context(), settings)
		},
	}
	addConfigFlag(cmd)
	flags := cmd.Flags()
	flags.String("data", defaultDataDirectory(), "the platform's data `DIRECTORY`; it is made if it is not there")
	flags.Bool("dry-run", false, "only say what would be done")
	flags.Bool("overwrite", false, "replace what is there and different, but for records")
	flags.Bool("activations", true, "import activation records, too")
	flags.Duration("retention", controller.Default().Retention, "leave out records older than this, as the platform would remove them; 0 for none")
	flags.String("couchdb-prefix", "whisk_local_", "what the names of the databases begin with, before subjects, whisks and activations")
	flags.String("couchdb-user", "", "the `NAME` of a user who may read them")
	flags.String("couchdb-password-file", "", "a `FILE` with that user's password")
	flags.String("couchdb-ca", "", "a `FILE` with the certificates that an https server is believed by (default: the system's)")
	return cmd
}

func (p program) readImportSettings(flags *pflag.FlagSet, source string) (s importSettings, err error) {
	s.data = textOf(flags, "data")
	s.activations, _ = flags.GetBool("activations")
	s.overwrite, _ = flags.GetBool("overwrite")
	s.dryRun, _ = flags.GetBool("dry-run")
	if s.retention, _ = flags.GetDuration("retention"); s.retention < 0 {
		return s, usageErrorf("--retention %v: it must not be negative; 0 leaves out no records", s.retention)
	}
	if strings.Contains(source, "://") {
		return s, p.readServer(&s, flags, source)
	}
	if info, err := os.Stat(source); err != nil || !info.IsDir() {
		return s, usageErrorf("%q is neither the URL of a CouchDB nor a directory", source)
	}
	s.source, s.reach = couchdb.Dump{Dir: os.DirFS(source)}, func(context.Context) error { return nil }
	return s, nil
}

func (p program) readServer(s *importSettings, flags *pflag.FlagSet, address string) error {
	config := couchdb.Config{URL: address, Prefix: textOf(flags, "couchdb-prefix"), User: textOf(flags, "couchdb-user")}
	config.Password, _ = p.getenv(passwordVariable)
	if name := textOf(flags, "couchdb-password-file"); name != "" {
		text, err := os.ReadFile(name)
		if err != nil {
			return usageErrorf("--couchdb-password-file: %w", err)
		}
		config.Password = strings.TrimRight(string(text), "\r\n")
	}
	if (config.Password == "") != (config.User == "") {
		return usageErrorf("a user needs a password and a password a user: --couchdb-user, and --couchdb-password-file or %s", passwordVariable)
	}
	if name := textOf(flags, "couchdb-ca"); name != "" {
		transport, err := trusting(name)
		if err != nil {
			return usageErrorf("--couchdb-ca: %w", err)
		}
		config.Transport = transport
	}
	server, err := couchdb.NewServer(config)
	if err != nil {
		return asUsage(err)
	}
	s.source, s.reach = server, server.Reach
	return nil
}

// trusting returns a transport that believes those certificates, and no others.
func trusting(file string) (http.RoundTripper, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New("there is no certificate in " + file)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	return transport, nil
}

func (p program) runImport(ctx context.Context, settings importSettings) (err error) {
	if err := settings.reach(ctx); err != nil {
		return err
	}
	dir := settings.data
	if _, missing := os.Stat(filepath.Join(dir, "entities.db")); missing != nil && settings.dryRun {
		// Nothing is to come into being, so it is held against stores that will vanish.
		if dir, err = os.MkdirTemp("", "whirl-import"); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	data, err := openDirectory(ctx, dir, p.logger(slog.LevelWarn))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, data.close()) }()
	i := newImporter(p, settings, data, time.Now())
	return i.run(ctx)
}
