// SPDX-License-Identifier: Apache-2.0

package scheduler_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/scheduler"
	"github.com/whirl-faas/whirl/whisk"
)

// of is a requisition for an action of a namespace.
func of(namespace string, id whisk.RequisitionID, name string) whisk.Requisition {
	r := request(id, name)
	r.Key.Namespace, r.Key.Action.Namespace = namespace, namespace
	r.Deadline = time.Now().Add(time.Hour)
	return r
}

// crowd says requisitions for so many actions of a namespace.
func crowd(ctl *peer[whisk.FactoryRequest, whisk.FactoryEvent], namespace string, first, n int) {
	for i := range n {
		ctl.say(of(namespace, whisk.RequisitionID(first+i), fmt.Sprint(namespace, i)))
	}
	synctest.Wait()
}

// ends plays the end of a container whose controller gave it back spoiled.
func ends(agent *agentPeer, ctl *peer[whisk.FactoryRequest, whisk.FactoryEvent], c whisk.Container) {
	ctl.say(whisk.Release{Container: c.ID, Reason: whisk.ReleaseFailed})
	agent.want(whisk.RemoveContainer{Epoch: 1, Container: c.ID, Lessee: "one"})
	agent.say(whisk.ContainerGone{Container: c.ID, Expected: true})
}

func namespaceOf(t *testing.T, c whisk.Container) string {
	t.Helper()
	_, label, ok := strings.Cut(string(c.ID), "_") // the id ends with the label, which is the action's name
	if !ok {
		t.Fatalf("container %s has no label", c.ID)
	}
	for i := len(label) - 1; i >= 0; i-- {
		if label[i] < '0' || label[i] > '9' {
			parts := strings.Split(label[:i+1], "_")
			return parts[len(parts)-1]
		}
	}
	return label
}

// Room that comes free goes to the namespace that has least of it, whoever asked
// first and for however many actions.
func TestRoomIsSharedBetweenNamespaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, func(c *scheduler.Config) { c.FairAfter = time.Hour })
		agent, ctl := st.agent(node(1*whisk.GB)), st.controller("one")
		var made []whisk.Container
		crowd(ctl, "noisy", 1, 20)
		for range 4 {
			made = append(made, makes(agent))
			ctl.hear()
		}
		crowd(ctl, "meek", 101, 3)
		for i, want := range []string{"meek", "meek", "noisy", "noisy", "meek"} {
			ends(agent, ctl, made[i])
			c := makes(agent)
			ctl.hear()
			if got := namespaceOf(t, c); got != want {
				t.Errorf("the container after %d ends is %s's, want %s's", i+1, got, want)
			}
			made = append(made, c)
		}
	})
}

// Who insists gets a busy container of the namespace that has most, and before all
// that insist for a namespace that has more, though they began earlier.
func TestTurnsGoRoundNamespaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, nil)
		agent, ctl := st.agent(node(1*whisk.GB)), st.controller("one")
		time.Sleep(6 * time.Second) // until it has settled
		crowd(ctl, "noisy", 1, 20)
		for range 4 {
			makes(agent)
			ctl.hear()
		}
		crowd(ctl, "meek", 101, 5)
		var order []string
		for len(order) < 8 {
			reclaim, ok := ctl.hear().(whisk.Reclaim)
			if !ok {
				continue // the allocation of what was made
			}
			ctl.say(whisk.Release{Container: reclaim.Container, Reason: whisk.ReleaseReclaimed})
			agent.want(whisk.RemoveContainer{Epoch: 1, Container: reclaim.Container, Lessee: "one"})
			agent.say(whisk.ContainerGone{Container: reclaim.Container, Expected: true})
			order = append(order, namespaceOf(t, makes(agent)))
		}
		// With two of the four each, the actions of each take turns among themselves.
		if got := strings.Join(order, " "); got != "meek meek noisy noisy meek noisy noisy meek" {
			t.Errorf("turns of %s", got)
		}
	})
}

// Creations that wait for their turn on a node go round, too.
func TestCreationsGoRoundNamespaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, func(c *scheduler.Config) { c.CreationsPerNode = 1 })
		agent, ctl := st.agent(node(8*whisk.GB)), st.controller("one")
		crowd(ctl, "noisy", 1, 10)
		crowd(ctl, "meek", 101, 2)
		var order []string
		for range 5 {
			order = append(order, namespaceOf(t, makes(agent)))
			ctl.hear()
		}
		// The first was being made already, and the second had its turn when meek came.
		if got := strings.Join(order, " "); got != "noisy noisy meek noisy meek" {
			t.Errorf("made for %s", got)
		}
	})
}

// A namespace cannot take all the places of requisitions.
func TestPlacesAreLeftForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, func(c *scheduler.Config) { c.MaxWaiting = 20 })
		ctl := st.controller("one")
		crowd(ctl, "noisy", 1, 11)
		if got := ctl.hear().(whisk.Rejection); got.Requisition != 11 || got.Reason != whisk.Overloaded {
			t.Errorf("heard %+v, want the 11th turned away", got)
		}
		crowd(ctl, "meek", 101, 6)
		if got := ctl.hear().(whisk.Rejection); got.Requisition != 106 || got.Reason != whisk.Overloaded {
			t.Errorf("heard %+v, want the 6th turned away", got)
		}
		crowd(ctl, "third", 201, 1)
		ctl.silent(time.Second)
	})
}
