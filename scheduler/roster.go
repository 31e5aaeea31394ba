// SPDX-License-Identifier: Apache-2.0

package scheduler

import (
	"maps"
	"slices"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// rosterPause is the least time between two rosters. What changes meanwhile is
// in the next one.
const rosterPause = time.Second

// roster tells who takes part.
func (s *state) roster() whisk.Roster {
	r := whisk.Roster{Nodes: make([]whisk.NodeStanding, len(s.order)), Controllers: len(s.controllers), Partial: !s.settled}
	for i, n := range s.order {
		r.Nodes[i] = whisk.NodeStanding{Node: n.id, State: n.state}
	}
	return r
}

// spread tells all controllers who takes part, if that changed and they were
// not told a moment ago. All get the same list, which nobody alters.
func (s *state) spread() {
	if !s.stale || s.rosterAlarm.place > 0 || len(s.order) == 0 {
		return
	}
	s.stale = false
	roster := s.roster()
	for _, id := range slices.Sorted(maps.Keys(s.controllers)) {
		s.tell(s.controllers[id], roster)
	}
	s.alarms.set(&s.rosterAlarm, s.now.Add(rosterPause))
}

// introduce tells a controller that just registered who takes part. Before
// any agent has registered it says nothing: the controller may know more from
// a former leader.
func (s *state) introduce(ctl *controller) {
	if len(s.order) > 0 {
		s.tell(ctl, s.roster())
	}
}
