// SPDX-License-Identifier: Apache-2.0

package agent_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/driver/fake"
	"github.com/whirl-faas/whirl/whisk"
)

// operateTimeout is of the agents of these tests.
const operateTimeout = 5 * time.Second

// resumes has every resume go like this.
func resumes(how fake.Operation) func(*setup) {
	return func(s *setup) {
		s.agent.OperateTimeout = operateTimeout
		s.driver.Script.Resume = func(*rand.Rand, whisk.ContainerID) fake.Operation { return how }
		s.driver.Script.Destroy = func(*rand.Rand, whisk.ContainerID) fake.Operation { return fake.Operation{Delay: time.Second} }
	}
}

// asleep makes a container that ctl holds and has had frozen, and sends it a run.
func asleep(n *node, ctl *controller) {
	n.t.Helper()
	c := n.create("c", "ctl")
	conn := n.connect(c)
	n.init(conn, "x")
	if err := ctl.do(whisk.Suspend, "c"); err != nil {
		n.t.Fatal(err)
	}
	sendRun(n.t, conn)
}

func sendRun(t *testing.T, conn net.Conn) {
	body := `{"value":{},"activation_id":"a"}`
	fmt.Fprintf(conn, "POST /run HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// ran reports whether a container began the run.
func (n *node) ran() bool {
	for _, event := range n.driver.History() {
		if event.Kind == fake.RunStarted {
			return true
		}
	}
	return false
}

// TestWhetherItStaysFrozen: what the answer to a failed resume says of the run that
// waits before the container must hold, whatever the driver still does.
func TestWhetherItStaysFrozen(t *testing.T) {
	resume := whisk.SandboxRequest{Op: whisk.Resume, Container: "c"}
	remove := whisk.RemoveContainer{Epoch: 1, Container: "c", Lessee: "ctl"}
	for _, row := range []struct {
		name   string
		how    fake.Operation
		do     func(n *node, ctl *controller) whisk.SandboxReply
		frozen bool // the answer may say so
		runs   bool // and this is what becomes of the run
	}{
		{"the driver is sure", fake.Operation{Err: errors.New("stuck")}, func(_ *node, ctl *controller) whisk.SandboxReply {
			return ctl.call(resume)
		}, true, false},
		{"the driver gives up", fake.Operation{Delay: time.Hour}, func(_ *node, ctl *controller) whisk.SandboxReply {
			return ctl.call(resume)
		}, true, false},
		{"it is thawed after the driver gave up", fake.Operation{Delay: operateTimeout + 100*time.Millisecond, Late: true}, func(_ *node, ctl *controller) whisk.SandboxReply {
			return ctl.call(resume)
		}, false, true},
		{"it is removed meanwhile", fake.Operation{Delay: 2 * time.Second}, func(n *node, ctl *controller) whisk.SandboxReply {
			seq := ctl.send(resume)
			synctest.Wait()
			n.command(remove)
			return ctl.reply(seq)
		}, true, false},
		{"it is removed meanwhile, and thawed before that is done", fake.Operation{Delay: 100 * time.Millisecond, Late: true}, func(n *node, ctl *controller) whisk.SandboxReply {
			seq := ctl.send(resume)
			synctest.Wait()
			n.command(remove)
			return ctl.reply(seq)
		}, false, true},
		{"more waits when it is removed", fake.Operation{Delay: 100 * time.Millisecond, Late: true}, func(n *node, ctl *controller) whisk.SandboxReply {
			ctl.send(resume)
			seq := ctl.send(resume)
			synctest.Wait()
			n.command(remove)
			return ctl.reply(seq)
		}, false, true},
		{"it is being removed already", fake.Operation{}, func(n *node, ctl *controller) whisk.SandboxReply {
			n.command(remove)
			synctest.Wait()
			return ctl.call(resume)
		}, true, false},
		{"it is gone already", fake.Operation{}, func(n *node, ctl *controller) whisk.SandboxReply {
			n.command(remove)
			expect[whisk.ContainerGone](n)
			return ctl.call(resume)
		}, true, false},
		{"it is another's", fake.Operation{}, func(n *node, _ *controller) whisk.SandboxReply {
			return n.controller("other").call(resume)
		}, false, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			inBubble(t, resumes(row.how), func(n *node) {
				n.session()
				ctl := n.controller("ctl")
				asleep(n, ctl)
				reply := row.do(n, ctl)
				if reply.Err == "" || reply.Frozen != row.frozen {
					t.Errorf("the answer is %+v, want an error and frozen %t", reply, row.frozen)
				}
				sleepUntil(time.Now().Add(operateTimeout))
				if n.ran() != row.runs {
					t.Errorf("the run began: %t, want %t", n.ran(), row.runs)
				}
			})
		})
	}
}

// TestManyResumesAtOnce: one that is carried out is answered so, however many
// requests of the session wait.
func TestManyResumesAtOnce(t *testing.T) {
	inBubble(t, func(s *setup) {
		resumes(fake.Operation{Delay: time.Second})(s)
		s.agent.Requests = 1
	}, func(n *node) {
		n.session()
		n.create("other", "ctl")
		ctl := n.controller("ctl")
		asleep(n, ctl)
		ctl.send(whisk.SandboxRequest{Op: whisk.Inspect, Container: "other"}) // waits two seconds
		synctest.Wait()
		if reply := ctl.call(whisk.SandboxRequest{Op: whisk.Resume, Container: "c"}); reply.Err != "" {
			t.Errorf("%+v", reply)
		}
		synctest.Wait()
		if !n.ran() {
			t.Error("the run did not begin")
		}
	})
}
