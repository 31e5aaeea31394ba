// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/moby/moby/api/types/system"

	"github.com/whirl-faas/whirl/whisk"
)

// describe says in words what the driver does here.
func (d *Driver) describe(info system.Info, found findings, weak []string) whisk.Capabilities {
	isolation := []string{
		fmt.Sprintf("containers of docker %s (%s, cgroup v%s)", info.ServerVersion, info.Driver, info.CgroupVersion),
		"no capabilities, no new privileges, the engine's seccomp profile",
		fmt.Sprintf("limits: memory without swap, %d processes, %d open files each, a CPU share in proportion to memory%s", d.config.PIDs, d.config.OpenFiles, d.bound()),
		map[ReadOnly]string{
			ReadOnlyLabelled: "a read-only root with a private /tmp for images labelled whirl.read-only-root=true",
			ReadOnlyAlways:   "a read-only root with a private /tmp",
			ReadOnlyNever:    "a root of its own",
		}[d.config.ReadOnly],
		map[Network]string{
			Outbound: "a bridge network that reaches the world, but not this machine (except the API), other containers or link-local addresses",
			None:     "a bridge network that reaches nothing",
		}[d.config.Network],
		"suspended by " + d.describeFreezer(found),
	}
	if d.config.ReadOnly != ReadOnlyAlways && !strings.Contains(string(d.config.Options), "StorageOpt") {
		weak = append(weak, "an action may fill the engine's disk through a writable root: use images with a read-only root, or a StorageOpt where the engine's file system has quotas")
	}
	if len(d.config.Options) > 0 {
		isolation = append(isolation, "with the operator's own container options")
	}
	return whisk.Capabilities{
		Name:      "docker",
		Isolation: isolation,
		Weak:      weak,
		Images:    true,
		Suspend:   true,
		Recovers:  true,
	}
}

func (d *Driver) bound() string {
	if d.config.CPUs == 0 {
		return ""
	}
	return fmt.Sprintf(", at most %g CPUs", d.config.CPUs)
}

// describeFreezer tells how sandboxes are suspended and what was measured.
func (d *Driver) describeFreezer(found findings) string {
	names := map[Freezer]string{
		FreezeAuto:    "the container's cgroup, or the OCI runtime or the engine's pause where that is out of reach; no image was here to try it on",
		FreezeUnified: "cgroup v2's cgroup.freeze",
		FreezeLegacy:  "cgroup v1's freezer",
		FreezeRuntime: "the OCI runtime",
		FreezeEngine:  "the engine's pause",
	}
	text := names[d.freezer]
	var measured []string
	for _, way := range []Freezer{FreezeUnified, FreezeLegacy, FreezeRuntime, FreezeEngine} {
		if took, ok := found.Took[way]; ok {
			measured = append(measured, fmt.Sprintf("%s %s", way, took.Round(10*time.Microsecond)))
		}
	}
	if len(measured) > 0 {
		text += " (suspend and resume took: " + strings.Join(measured, ", ") + ")"
	}
	return text
}

// describeEngine lists what the engine cannot enforce.
func describeEngine(info system.Info) []string {
	var weak []string
	has := func(option string) bool {
		return slices.ContainsFunc(info.SecurityOptions, func(o string) bool { return strings.HasPrefix(o, option) })
	}
	for _, lack := range []struct {
		holds bool
		text  string
	}{
		{has("name=seccomp") && !has("name=seccomp,profile=unconfined"), "the engine has no seccomp profile: containers may make any system call; start it with its default profile"},
		{!has("name=rootless"), "the engine runs rootless: limits and addresses depend on what its user may set"},
		{info.MemoryLimit, "the engine cannot limit memory: mount the memory cgroup"},
		{info.SwapLimit || info.CgroupVersion == "2", "the engine cannot keep containers from swap: boot with swapaccount=1"},
		{info.PidsLimit, "the engine cannot limit processes: mount the pids cgroup"},
		{info.CPUShares, "the engine cannot share the processors in proportion: mount the cpu cgroup"},
	} {
		if !lack.holds {
			weak = append(weak, lack.text)
		}
	}
	return weak
}
