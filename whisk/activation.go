// SPDX-License-Identifier: Apache-2.0

package whisk

import (
	"bytes"
	"context"
	"encoding/json"
	"time"
)

// ActivationID names one activation: 32 lower-case hex digits.
type ActivationID string

// CheckActivationID reports whether s is an activation id, with OpenWhisk's texts.
func CheckActivationID(s string) error {
	if len(s) != 32 {
		return Errorf(Invalid, "Activation id length is %d but must be 32.", len(s))
	}
	for _, c := range []byte(s) {
		if !('0' <= c && c <= '9' || 'a' <= c && c <= 'f') {
			return Errorf(Invalid, "The activation id is not valid.")
		}
	}
	return nil
}

// Status is how an activation ended. The numbers are OpenWhisk's.
type Status int

// The outcomes of an activation, from best to worst.
const (
	Success          Status = iota // the action answered
	ApplicationError               // the action answered with an error of its own
	DeveloperError                 // the action could not be loaded, crashed or broke a limit
	WhiskError                     // the platform failed
)

var statusTexts = [...]string{"success", "application error", "action developer error", "whisk internal error"}

// String returns the text of activation records, such as "application error".
func (s Status) String() string { return statusTexts[s] }

// Response is what an activation produced.
type Response struct {
	Status Status
	Result json.RawMessage // a JSON object or array; nil if there is none
	Size   int             // of the result's text in characters; 0 if there is none
}

// ErrorResponse is a response {"error": text} of the given status.
func ErrorResponse(status Status, text string) Response {
	var result bytes.Buffer
	encoder := json.NewEncoder(&result)
	encoder.SetEscapeHTML(false) // users read it: "111 > 50 bytes"
	if err := encoder.Encode(map[string]string{"error": text}); err != nil {
		panic(err) // a map of strings always encodes
	}
	result.Truncate(result.Len() - 1) // the line feed
	return Response{Status: status, Result: result.Bytes(), Size: result.Len()}
}

// Activation is the record of one activation.
type Activation struct {
	ID          ActivationID
	Namespace   string // that invoked it and owns the record
	Subject     string // who invoked it
	Name        string // of the action, without its package
	Package     string // under which lists find it; "" for the default package
	Version     Version
	Publish     bool
	Start, End  time.Time // to the millisecond; a zero End means it has none
	Duration    time.Duration
	Cause       ActivationID // the enclosing sequence, "" if there is none
	Response    Response
	Annotations Parameters
	Logs        []string // lines, ids of components, or nil where the log store has them
}

// Invocation is an activation on its way to a container: everything that is
// needed to find a container for the action and to run it once.
type Invocation struct {
	Activation  ActivationID
	Key         ActionKey
	Spec        ContainerSpec
	Limits      ActionLimits
	Label       string    // names the containers made for it: letters, digits and "_"
	Received    time.Time // when the platform accepted it
	StartBy     time.Time // it ends in an error if it has no container by then
	ResultLimit Bytes     // a longer result is truncated
	Sentinels   bool      // the runtime ends each run's output with the sentinel lines
	Size        Bytes     // memory that it holds while it waits

	// Patience has it refused at once where it would wait longer for a container,
	// as far as can be told; 0 where it may wait until StartBy.
	Patience time.Duration

	// Claim, if not nil, is called once, when a container is at hand and before
	// it learns of the activation. If it fails, the activation is not run.
	Claim func(context.Context) error
	// Prepare, if not nil, is called while a container is awaited that will need
	// InitBody, as far as can be told, and may do part of its work. Neither is called
	// while the other is.
	Prepare func(ctx context.Context)
	// InitBody returns the body of /init. It is called for a container that does
	// not hold the action's code yet, and again for another try. The deadline is
	// when the container will be given up.
	InitBody func(ctx context.Context, deadline time.Time) ([]byte, error)
	// RunBody returns the body of /run. The balancer does not keep it.
	RunBody func(deadline time.Time) []byte
}

// Outcome is how an [Invocation] ended, and what it took.
type Outcome struct {
	Response  Response
	Start     time.Time     // of /init, or of /run where none was needed; of the failure where it never ran
	Wait      time.Duration // from Received to Start
	Asking    time.Duration // of Wait: until the scheduler had this container for us, less Creation
	Creation  time.Duration // of Wait: until its node had made it
	Init      time.Duration // of /init; meaningless unless Cold
	Run       time.Duration // of /run; 0 if it never ran
	Resume    time.Duration // of Run: until the container was resumed; 0 if it was not paused
	Cold      bool          // /init was sent
	TimedOut  bool          // init or run reached the action's time limit
	Container ContainerID   // "" if it never had one

	// AfterLogs has f called, once, when the activation's output is in the log store,
	// also if that was before, or when it is known that it will not be. f must not
	// block. AfterLogs is nil if there is nothing to wait for, and called at most once.
	AfterLogs func(f func(LogSummary, error))
}

// AwaitLogs calls AfterLogs and waits for what that tells. The error is Timeout if ctx
// ends before. Without AfterLogs it returns at once.
func (o *Outcome) AwaitLogs(ctx context.Context) (LogSummary, error) {
	if o.AfterLogs == nil {
		return LogSummary{}, nil
	}
	var logs LogSummary
	stored := make(chan error, 1)
	o.AfterLogs(func(l LogSummary, err error) {
		logs = l
		stored <- err
	})
	select {
	case err := <-stored:
		return logs, err
	case <-ctx.Done():
		return LogSummary{}, Errorf(Timeout, "the output was not stored in time: %w", context.Cause(ctx))
	}
}

// LogSummary says what became of one activation's output.
type LogSummary struct {
	Lines     int   // stored, the explaining last line included
	Bytes     Bytes // of the stored lines
	Truncated bool  // the action's limit cut it
	Missing   bool  // it may be incomplete: a sentinel did not come
}
