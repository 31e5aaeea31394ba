// SPDX-License-Identifier: Apache-2.0

package runtimes

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

//go:embed nodejs/*.js python/*.py
var proxies embed.FS

// Local is a runtime of this machine: how the process driver starts the action
// proxy of one kind inside a sandbox.
type Local struct {
	Kind    string            // such as "nodejs:20"
	Version string            // of the interpreter, such as "20.20.2"; "" if there is none
	Argv    []string          // inside the sandbox
	Files   fs.FS             // shown read-only at /whirl in the sandbox; nil for nothing
	Mounts  []string          // of the host, shown read-only at the same path, beside /usr, /lib and its likes, /bin, /sbin and /etc
	Env     map[string]string // of the proxy; nil for nothing
}

// Options say where [Detect] looks. The zero value is what most want.
type Options struct {
	Path         string   // directories to look in, in the form of $PATH; "" takes $PATH, then /usr/local/bin and /usr/bin
	Interpreters []string // paths of further nodes and pythons, each for a kind of its own

	// Patience is how long an interpreter has to answer; 0 is two minutes. It is no
	// measure of what an interpreter needs but of how busy a machine may be.
	Patience time.Duration
	// Logger is told of interpreters that are slow or were killed; nil discards it.
	Logger *slog.Logger
}

// Missing is a runtime that this machine could have and has not, or an
// interpreter of [Options] that cannot be used.
type Missing struct {
	Family string // such as "nodejs"; "" for an interpreter of no known family
	Reason string // such as "no node of version 18.0 or newer was found"
	Mend   string // a command for Debian and Ubuntu, such as "apt-get install nodejs"; "" if none helps
}

// Detect finds out what this machine can run, by asking the interpreters
// themselves. Of the interpreters on the path, the first of each family that is
// new enough is taken; one that does not answer counts as missing. The manifest
// lists the same kinds as the locals, the newest of a family as its default.
func Detect(ctx context.Context, options Options) ([]Local, whisk.Manifest, []Missing) {
	if options.Path == "" {
		options.Path = os.Getenv("PATH") + ":/usr/local/bin:/usr/bin"
	}
	var locals []Local
	var manifest whisk.Manifest
	missing := unknown(options.Interpreters)
	for _, family := range search(ctx, options) {
		missing = append(missing, family.missing...)
		if len(family.interpreters) == 0 {
			continue
		}
		locals = append(locals, family.locals()...)
		manifest.Families = append(manifest.Families, family.manifest())
	}
	locals = append(locals, Local{
		Kind: nativeKind,
		Argv: []string{"/whirl-self", "native-proxy"},
		// One activation at a time needs one thread of Go. More of them only wake
		// each other, which costs more than half of a run again.
		Env: map[string]string{"GOMAXPROCS": "1"},
	})
	manifest.Families = append(manifest.Families, whisk.RuntimeFamily{
		Name:     "native",
		Runtimes: []whisk.Runtime{newLocalRuntime(nativeKind)},
	})
	manifest.Families[len(manifest.Families)-1].Runtimes[0].Default = true
	return locals, manifest, missing
}

const nativeKind = "native:default"

func (o Options) patience() time.Duration {
	if o.Patience > 0 {
		return o.Patience
	}
	return 2 * time.Minute
}

func (o Options) logger() *slog.Logger {
	if o.Logger != nil {
		return o.Logger
	}
	return slog.New(slog.DiscardHandler)
}

func newLocalRuntime(kind string) whisk.Runtime {
	return whisk.Runtime{Kind: kind, Image: "whirl/" + kind, Attached: true, Sentinels: true}
}

// unknown returns those of the interpreters that no language claims.
func unknown(interpreters []string) []Missing {
	var missing []Missing
	for _, path := range interpreters {
		if !nodejs().claims(path) && !python().claims(path) {
			missing = append(missing, Missing{Reason: path + " goes by the name of neither node nor python"})
		}
	}
	return missing
}

// search asks all interpreters of all languages, the languages at once.
func search(ctx context.Context, options Options) []*family {
	families := []*family{{language: nodejs(), options: options}, {language: python(), options: options}}
	var wg sync.WaitGroup
	for _, family := range families {
		wg.Go(func() { family.search(ctx) })
	}
	wg.Wait()
	return families
}

// family is a language and what was found of it.
type family struct {
	language
	options      Options
	interpreters []interpreter // newest first, each of another kind
	missing      []Missing
}

func (f *family) search(ctx context.Context) {
	var reasons []string
	for _, candidate := range lookPath(f.options.Path, f.command) {
		err := f.take(ctx, candidate)
		if err == nil {
			break
		}
		reasons = append(reasons, err.Error())
	}
	for _, extra := range f.options.Interpreters {
		if !f.claims(extra) {
			continue
		}
		if err := f.take(ctx, extra); err != nil {
			f.missing = append(f.missing, Missing{Family: f.name, Reason: err.Error()})
		}
	}
	if len(f.interpreters) == 0 {
		reasons = append([]string{fmt.Sprintf("no %s of version %s or newer was found", f.command, f.oldest)}, reasons...)
		f.missing = append(f.missing, Missing{Family: f.name, Reason: strings.Join(reasons, "; "), Mend: f.mend})
	}
	slices.SortStableFunc(f.interpreters, func(a, b interpreter) int { return b.compare(a.release) })
}

// take adds the interpreter at path, unless its kind is there already.
func (f *family) take(ctx context.Context, path string) error {
	found, err := f.ask(ctx, path)
	if errors.Is(err, errNoAnswer) {
		return fmt.Errorf("%s %w", path, err)
	}
	if err != nil {
		return fmt.Errorf("%s does not work: %w", path, err)
	}
	if found.compare(f.oldest) < 0 {
		return fmt.Errorf("%s has version %s, want %s or newer", path, found.Version, f.oldest)
	}
	if !slices.ContainsFunc(f.interpreters, func(i interpreter) bool { return f.kind(i.release) == f.kind(found.release) }) {
		f.interpreters = append(f.interpreters, found)
	}
	return nil
}

// errNoAnswer says nothing about an interpreter: the machine may have been too busy.
var errNoAnswer = errors.New("did not answer")

// ask has an interpreter describe itself. One that somebody killed, as machines without
// memory do, is asked again.
func (f *family) ask(ctx context.Context, path string) (found interpreter, err error) {
	const asks = 3
	patience := f.options.patience()
	log := f.options.logger().With("interpreter", path)
	began := time.Now()
	slow := time.AfterFunc(patience/24, func() { log.Warn("interpreter is slow to answer, waiting", "at_most", patience) })
	defer slow.Stop()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for range asks {
		found, err = askInterpreter(ctx, path, f.describe)
		exit, ended := errors.AsType[*exec.ExitError](err)
		if err != nil && ctx.Err() == context.DeadlineExceeded {
			log.Error("interpreter did not answer, its kind is not on offer until the next start", "took", time.Since(began))
			return found, fmt.Errorf("%w within %s", errNoAnswer, patience)
		}
		if !ended || exit.ExitCode() >= 0 || ctx.Err() != nil { // negative: a signal
			return found, err
		}
		log.Warn("interpreter was killed, asking again", "err", err)
	}
	return found, err
}

func (f *family) locals() []Local {
	files, err := fs.Sub(proxies, f.name)
	if err != nil {
		panic(err) // the embedding has a folder of each language's name
	}
	var locals []Local
	for _, found := range f.interpreters {
		locals = append(locals, Local{
			Kind:    f.kind(found.release),
			Version: found.Version,
			Argv:    []string{found.Executable, "/whirl/" + f.proxy},
			Files:   files,
			Mounts:  found.mounts(),
			Env:     found.Environment,
		})
	}
	return locals
}

func (f *family) manifest() whisk.RuntimeFamily {
	family := whisk.RuntimeFamily{Name: f.name}
	for _, found := range f.interpreters {
		family.Runtimes = append(family.Runtimes, newLocalRuntime(f.kind(found.release)))
	}
	family.Runtimes[0].Default = true
	family.Runtimes[0].StemCells = []whisk.StemCell{f.stemCell}
	return family
}
