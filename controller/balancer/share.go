// SPDX-License-Identifier: Apache-2.0

package balancer

// Where actions are bounded the processors are short, the controller's among them, and what
// a namespace gets done depends on how soon its requests and its containers' answers are
// read. Go reads all that came in one go, so that who has most there gets most done. Hence
// the lookout is told who crowds the others, and has these others read first.

const (
	shareSpan = 8   // periods that a share is an average of: who is read late has less done at once
	shareLess = 0.8 // who has less done than so much of the average crowds nobody
	shareLine = 2   // nor does who waits for less than so many periods: to be read late would be a loss
)

// share is what there is of a namespace in a period.
type share struct {
	open float64 // activations that wait or run
	done float64 // runs that ended
}

func (s share) plus(open, done int) share {
	return share{s.open + float64(open), s.done + float64(done)}
}

// shares are those of all namespaces that have something to do. They belong to the crowd's
// goroutine.
type shares map[*tenant]share

// after makes averages of the shares of a period, by those that there were before.
func (s shares) after(former shares) shares {
	for t, now := range s {
		if before, known := former[t]; known {
			s[t] = share{before.open + (now.open-before.open)/shareSpan, before.done + (now.done-before.done)/shareSpan}
		}
	}
	return s
}

// crowding returns the namespaces that have at least as much to do as all have on the average,
// do not get less done for it, and wait for so long that some milliseconds more are nothing to
// them. One that is alone may be among them: who comes next, and who wants something else of
// the controller, is not.
func (s shares) crowding() (namespaces []string) {
	var all share
	for _, of := range s {
		all.open += of.open
		all.done += of.done
	}
	for t, of := range s {
		n := float64(len(s))
		if of.open*n >= all.open && of.done*n >= all.done*shareLess && of.open >= of.done*shareLine {
			namespaces = append(namespaces, t.namespace)
		}
	}
	return namespaces
}
