// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/whirl-faas/whirl/rpc/certs"
	"github.com/whirl-faas/whirl/whisk"
)

// schedulerClient asks a scheduler's HTTP surface, as an operator.
type schedulerClient struct {
	address string
	base    string
	secret  string // "" with certificates
	http    http.Client
}

// Bounds of an exchange with a scheduler.
const (
	schedulerPatience = 15 * time.Second
	maxStatus         = 64 << 20 // a snapshot's lists are bounded; its names are not
)

func addSchedulerClientFlags(flags *pflag.FlagSet) {
	flags.String("scheduler-http", schedulerHTTP, "`HOST:PORT` of the scheduler's --http")
	flags.String("ca", "", "`FILE` with the certificates of the authorities to believe")
	flags.String("cert", "", "`FILE` with an operator's certificate")
	flags.String("key", "", "`FILE` with its private key")
	flags.String("secret", "", "that of the scheduler's --http-secret, if it has no certificates")
}

func openSchedulerClient(flags *pflag.FlagSet, logger *slog.Logger) (*schedulerClient, error) {
	c := &schedulerClient{address: textOf(flags, "scheduler-http"), secret: textOf(flags, "secret")}
	host, err := hostOf("scheduler-http", c.address)
	if err != nil {
		return nil, err
	}
	peers := peerSettings{role: certs.Operator, files: certs.Files{CA: textOf(flags, "ca"), Cert: textOf(flags, "cert"), Key: textOf(flags, "key")}}
	transport := &http.Transport{DisableKeepAlives: true}
	c.http = http.Client{Transport: transport, Timeout: schedulerPatience, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	switch files := peers.files; {
	case c.secret != "" && files != certs.Files{}:
		return nil, usageErrorf("give either --secret, or --ca, --cert and --key of an operator")
	case c.secret != "" && !isLoopback(host):
		return nil, usageErrorf("--scheduler-http %s: --secret is for this machine only, everybody on the way could read it; use --ca, --cert and --key", c.address)
	case c.secret != "":
		c.base = "http://" + c.address
		return c, nil
	case files.CA == "" || files.Cert == "" || files.Key == "":
		return nil, usageErrorf("give --ca, --cert and --key of an operator, which whirl certs makes, or --secret if the scheduler runs on this machine with --http-secret")
	}
	opened, err := peers.open(logger)
	if err != nil {
		return nil, err
	}
	c.base = "https://" + c.address
	transport.TLSClientConfig = opened.source.Client(acceptScheduler, "http/1.1")
	return c, nil
}

func acceptScheduler(who certs.Identity) error {
	if who.Role != certs.Scheduler {
		return whisk.Errorf(whisk.Denied, "that is %s, and no scheduler", who)
	}
	return nil
}

func (c *schedulerClient) close() { c.http.CloseIdleConnections() }

// ask returns the body of an answer that all went well.
func (c *schedulerClient) ask(ctx context.Context, method, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, http.NoBody)
	if err != nil {
		return nil, usageErrorf("--scheduler-http %s: %w", c.address, err)
	}
	if c.secret != "" {
		request.Header.Set("Authorization", "Bearer "+c.secret)
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("no scheduler answers at %s, the address of its --http: %w", c.address, errors.Unwrap(err))
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxStatus+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("read the scheduler's answer: %w", err)
	case len(body) > maxStatus:
		return nil, fmt.Errorf("the scheduler's answer is longer than %d bytes", maxStatus)
	case answer.StatusCode == http.StatusOK, answer.StatusCode == http.StatusNoContent:
		return body, nil
	}
	var refusal struct{ Error string }
	if json.Unmarshal(body, &refusal) != nil || refusal.Error == "" {
		refusal.Error = strings.TrimSpace(string(body[:min(len(body), 200)]))
	}
	return nil, fmt.Errorf("the scheduler at %s answers %d: %s", c.address, answer.StatusCode, printable(refusal.Error))
}
