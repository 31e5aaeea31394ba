// SPDX-License-Identifier: Apache-2.0

package scheduler_test

import (
	"fmt"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/scheduler"
	"github.com/whirl-faas/whirl/whisk"
)

// A snapshot and the figures tell the same story as what happened.
func TestSnapshotAndMetrics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		st := newStage(t, stemCells(1, nil))
		agent, ctl := st.agent(report("node")), st.controller("one")
		makes(agent)
		synctest.Wait()
		ctl.say(request(1, "hello")) // prewarmed
		m := agent.hear().(whisk.GrantLease)
		agent.say(whisk.LeaseGranted{Container: m.Container, Lessee: "one", Order: m.Order})
		makes(agent) // the next stem cell
		first := ctl.hear().(whisk.Allocation).Container
		big := request(2, "big")
		big.Spec.Memory = 512 * whisk.MB
		ctl.say(big) // created
		order(agent)
		ctl.say(states(first, whisk.Free))
		many := request(3, "other") // one in the idle one's place; the stem cell must not go before all have reported
		many.Spec.Kind, many.Count = "python:3", 2
		ctl.say(many)
		synctest.Wait()

		shot, err := st.s.Snapshot(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		want := scheduler.Snapshot{
			At: shot.At, Epoch: 1,
			Nodes: []scheduler.NodeStatus{{
				Node: "node", State: whisk.NodeUp, Since: began, Connected: true, Memory: 1 * whisk.GB, Used: 1 * whisk.GB,
				Promised: 256 * whisk.MB, Pools: scheduler.Pools{Free: 1, Prewarmed: 1, Creating: 1},
			}},
			Controllers: []scheduler.ControllerStatus{{Controller: "one", Connected: true, Containers: 1, Requisitions: 2}},
			Prewarmed:   []scheduler.PrewarmedStatus{{Spec: small, Wanted: 1, Ready: 1}},
			Actions: []scheduler.ActionStatus{
				{Key: action("big"), Spec: big.Spec, Coming: 1},
				{Key: action("hello"), Spec: small, Free: 1},
				{Key: action("other"), Spec: many.Spec, Coming: 1, Waiting: 1},
			},
			Waiting: []scheduler.WaitingStatus{
				{Controller: "one", Requisition: 2, Key: action("big"), Slots: 1, UnderWay: 1, Since: began, Deadline: began.Add(30 * time.Second)},
				{Controller: "one", Requisition: 3, Key: action("other"), Slots: 2, UnderWay: 1, Since: began, Deadline: began.Add(30 * time.Second)},
			},
		}
		if !reflect.DeepEqual(shot, want) {
			t.Errorf("snapshot is\n%+v, want\n%+v", shot, want)
		}

		figures, err := st.s.Metrics(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case figures.Nodes[whisk.NodeUp] != 1 || len(figures.Nodes) != 6:
			t.Errorf("nodes are %v", figures.Nodes)
		case figures.Pools != shot.Nodes[0].Pools || figures.Used != 1*whisk.GB || figures.Memory != 1*whisk.GB:
			t.Errorf("%+v, want the snapshot's pools", figures)
		case figures.Allocations[whisk.Prewarmed] != 1 || len(figures.Allocations) != 3:
			t.Errorf("allocations are %v", figures.Allocations)
		case figures.Creations != 3 || figures.Requisitions != 2 || figures.Controllers != 1:
			t.Errorf("figures are %+v", figures)
		case figures.Waits.Count != 1 || figures.Waits.Buckets[0] != (scheduler.WaitBucket{UpTo: time.Millisecond, Count: 1}):
			t.Errorf("waits are %+v", figures.Waits)
		}
	})
}

func TestMetricsOfWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := newStage(t, nil)
		ctl := st.controller("one")
		waits := make(chan time.Duration)
		for id, wait := range []time.Duration{time.Millisecond, time.Millisecond + 1, 2 * time.Millisecond, 5 * time.Millisecond, 100 * time.Second} {
			r := request(whisk.RequisitionID(id+1), fmt.Sprint("action", id))
			r.Deadline = time.Now().Add(time.Hour)
			ctl.say(r)
			if id == 0 {
				agent := st.agent(report("node", func(r *whisk.NodeReport) { r.Memory = 4 * whisk.GB }))
				go func() {
					for {
						m, err := agent.stream.Recv(t.Context())
						if err != nil {
							return
						}
						if m, ok := m.(whisk.CreateContainer); ok {
							time.Sleep(<-waits)
							agent.say(whisk.ContainerCreated{Container: whisk.Container{ID: m.Container, Node: "node", Spec: m.Spec}})
						}
					}
				}()
			}
			waits <- wait
			ctl.hear()
		}
		figures, err := st.s.Metrics(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w := figures.Waits
		for bucket, want := range map[int]uint64{0: 1, 1: 3, 2: 3, 3: 4, 16: 4} {
			if w.Buckets[bucket].Count != want {
				t.Errorf("%d waited up to %s, want %d", w.Buckets[bucket].Count, w.Buckets[bucket].UpTo, want)
			}
		}
		if w.Count != 5 || w.Sum != 100*time.Second+9*time.Millisecond+1 || w.Buckets[16].UpTo != 65536*time.Millisecond {
			t.Errorf("waits are %+v", w)
		}
	})
}
