// SPDX-License-Identifier: Apache-2.0

package keeper

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/whirl-faas/whirl/driver/internal/cgroup"
)

// nursery is the children of one thread. Only that thread may use it.
type nursery struct {
	program  int // what children begin as, a descriptor; -1 before it is known
	children map[string]*child
	doomed   []int // children that were killed and forgotten, to be reaped some time
}

// child is a process that was started and not released.
type child struct {
	pid  int   // ours until exit is known
	exit *Exit // nil before it was reaped

	kept  bool // and the rest is set
	note  json.RawMessage
	group *cgroup.Group
	files []int
}

func newNursery() *nursery { return &nursery{program: -1, children: map[string]*child{}} }

// serve carries out a request, and takes the descriptors that it needs for longer out
// of it.
func (n *nursery) serve(req *request) reply {
	if req.Kind == startKind {
		return n.start(req)
	}
	if req.Kind == recallKind {
		return n.recall(req.ID)
	}
	c := n.children[req.ID]
	switch {
	case req.Kind == releaseKind:
		n.release(req.ID)
		return reply{}
	case c == nil:
		return refusal(fmt.Errorf("nothing is kept by the name %q", req.ID))
	case req.Kind == reapKind:
		n.reap(c)
		return reply{Exit: c.exit}
	case req.Kind == keepKind && !c.kept:
		c.kept, c.note, c.group, c.files = true, req.Note, req.Group, req.files
		req.files = nil
		return reply{}
	}
	return refusal(fmt.Errorf("nothing to do for a request %q", req.Kind))
}

func (n *nursery) start(req *request) reply {
	order := req.Order
	switch {
	case order == nil || req.ID == "" || order.Grouped && len(req.files) == 0:
		return refusal(errors.New("an order to start something lacks what"))
	case n.children[req.ID] != nil:
		return refusal(fmt.Errorf("there is a process %q already", req.ID))
	}
	pidfd := -1
	attributes := &syscall.SysProcAttr{
		Cloneflags: order.Cloneflags, UidMappings: order.Users, GidMappings: order.Groups, AmbientCaps: order.AmbientCaps,
		Setsid: true, Pdeathsig: syscall.SIGKILL, PidFD: &pidfd,
	}
	files := req.files
	if order.Grouped {
		last := len(files) - 1
		attributes.UseCgroupFD, attributes.CgroupFD, files = true, files[last], files[:last]
	}
	descriptors := make([]uintptr, 0, len(files)+1)
	for _, fd := range files {
		descriptors = append(descriptors, uintptr(fd))
	}
	descriptors = append(descriptors, uintptr(n.program))
	path := "/proc/self/fd/" + strconv.Itoa(len(files)) // as the child sees it
	pid, err := syscall.ForkExec(path, order.Argv, &syscall.ProcAttr{Env: order.Env, Files: descriptors, Sys: attributes})
	if err != nil {
		return refusal(err)
	}
	c := &child{pid: pid}
	n.children[req.ID] = c
	if err = errors.New("the kernel gives no pidfd; it must be Linux 5.12 or newer"); pidfd >= 0 {
		err = unix.SetNonblock(pidfd, true)
	}
	if err != nil {
		n.release(req.ID)
		return refusal(err)
	}
	return reply{PID: pid, files: []int{pidfd}}
}

// reap looks whether a child has ended, without waiting.
func (n *nursery) reap(c *child) {
	if c.exit != nil {
		return
	}
	var exit Exit
	var usage syscall.Rusage
	if ended(c.pid, &exit.Status, &usage) {
		exit.CPU = time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
		c.exit = &exit
	}
}

func ended(pid int, status *syscall.WaitStatus, usage *syscall.Rusage) bool {
	for {
		got, err := syscall.Wait4(pid, status, syscall.WNOHANG, usage)
		if err != syscall.EINTR {
			return got == pid || err != nil
		}
	}
}

// release forgets a child, and kills it if it runs.
func (n *nursery) release(id string) {
	c := n.children[id]
	if c == nil {
		return
	}
	if n.reap(c); c.exit == nil {
		_ = unix.Kill(c.pid, unix.SIGKILL)
		n.doomed = append(n.doomed, c.pid)
		n.bury()
	}
	closeAll(c.files)
	delete(n.children, id)
}

// bury reaps those that were killed, as far as they have died.
func (n *nursery) bury() {
	n.doomed = slices.DeleteFunc(n.doomed, func(pid int) bool { return ended(pid, nil, nil) })
}

// recall tells of the next kept child, in the order of ids; of none after the last.
func (n *nursery) recall(after string) reply {
	id := ""
	for name, c := range n.children {
		if c.kept && name > after && (id == "" || name < id) {
			id = name
		}
	}
	if id == "" {
		return reply{}
	}
	c := n.children[id]
	n.reap(c)
	r := reply{ID: id, Note: c.note, Exit: c.exit, lent: len(c.files)}
	if c.exit == nil {
		pidfd, err := unix.PidfdOpen(c.pid, unix.PIDFD_NONBLOCK)
		if err != nil {
			return refusal(fmt.Errorf("recall %s: %w", id, err))
		}
		r.files = append(r.files, pidfd)
	}
	r.files = append(r.files, c.files...)
	return r
}

// abandon releases what no agent said to keep.
func (n *nursery) abandon() {
	for id, c := range n.children {
		if !c.kept {
			n.release(id)
		}
	}
}

// end kills all that is left, frozen or not, and removes the cgroups. It gives up
// what does not die in time: the next agent sweeps it.
func (n *nursery) end() error {
	ctx, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	groups := map[string]*cgroup.Group{}
	for id, c := range n.children {
		if c.group != nil {
			groups[id] = c.group
		}
	}
	for _, id := range sortedKeys(n.children) {
		n.release(id)
	}
	for _, group := range groups {
		group.Doom() // none of a frozen one's processes may run on until the first has died
	}
	var errs []error
	for _, group := range groups {
		errs = append(errs, group.Kill(ctx))
	}
	for ; len(n.doomed) > 0 && ctx.Err() == nil; n.bury() {
		time.Sleep(time.Millisecond) // nothing else is left to do
	}
	for _, group := range groups {
		errs = append(errs, group.Remove(ctx))
	}
	return errors.Join(errs...)
}

const endTime = 10 * time.Second

func sortedKeys[K cmp.Ordered, V any](of map[K]V) []K {
	keys := make([]K, 0, len(of))
	for key := range of {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
