// SPDX-License-Identifier: Apache-2.0

// Package process makes sandboxes out of ordinary processes with the kernel's
// own means: namespaces, cgroups, a read-only root and a system call filter. It
// needs no container engine and no images; the runtimes are programs of the
// machine.
//
// The first process of each sandbox is [Config.Program], which builds the sandbox
// around itself and then becomes the runtime, all before its main would begin
// (package stage). For the keeper of sandboxes, which is this program, main calls
// [InitKeeper] first thing.
//
// # Inside of a sandbox
//
// The runtime is process 1 of its pid namespace, runs as an unprivileged user
// with the clean environment of its recipe, sees the host's /usr read-only and
// can write to /tmp and /dev/shm only. It finds a listening Unix socket as
// descriptor 3, also named by WHIRL_LISTEN_FD, on which it serves /init and
// /run. The driver makes the socket and keeps its path to itself, so a sandbox
// takes connections before its runtime is up, and cannot put another socket in
// its place. Where [Config.Ports] publishes sandboxes to other hosts, it is a TCP
// socket instead. [Config.Self] is at /whirl-self, the recipe's files at /whirl.
//
// # Promises
//
// The parent of a sandbox's first process is a keeper, and the sandbox dies with it,
// however that ends. Without [Config.Grace] the keeper is a thread of this process: a
// sandbox dies with the process that made it. With a grace it is a process of its
// own (internal/keeper), which the next process of the same instance finds:
// [Driver.Recover] takes the sandboxes over as they are, running or frozen, with the
// output that nobody has read yet. What they had connected to the outside is reset when they
// use it next. If nobody comes within the grace, the keeper kills them and ends.
//
// What a dead process leaves besides (cgroups, sockets, directories) the next
// Recover of the same instance or of a neighbour removes. Only one process at a time holds
// an instance; a file lock sees to that. Methods may be called concurrently;
// calls that change one sandbox's state take turns.
//
// # Seams
//
// Per sandbox are the namespaces, the tun device, the cgroups, the mounts, two
// pipes and a socket; per instance the cgroup tree, the files of the runtimes
// and the keeper. A pool of prepared network namespaces with their
// devices would sit in launch.network, one of cgroups in launch.place. What is
// dear is the start of a program, which happens twice: a stage that has a runtime in it
// could go on as that without exec, and a zygote, a process that loaded a runtime and
// forks, would take the place of clone in the keeper. The root could be built once per
// runtime and cloned by open_tree(2) instead of being built by each stage (package stage,
// type root).
//
// docs/architecture.md tells where drivers stand in the whole, docs/adr/0014 why there
// is a keeper.
package process
