// SPDX-License-Identifier: Apache-2.0

// Package alarms fires triggers by the clock: it is the feeds of OpenWhisk's package
// alarms, and the loop that carries them out.
//
// The feeds alarm, once and interval are builtin actions ([Service.Builtins]). What they
// are told is in the store, as one [whisk.Alarm] for each trigger: its time is that
// of the next firing, its body the rest ([state]).
//
// Each controller has a loop ([Service.Run]). All look for alarms that are due and try to
// fire them. A firing is one transaction of the store: the alarm moves on to its next time,
// and what the trigger's rules run is accepted. It fails for all controllers but one,
// since the alarm has another revision then. So each time of an alarm is fired once,
// whatever is killed when: before the transaction nothing happened, after it all of it
// will.
//
// docs/adr/0019-alarms-in-the-queues-store.md has the decision, docs/operations.md
// what users see of it.
package alarms
