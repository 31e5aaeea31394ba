// SPDX-License-Identifier: Apache-2.0

package sim

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// schedulerName is what every leader is called in a history.
const schedulerName = "scheduler"

// trace keeps every message that passed between the parts of a cluster, so that
// a broken rule can be told as a story.
type trace struct {
	mu       sync.Mutex
	messages []Message
}

// Message is a message on a link.
type Message struct {
	At     time.Time
	From   string
	To     string
	Leader uint64 // epoch of the scheduler that sent or was sent it, 0 if none was
	Body   any    // of package whisk's protocols
}

// note keeps a message of this moment.
func (t *trace) note(m Message) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m.At = time.Now()
	t.messages = append(t.messages, m)
}

// end names an end of the link, a scheduler with its epoch.
func (m Message) end(name string) string {
	if m.Leader == 0 || name != schedulerName {
		return name
	}
	return fmt.Sprint(name, " ", m.Leader)
}

func (t *trace) all() []Message {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.messages)
}

// Story tells all that a history knows of one container, in order of time.
func (h History) Story(id whisk.ContainerID) string {
	type line struct {
		at   time.Time
		text string
	}
	var lines []line
	for _, m := range h.Messages {
		if text := about(m.Body, id); text != "" {
			lines = append(lines, line{m.At, fmt.Sprintf("%s -> %s: %s", m.end(m.From), m.end(m.To), text)})
		}
	}
	for _, node := range h.Nodes {
		for _, event := range node.Events {
			if event.Container == id {
				lines = append(lines, line{event.At, fmt.Sprintf("%s: %v %s %s", node.Node, event.Kind, event.Activation, event.Err)})
			}
		}
	}
	slices.SortStableFunc(lines, func(a, b line) int { return cmp.Compare(a.at.UnixNano(), b.at.UnixNano()) })
	// Registrations tell by silence, too, but only while it is there.
	silent := func(l line) bool { return strings.HasSuffix(l.text, withoutIt) }
	for len(lines) > 0 && silent(lines[0]) {
		lines = lines[1:]
	}
	for len(lines) > 0 && silent(lines[len(lines)-1]) {
		lines = lines[:len(lines)-1]
	}
	var story strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&story, "%s %s\n", clock(l.at), strings.TrimSpace(l.text))
	}
	return story.String()
}

const withoutIt = "Register, without it"

// about returns what a message says of a container, "" if nothing. Of reports
// that list many it returns the container's line; a full report without it says
// so, too.
func about(message any, id whisk.ContainerID) string {
	switch m := message.(type) {
	case whisk.Register:
		at := slices.IndexFunc(m.Held, func(h whisk.HeldContainer) bool { return h.Container == id })
		if at < 0 {
			return withoutIt
		}
		return fmt.Sprintf("Register %+v", m.Held[at])
	case whisk.NodeReport:
		at := slices.IndexFunc(m.Containers, func(h whisk.HostedContainer) bool { return h.Container.ID == id })
		if at < 0 {
			return ""
		}
		return fmt.Sprintf("NodeReport %+v", m.Containers[at])
	case whisk.StateReport:
		at := slices.IndexFunc(m.States, func(use whisk.ContainerUse) bool { return use.Container == id })
		if at < 0 {
			return ""
		}
		return fmt.Sprintf("StateReport %v", m.States[at].State)
	case whisk.Forward, whisk.ForwardEnded: // they name none
		return ""
	}
	if text := fmt.Sprintf("%T%+v", message, message); strings.Contains(text, string(id)) {
		return strings.TrimPrefix(text, "whisk.")
	}
	return ""
}
