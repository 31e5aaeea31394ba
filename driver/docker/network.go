// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/whirl-faas/whirl/driver/docker/internal/firewall"
	"github.com/whirl-faas/whirl/whisk"
)

// networkID is a short name that belongs to the instance: devices have room for
// 15 characters.
func networkID(instance string) string {
	sum := sha256.Sum256([]byte(instance))
	return fmt.Sprintf("%x", sum[:4])
}

// bridgeOf names the network device of an instance's network of that kind.
func bridgeOf(instance string, kind Network) string {
	return map[Network]string{Outbound: "wo", None: "wn"}[kind] + networkID(instance)
}

func tableOf(instance string) string { return "whirl_" + networkID(instance) }

// metadata is never reached: clouds offer a host its identity and secrets there.
// Most do so at a link-local address, Alibaba and Azure at one of their own.
var metadata = []netip.Prefix{
	netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("100.100.100.200/32"),
	netip.MustParsePrefix("168.63.129.16/32"),
}

// openNetwork finds or makes the instance's network.
func (d *Driver) openNetwork(ctx context.Context) error {
	name := fmt.Sprintf("whirl_%s_%s", d.config.Instance, d.config.Network)
	found, err := d.engine.NetworkInspect(ctx, name, client.NetworkInspectOptions{})
	if errdefs.IsNotFound(err) {
		err = d.makeNetwork(ctx, name)
		if err == nil {
			found, err = d.engine.NetworkInspect(ctx, name, client.NetworkInspectOptions{})
		}
	}
	if err != nil {
		return fmt.Errorf("make the network %s: %w", name, err)
	}
	if found.Network.Labels[labelInstance] != d.config.Instance {
		return whisk.Errorf(whisk.Conflict, "the engine has a network %s that is not ours", name)
	}
	if len(found.Network.IPAM.Config) == 0 || !found.Network.IPAM.Config[0].Subnet.IsValid() {
		return whisk.Errorf(whisk.Conflict, "the network %s has no subnet", name)
	}
	d.network = name
	ipam := found.Network.IPAM.Config[0]
	d.gateway = ipam.Gateway
	d.addresses = newAddresses(ipam.Subnet, ipam.Gateway)
	if err := d.state.noteNetwork(name, ipam); err != nil {
		d.log.Debug("the network's subnet is not noted", "err", err)
	}
	return nil
}

// makeNetwork makes the network, with the subnet that it had before it was removed from under
// containers that live yet. Where that is not free, or there was none, the engine chooses one, which
// somebody else may take meanwhile.
func (d *Driver) makeNetwork(ctx context.Context, name string) (err error) {
	if former, ok := d.state.recallNetwork(name); ok {
		if err = d.makeNetworkAt(ctx, name, former); err == nil {
			return nil
		}
		d.log.Warn("the network's former subnet is not to be had", "subnet", former.Subnet.String(), "err", err)
	}
	const tries = 5
	for range tries {
		if err = d.makeNetworkOnce(ctx, name); err == nil || ctx.Err() != nil {
			break
		}
	}
	return err
}

// makeNetworkOnce makes the network twice: only the engine knows which subnets
// are free, and only on a network whose subnet was chosen for it, may we choose
// the addresses.
func (d *Driver) makeNetworkOnce(ctx context.Context, name string) error {
	if err := d.makeNetworkAt(ctx, name); err != nil {
		return err
	}
	chosen, err := d.engine.NetworkInspect(ctx, name, client.NetworkInspectOptions{})
	if err != nil {
		return err
	}
	if _, err := d.engine.NetworkRemove(ctx, name, client.NetworkRemoveOptions{}); err != nil {
		return err
	}
	return d.makeNetworkAt(ctx, name, chosen.Network.IPAM.Config...)
}

// makeNetworkAt makes the network with those subnets, or with one of the engine's choice.
func (d *Driver) makeNetworkAt(ctx context.Context, name string, subnets ...network.IPAMConfig) error {
	options := client.NetworkCreateOptions{
		Driver:   "bridge",
		Internal: d.config.Network == None,
		Labels:   map[string]string{labelInstance: d.config.Instance},
		Options: map[string]string{
			"com.docker.network.bridge.name":       bridgeOf(d.config.Instance, d.config.Network),
			"com.docker.network.bridge.enable_icc": "false",
		},
	}
	if len(subnets) > 0 {
		options.IPAM = &network.IPAM{}
	}
	for _, config := range subnets {
		gateway := config.Gateway
		if !gateway.IsValid() { // an internal network of some engines
			gateway = config.Subnet.Masked().Addr().Next()
		}
		options.IPAM.Config = append(options.IPAM.Config, network.IPAMConfig{Subnet: config.Subnet, Gateway: gateway})
	}
	_, err := d.engine.NetworkCreate(ctx, name, options)
	return err
}

// openFirewall puts our rules in force and finds out how actions reach the API.
// What cannot be had is told, not fatal: the engine may be elsewhere.
func (d *Driver) openFirewall() (weak []string) {
	rules := firewall.Rules{
		Table:   tableOf(d.config.Instance),
		Bridges: []string{bridgeOf(d.config.Instance, Outbound), bridgeOf(d.config.Instance, None)},
		Denied:  slices.Concat(metadata, d.config.Denied),

		Published: d.config.Ports != nil,
	}
	allowed, text := d.openAPI()
	if allowed.IsValid() {
		rules.Allowed = append(rules.Allowed, allowed)
	}
	if text != "" {
		weak = append(weak, text)
	}
	if err := firewall.Apply(rules); err != nil {
		d.log.Warn("no firewall for containers", "err", err)
		return append(weak, fmt.Sprintf("containers may reach this machine's services and link-local addresses (%v): run the agent as root on the engine's machine, with nf_tables in its kernel", err))
	}
	d.walled = true
	if !firewall.SeesBridged() {
		weak = append(weak, "containers may reach each other: `sudo modprobe br_netfilter && sudo sysctl -w net.bridge.bridge-nf-call-iptables=1`")
	}
	return weak
}

// closeNetwork removes what only this instance's containers used, if there are
// none any more.
func (d *Driver) closeNetwork(ctx context.Context) error {
	ours := client.Filters{}.Add("label", labelInstance+"="+d.config.Instance)
	living, err := d.engine.ContainerList(ctx, client.ContainerListOptions{All: true, Filters: ours})
	if err != nil || len(living.Items) > 0 {
		return err
	}
	networks, err := d.engine.NetworkList(ctx, client.NetworkListOptions{Filters: ours})
	errs := []error{err}
	for _, one := range networks.Items {
		if _, err := d.engine.NetworkRemove(ctx, one.ID, client.NetworkRemoveOptions{}); err != nil && !errdefs.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("remove the network %s: %w", one.Name, err))
		}
	}
	if d.walled {
		errs = append(errs, firewall.Remove(tableOf(d.config.Instance)))
	}
	return errors.Join(errs...)
}

// addresses gives out the addresses of a subnet, each as late as possible after
// it was given back. It is guarded by its driver's lock.
type addresses struct {
	subnet  netip.Prefix
	gateway netip.Addr
	used    map[netip.Addr]bool
	next    netip.Addr // where the search begins
}

func newAddresses(subnet netip.Prefix, gateway netip.Addr) *addresses {
	subnet = subnet.Masked()
	return &addresses{subnet: subnet, gateway: gateway, used: map[netip.Addr]bool{}, next: subnet.Addr().Next()}
}

// take returns a free address, or one that is not valid if there is none.
func (a *addresses) take() netip.Addr {
	first := a.subnet.Addr().Next()
	start := a.next
	for at := start; ; {
		following := at.Next()
		if !a.subnet.Contains(following) || !a.subnet.Contains(following.Next()) { // the last one is for broadcasts
			following = first
		}
		a.next = following
		if at != a.gateway && !a.used[at] {
			a.used[at] = true
			return at
		}
		if at = following; at == start {
			return netip.Addr{}
		}
	}
}

// hold marks an address that a recovered container has.
func (a *addresses) hold(address netip.Addr) { a.used[address] = true }

func (a *addresses) giveBack(address netip.Addr) { delete(a.used, address) }
