// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/whirl-faas/whirl/agent"
	"github.com/whirl-faas/whirl/agent/gate"
	"github.com/whirl-faas/whirl/agent/httpapi"
	"github.com/whirl-faas/whirl/agent/ledger"
	"github.com/whirl-faas/whirl/driver/process"
	"github.com/whirl-faas/whirl/rpc"
	"github.com/whirl-faas/whirl/rpc/certs"
	"github.com/whirl-faas/whirl/surface"
	"github.com/whirl-faas/whirl/whisk"
)

// succession is how long sandboxes of the process driver wait for the next agent. After a lease's
// time they are of no use to the controllers that held them; the rest is for an agent
// that is slow to start, which finds those that nobody held.
const succession = time.Minute

// agentSettings are the flags of whirl agent, checked.
type agentSettings struct {
	node      string
	listen    string
	advertise string
	scheduler string
	http      officeSettings
	data      string
	logs      logSettings
	api       string
	keep      bool
	back      backSettings
	peers     peerSettings
	logLevel  slog.Level
}

func (p program) agentCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Run the agent of a node",
		Long: `Run the agent of a node: it makes, suspends, resumes and removes the containers
there, lends them to controllers, and stores what they print.

The agent connects to the scheduler; controllers connect to the agent. Beside
that it answers GET /health, /suspend/{container}, /resume/{container} and
/log/{container} over HTTP, for operators: see docs/agent.md. There are /healthz,
/readyz and /metrics too.

An interrupt or SIGTERM removes the containers. With --keep-on-stop they stay,
for an agent that is started next, and so they do if the agent is killed: no
container is lost by an upgrade. Sandboxes of the process driver wait for a minute.
` + peersHelp,
		Example: `  whirl agent --plain-loopback --node node1
  whirl agent --node node1 --scheduler 10.0.0.1:3240 --listen 10.0.0.2:3242 \
      --ca ca.crt --cert agent-node1.crt --key agent-node1.key`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := p.loadSettings(cmd); err != nil {
				return err
			}
			settings, err := readAgentSettings(cmd)
			if err != nil {
				return err
			}
			return p.runAgent(cmd.Context(), settings)
		},
	}
	addConfigFlag(cmd)
	flags := cmd.Flags()
	flags.String("node", "", "the node's `NAME` (default: the certificate's, or else the host's)")
	flags.String("scheduler", schedulerAddress, "`HOST:PORT` of the scheduler")
	flags.String("listen", "127.0.0.1:3242", "`HOST:PORT` for controllers")
	flags.String("advertise", "", "`HOST:PORT` by which controllers find it (default: that of --listen)")
	addOfficeFlags(flags, "127.0.0.1:3243")
	flags.String("data", defaultDataDirectory(), "`DIRECTORY` for what the next agent has to know")
	addLogStoreFlag(flags)
	flags.String("api", "http://127.0.0.1:3233", "`URL` by which actions reach the API")
	addConcurrencyFlag(flags, "the controllers' `NUMBER`; above 1 all containers find __OW_ALLOW_CONCURRENT=true, without which nodejs takes one activation at a time")
	flags.Bool("keep-on-stop", false, "leave the containers to the next agent instead of removing them")
	addBackFlags(flags)
	addPublishFlags(flags)
	addPeerFlags(flags)
	addLogFlag(flags)
	return cmd
}

// agentLogConnections is what an agent needs in a database of logs: it writes one
// batch after the other, and may have to leave a connection that does not answer.
const agentLogConnections = 2

func readAgentSettings(cmd *cobra.Command) (s agentSettings, err error) {
	flags := cmd.Flags()
	text := func(name string) string { return textOf(flags, name) }
	s = agentSettings{
		node: text("node"), scheduler: text("scheduler"), listen: text("listen"), advertise: text("advertise"),
		api: text("api"),
	}
	s.keep, _ = flags.GetBool("keep-on-stop")
	if s.logLevel, err = readLogLevel(flags); err != nil {
		return s, err
	}
	if s.data, err = readData(flags); err != nil {
		return s, err
	}
	if err := s.logs.read(flags, s.data, "agent", agentLogConnections); err != nil {
		return s, err
	}
	s.peers.role = certs.Agent
	if err := s.peers.read(flags, "scheduler", "listen", "advertise"); err != nil {
		return s, err
	}
	if err := s.http.read(flags, s.peers.plain); err != nil {
		return s, err
	}
	if err := s.back.read(flags); err != nil {
		return s, err
	}
	if err := s.demandDenied(flags.Changed("sandbox-denied")); err != nil {
		return s, err
	}
	s.back.grace = succession
	return s, s.back.readPublish(text)
}

// demandDenied has an operator say, where the cluster is on several hosts, which
// networks actions may not reach. That of this host's own ports is known to the
// driver; where the others' are nobody else knows.
func (s *agentSettings) demandDenied(said bool) error {
	host, _, err := net.SplitHostPort(s.scheduler)
	if said || err != nil || isLoopback(host) || s.back.network != string(process.Outbound) {
		return nil
	}
	return usageErrorf("--sandbox-denied: name the networks of the cluster's hosts, such as 10.0.0.0/29, so that actions cannot reach their ports; or say \"\" if actions may reach everything")
}

// runAgent runs the role until ctx ends.
func (p program) runAgent(ctx context.Context, settings agentSettings) (err error) {
	logger := p.logger(settings.logLevel)
	peers, err := settings.peers.open(logger)
	if err != nil {
		return err
	}
	if settings.node, err = peers.name("node", settings.node); err != nil {
		return err
	}
	if settings.node == "" {
		if settings.node, err = os.Hostname(); err != nil {
			return usageErrorf("--node: the host has no name to take: %w", err)
		}
	}
	n := &nodeProcess{settings: settings, peers: peers, logger: logger}
	defer func() { err = errors.Join(err, n.close()) }()
	if err := n.open(ctx); err != nil {
		return err
	}
	parts := newLifecycle(logger)
	defer func() { err = errors.Join(err, parts.stop()) }()
	n.start(ctx, parts)
	n.announce(p.stdout)
	parts.wait(ctx)
	return nil
}

// nodeProcess is a process that plays the agent.
type nodeProcess struct {
	settings agentSettings
	peers    *peers
	logger   *slog.Logger

	logs     logs
	ledger   *ledger.Dir
	sessions net.Listener // for controllers
	http     *office      // for operators; nil for none
	back     *back

	serveSessions func(context.Context) error
}

// open takes all that the agent needs. What it took before it failed, close
// gives back.
func (n *nodeProcess) open(ctx context.Context) (err error) {
	state := n.state()
	if err := os.MkdirAll(state, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	if n.logs, err = n.settings.logs.open(ctx, n.logger); err != nil {
		return err
	}
	if n.ledger, err = ledger.Open(filepath.Join(state, "containers")); err != nil {
		return fmt.Errorf("open the records of containers: %w", err)
	}
	if n.sessions, err = listenFor("listen", n.settings.listen); err != nil {
		return err
	}
	if n.back, err = openBack(ctx, n.settings.back, n.instance(), n.settings.api, n.logger); err != nil {
		return err
	}
	if err := n.assemble(); err != nil {
		return errors.Join(err, n.back.close())
	}
	return nil
}

// state is the directory of what the node's next agent has to know.
func (n *nodeProcess) state() string { return filepath.Join(n.settings.data, "agent-"+n.settings.node) }

// instance is the name under which sandboxes and published ports belong to the node.
func (n *nodeProcess) instance() string { return instanceOf("agent", n.state()) }

func (n *nodeProcess) assemble() error {
	dialer, err := rpc.NewDialer(n.peers.security, nil)
	if err != nil {
		return err
	}
	config := agent.Default()
	config.Node = whisk.NodeID(n.settings.node)
	config.Address = n.settings.advertise
	if config.Address == "" {
		config.Address = n.sessions.Addr().String()
	}
	config.Probes = probesAt(n.settings.http.address, config.Address)
	config.KeepOnStop = n.settings.keep
	err = n.back.assemble(config, agent.Deps{
		Logs:   n.logs,
		Ledger: n.ledger,
		DialScheduler: func(ctx context.Context) (whisk.AgentToScheduler, error) {
			return dialer.AgentToScheduler(ctx, n.settings.scheduler)
		},
	})
	if err != nil {
		return err
	}
	n.serveSessions, err = n.peers.serve(rpc.Handlers{Sandbox: n.back.agent.ServeController}, rpc.Limits{}, n.sessions)
	if err != nil {
		return err
	}
	return n.openHTTP()
}

// openHTTP opens the surface for operators.
func (n *nodeProcess) openHTTP() (err error) {
	if n.settings.http.address == "" {
		return nil
	}
	api, err := httpapi.New(httpapi.Default(), n.back.agent, n.caller, n.logger)
	if err != nil {
		return err
	}
	n.http, err = openOffice(n.settings.http, n.peers, surface.Watch{Ready: n.ready, Lacks: n.lacks, Metrics: surface.Metrics(httpapi.Figures(n.back.agent))}, api)
	return err
}

// caller finds out who asks: by the secret operators, and by the certificates of
// the cluster operators, controllers, for the containers that they hold, and
// others, who may only look.
func (n *nodeProcess) caller(r *http.Request) (agent.Caller, error) {
	known, err := n.settings.http.authorize(n.peers)(r)
	if err != nil {
		return agent.Caller{}, err
	}
	caller := agent.Caller{Name: known.Name, Operator: known.Operator}
	if r.TLS == nil {
		return caller, nil
	}
	who, err := holderOf(r)
	if err == nil && who.Role == certs.Controller {
		caller.Covers = func(id whisk.ControllerID) bool { return who.Covers(string(id)) }
	}
	return caller, err
}

// ready reports why no containers should be made here.
func (n *nodeProcess) ready(context.Context) error {
	if problem := n.back.agent.Status().Problem; problem != "" {
		return errors.New(problem)
	}
	return nil
}

// lacks reports that logs wait. Containers can be made all the same.
func (n *nodeProcess) lacks(context.Context) error {
	if going := n.back.agent.Status().Logs; going.Away != "" {
		return fmt.Errorf("the log store is away: %d logs wait for it, %d were dropped", going.Waiting, going.Dropped)
	}
	return nil
}

// start runs the parts. The agent stops last: it finishes what controllers
// asked for while they can still hear it.
func (n *nodeProcess) start(ctx context.Context, parts *lifecycle) {
	if n.http != nil {
		parts.start(ctx, "HTTP", n.http.serve)
	}
	parts.start(ctx, "sessions", n.serveSessions)
	n.back.start(ctx, parts)
}

func (n *nodeProcess) close() error {
	var errs []error
	if n.sessions != nil {
		errs = append(errs, closeListener(n.sessions))
	}
	if n.http != nil {
		errs = append(errs, closeListener(n.http.listener))
	}
	if n.ledger != nil {
		errs = append(errs, n.ledger.Close())
	}
	if n.logs != nil {
		errs = append(errs, n.logs.Close())
	}
	return errors.Join(errs...)
}

// announce says where the agent is and what it is made of.
func (n *nodeProcess) announce(out io.Writer) {
	fmt.Fprintf(out, "Whirl %s: the agent of %s is ready on %s\n\n", version, n.settings.node, n.sessions.Addr())
	line(out, "scheduler", n.settings.scheduler)
	if n.http != nil {
		line(out, "operators", n.http.listener.Addr().String())
	}
	line(out, "data", n.settings.data)
	line(out, "logs", n.settings.logs.String())
	if published := n.settings.back.publish; published.Address.IsValid() {
		line(out, "published", fmt.Sprintf("%s, ports %s, to the controllers that hold containers; nftables table inet %s",
			published.Address, publishedPorts(published), gate.TableOf(n.instance())))
	}
	n.back.announce(out)
}
