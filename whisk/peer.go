// SPDX-License-Identifier: Apache-2.0

package whisk

import "time"

// The peer protocol: how a controller hands an activation to another one, which
// holds a container of its action with spare concurrency. It dials the other
// when the scheduler points to it by a [Redirect].
//
// Who is asked takes the activation at once or not at all: it neither lets it
// wait, nor asks for a container, nor passes it on. Who asks writes the record.

// Forward asks another controller to run one activation, in a container that
// holds its action's code already. It is answered by [ForwardTaken] and then
// [ForwardEnded], and by [ForwardLogged] if that says so; or by [ForwardRefused],
// which may also come after [ForwardTaken]. Every Forward of a session names the
// same sender.
type Forward struct {
	Seq         uint64       // chosen by the sender, rising within its session
	Controller  ControllerID // that sends it
	Activation  ActivationID
	Key         ActionKey
	StartBy     time.Time     // it is refused after that
	Timeout     time.Duration // of /run
	Logs        Bytes         // the action's limit; 0 collects none
	ResultLimit Bytes         // a longer result is truncated
	Sentinels   bool          // see [Invocation]
	Run         []byte        // the body of /run; not to be modified
}

// ForwardReply is a message that answers a [Forward]: [ForwardTaken],
// [ForwardRefused], [ForwardEnded] or [ForwardLogged].
type ForwardReply interface{ forwardReply() }

// ForwardTaken says that the activation has a slot and is about to run.
type ForwardTaken struct {
	Seq       uint64
	Container ContainerID
}

// ForwardRefused says that the activation has not begun here and never will.
type ForwardRefused struct {
	Seq    uint64
	Reason string
}

// ForwardEnded is how the activation ended: what [Outcome] says of it that only
// who ran it knows.
type ForwardEnded struct {
	Seq      uint64
	Response Response
	Start    time.Time
	Run      time.Duration
	TimedOut bool
	Logs     bool // its output is being collected; ForwardLogged follows
}

// ForwardLogged says what became of the activation's output.
type ForwardLogged struct {
	Seq  uint64
	Kind Kind   // of the error
	Err  string // "" if all is well
	Logs LogSummary
}

// Error returns the error, or nil.
func (l ForwardLogged) Error() error {
	if l.Err == "" {
		return nil
	}
	return Errorf(l.Kind, "%s", l.Err)
}

func (ForwardTaken) forwardReply()   {}
func (ForwardRefused) forwardReply() {}
func (ForwardEnded) forwardReply()   {}
func (ForwardLogged) forwardReply()  {}
