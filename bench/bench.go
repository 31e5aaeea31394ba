// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/whirl-faas/whirl/client"
	"github.com/whirl-faas/whirl/whisk"
)

// cleanupTime bounds the deletion of what a run deployed.
const cleanupTime = 20 * time.Second

// Run measures what config asks for, tells progress what it is doing (one line
// that changes on a terminal, a line each step elsewhere; nil for silence) and
// returns the figures. If ctx ends, or the server refuses the work, the report
// holds what was measured until then.
func Run(ctx context.Context, config Config, progress io.Writer) (Report, error) {
	if err := config.Validate(); err != nil {
		return Report{}, err
	}
	r, err := newRunner(config, progress)
	if err != nil {
		return Report{}, err
	}
	defer r.client.Close()
	defer r.display.clear()
	start := time.Now()
	r.report = Report{Started: start.UTC(), APIHost: r.base, Machine: thisMachine(), Workload: workloadOf(config)}
	err = r.run(ctx)
	r.report.Took = time.Since(start)
	return r.report, err
}

// runner carries out one run. One goroutine uses it.
type runner struct {
	config  Config
	client  *client.Client
	base    string // "scheme://host[:port]"
	address whisk.Address
	tag     string // makes this run's action names its own
	meter   meter
	display *display
	report  Report
}

func newRunner(config Config, progress io.Writer) (*runner, error) {
	api, err := client.New(client.Config{APIHost: config.APIHost, Auth: config.Auth})
	if err != nil {
		return nil, err
	}
	host := config.APIHost
	if !strings.Contains(host, "://") {
		host = "https://" + host
	}
	root, err := url.Parse(strings.TrimSuffix(host, "/"))
	if err != nil {
		return nil, whisk.Errorf(whisk.Invalid, "bad API host %q: %w", config.APIHost, err)
	}
	address := root.Host
	if root.Port() == "" {
		address = root.Hostname() + map[string]string{"http": ":80", "https": ":443"}[root.Scheme]
	}
	return &runner{
		config:  config,
		client:  api,
		base:    root.String(),
		address: whisk.Address{Network: "tcp", Address: address},
		tag:     strconv.FormatInt(time.Now().UnixMilli(), 36),
		meter:   newMeter(config.Processes),
		display: newDisplay(progress, config),
	}, nil
}

// run takes the cold starts of a kind before its load, which leaves warm
// containers behind.
func (r *runner) run(ctx context.Context) error {
	info, err := r.client.ServerInfo(ctx)
	if err != nil {
		return fmt.Errorf("ask the server for its runtimes: %w", err)
	}
	if api, err := r.client.APIInfo(ctx); err == nil {
		r.report.Build = strings.TrimSpace(api.Build + " " + api.BuildNumber)
	}
	kinds, err := r.config.kinds(info)
	if err != nil {
		return err
	}
	r.display.plan(len(kinds))
	for _, kind := range kinds {
		if err := r.coldStarts(ctx, kind); err != nil {
			return err
		}
		if err := r.warmLoads(ctx, kind); err != nil {
			return err
		}
		if err := r.rivalLoads(ctx, kind); err != nil {
			return err
		}
	}
	return nil
}

// deploy makes the no-op action of a kind and returns how to delete it. The
// deletion works also after ctx ended.
func (r *runner) deploy(ctx context.Context, name, kind string) (action client.Action, remove func(), err error) {
	noop, _ := noopOf(family(kind)) // Validate saw that there is one
	action, err = r.client.CreateAction(ctx, name, client.ActionSpec{
		Exec:   &client.Exec{Kind: concrete(kind), Code: noop.code},
		Limits: &client.LimitsSpec{Memory: r.config.Memory.Megabytes()},
	})
	remove = func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
		defer cancel()
		// Nothing can be done about a failure, and it does no harm to the figures.
		_, _ = r.client.DeleteAction(ctx, name)
	}
	if err != nil {
		// The server may have made it although the answer was lost.
		if _, refused := errors.AsType[*client.Error](err); !refused {
			remove()
		}
		return client.Action{}, nil, fmt.Errorf("deploy a no-op of kind %s: %w", kind, err)
	}
	return action, remove, nil
}

// platform is the target of blocking invokes of an action.
func (r *runner) platform(name string) target {
	return target{
		addresses: []whisk.Address{r.address},
		tls:       strings.HasPrefix(r.base, "https:"),
		uri:       r.base + "/api/v1/namespaces/_/actions/" + name + "?blocking=true",
		auth:      "Basic " + base64.StdEncoding.EncodeToString([]byte(r.config.Auth)),
		body:      []byte("{}"),
		judge:     judgeRecord,
	}
}
