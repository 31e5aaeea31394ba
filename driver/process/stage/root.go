// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strconv"

	"golang.org/x/sys/unix"
)

// root builds a file system of its own on the directory base, which then
// becomes "/". Nothing of the host is in it but what was bound, read-only.
type root struct{ base string }

const (
	bindDefault = unix.MOUNT_ATTR_RDONLY | unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NODEV
	bindDevice  = unix.MOUNT_ATTR_NOSUID | unix.MOUNT_ATTR_NOEXEC
	tmpFlags    = unix.MS_NOSUID | unix.MS_NODEV
)

func (r root) start() error {
	unix.Umask(0o022)
	// Our mounts must not show on the host.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	return r.tmpfs("", tmpFlags, 1<<20, 0o755)
}

// addSystem shows the host's programs and libraries as the host has them: the
// top-level directories are links into /usr on most systems. They are named one
// by one, because a machine may have a /library of its own.
func (r root) addSystem() error {
	for _, path := range []string{"/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/libo32"} {
		if err := r.mirror(path); err != nil {
			return err
		}
	}
	return nil
}

// mirror shows a host path at the same place, a link as a link. One that is not
// there is left out.
func (r root) mirror(place string) error {
	info, err := os.Lstat(place)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink == 0 {
		return r.bind(place, place, bindDefault)
	}
	target, err := os.Readlink(place)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(path.Dir(r.base+place), 0o755); err != nil {
		return err
	}
	return os.Symlink(target, r.base+place)
}

// addEtc writes the few files that libraries look for, and shows those that
// say nothing about the host's users or secrets.
func (r root) addEtc(plan Plan) error {
	if err := os.Mkdir(r.base+"/etc", 0o755); err != nil {
		return err
	}
	id := strconv.Itoa(plan.UID)
	files := map[string]string{
		"passwd":        "root:x:0:0:root:/:/usr/sbin/nologin\nsandbox:x:" + id + ":" + id + ":sandbox:/tmp:/bin/sh\n",
		"group":         "root:x:0:\nsandbox:x:" + id + ":\n",
		"hostname":      plan.Hostname + "\n",
		"hosts":         "127.0.0.1 localhost " + plan.Hostname + "\n::1 localhost ip6-localhost ip6-loopback\n",
		"resolv.conf":   plan.Resolv,
		"nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n",
	}
	for name, content := range files {
		if err := os.WriteFile(r.base+"/etc/"+name, []byte(content), 0o644); err != nil {
			return err
		}
	}
	for _, name := range []string{
		"alternatives", "ca-certificates", "ld.so.cache", "ld.so.conf", "ld.so.conf.d",
		"localtime", "mime.types", "pki", "protocols", "services", "ssl",
	} {
		if err := r.mirror("/etc/" + name); err != nil {
			return err
		}
	}
	return nil
}

// addDevices shows the harmless devices. They are bound, not made: within a user
// namespace nobody may make devices.
func (r root) addDevices(shm int64) error {
	if err := r.tmpfs("/dev", unix.MS_NOSUID|unix.MS_NOEXEC, 1<<16, 0o755); err != nil {
		return err
	}
	for _, name := range []string{"null", "zero", "full", "random", "urandom"} {
		if err := r.bind("/dev/"+name, "/dev/"+name, bindDevice); err != nil {
			return err
		}
	}
	for name, target := range map[string]string{
		"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(target, r.base+"/dev/"+name); err != nil {
			return err
		}
	}
	if err := r.tmpfs("/dev/shm", tmpFlags|unix.MS_NOEXEC, shm, 0o1777); err != nil {
		return err
	}
	return setAttributes(r.base+"/dev", unix.MOUNT_ATTR_RDONLY)
}

// addProc mounts a /proc that knows the sandbox's processes only, without what
// tells about the machine or changes it.
func (r root) addProc() error {
	proc := r.base + "/proc"
	if err := os.Mkdir(proc, 0o555); err != nil {
		return err
	}
	if err := unix.Mount("proc", proc, "proc", tmpFlags|unix.MS_NOEXEC, ""); err != nil {
		return err
	}
	for _, name := range []string{"bus", "fs", "irq", "sys", "sysrq-trigger"} {
		if err := r.cover("/proc/"+name, "/proc/"+name, bindDefault|unix.MOUNT_ATTR_NOEXEC); err != nil {
			return err
		}
	}
	for _, name := range []string{"kcore", "keys", "latency_stats", "sched_debug", "timer_list", "timer_stats"} {
		if err := r.cover("/dev/null", "/proc/"+name, bindDevice); err != nil {
			return err
		}
	}
	for _, name := range []string{"acpi", "asound", "scsi"} {
		if _, err := os.Stat(proc + "/" + name); err != nil {
			continue
		}
		if err := r.tmpfs("/proc/"+name, tmpFlags|unix.MS_RDONLY, 1<<12, 0o555); err != nil {
			return err
		}
	}
	return nil
}

// cover binds a path of the new root over another one there, if that exists.
func (r root) cover(source, target string, attributes uint64) error {
	if _, err := os.Stat(r.base + target); err != nil {
		return nil
	}
	return attach(r.base+source, r.base+target, attributes)
}

func (r root) addTmp(size int64) error {
	return r.tmpfs("/tmp", tmpFlags, size, 0o1777)
}

func (r root) addRuntime(plan Plan) error {
	if plan.Files != "" {
		if err := r.bind(plan.Files, "/whirl", bindDefault); err != nil {
			return err
		}
	}
	for _, path := range plan.Mounts {
		if err := r.bind(path, path, bindDefault); err != nil {
			return err
		}
	}
	if plan.Self == "" {
		return nil
	}
	return r.addSelf(plan.Self)
}

// addSelf shows the platform's program. It goes by a name: a file that the agent has open is known
// to the agent's mount namespace only and cannot be bound from this one.
func (r root) addSelf(program string) error {
	const target = "/whirl-self"
	if err := r.bind(program, target, bindDefault); err != nil {
		return err
	}
	// A copy may be where nothing can be executed, as /run is on Debian. An ordinary user
	// cannot change that; then only those sandboxes fail that need it.
	err := unix.MountSetattr(unix.AT_FDCWD, r.base+target, 0, &unix.MountAttr{Attr_clr: unix.MOUNT_ATTR_NOEXEC})
	if err != nil && err != unix.EPERM {
		return fmt.Errorf("make %s executable: %w", target, err)
	}
	return nil
}

// enter makes the new root the only one.
func (r root) enter() error {
	if err := os.Chdir(r.base); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("pivot: %w", err)
	}
	// The old root lies on top of the new one now.
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leave the old root: %w", err)
	}
	if err := setAttributes("/", bindDefault); err != nil {
		return err
	}
	return os.Chdir("/tmp")
}

// bytesPerFile is how much of a file system's size there must be for each of its
// files. One that holds anything takes 4096 bytes anyway.
const bytesPerFile = 2048

func (r root) tmpfs(target string, flags uintptr, size int64, mode uint32) error {
	if err := os.MkdirAll(r.base+target, 0o755); err != nil {
		return err
	}
	// Empty files take the kernel's memory too, of which size says nothing.
	options := fmt.Sprintf("size=%d,mode=%o,nr_inodes=%d", size, mode, max(size/bytesPerFile, 1024))
	if err := unix.Mount("tmpfs", r.base+target, "tmpfs", flags, options); err != nil {
		return fmt.Errorf("mount %s: %w", target, err)
	}
	return nil
}

// bind shows the host's source, with all that is mounted below, at target.
func (r root) bind(source, target string, attributes uint64) error {
	info, err := os.Stat(source)
	if err != nil {
		return err
	}
	place := r.base + target
	if info.IsDir() {
		err = os.MkdirAll(place, 0o755)
	} else if err = os.MkdirAll(path.Dir(place), 0o755); err == nil {
		err = touch(place)
	}
	if err != nil {
		return err
	}
	return attach(source, place, attributes)
}

func touch(path string) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o444)
	if err != nil {
		return err
	}
	return file.Close()
}

// attach binds with the new mount calls: they set attributes on a whole tree,
// which the old ones, one mount at a time, cannot do safely.
func attach(source, target string, attributes uint64) error {
	tree, err := unix.OpenTree(unix.AT_FDCWD, source, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE)
	if err != nil {
		return fmt.Errorf("clone %s: %w", source, err)
	}
	defer unix.Close(tree)
	set := unix.MountAttr{Attr_set: attributes}
	if err := unix.MountSetattr(tree, "", unix.AT_EMPTY_PATH|unix.AT_RECURSIVE, &set); err != nil {
		return fmt.Errorf("protect %s: %w", source, err)
	}
	if err := unix.MoveMount(tree, "", unix.AT_FDCWD, target, unix.MOVE_MOUNT_F_EMPTY_PATH); err != nil {
		return fmt.Errorf("attach %s: %w", target, err)
	}
	return nil
}

// setAttributes protects one mount, without those below it.
func setAttributes(path string, attributes uint64) error {
	if err := unix.MountSetattr(unix.AT_FDCWD, path, 0, &unix.MountAttr{Attr_set: attributes}); err != nil {
		return fmt.Errorf("protect %s: %w", path, err)
	}
	return nil
}
