// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"sync"

	"github.com/whirl-faas/whirl/whisk"
)

// controllerSession is what serves one controller.
type controllerSession struct {
	agent      *Agent
	controller whisk.ControllerID // set by the first request
	sources    []netip.Addr       // by which it comes to published containers
	stray      error              // why it cannot come there at all
	replies    *outbox[whisk.SandboxReply]
	places     chan struct{} // a request that waits holds one
	waiting    sync.WaitGroup
}

// ServeController serves a controller's session until the controller or ctx
// ends it, or the agent has stopped; then it closes the stream. It returns nil
// unless the session broke. What comes before the agent knows which containers
// there are waits.
func (a *Agent) ServeController(ctx context.Context, stream whisk.AgentToController) error {
	select {
	case <-a.recovered:
	case <-a.ended:
	case <-ctx.Done():
	}
	requests, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	s := &controllerSession{
		agent:   a,
		replies: newOutbox[whisk.SandboxReply](a.config.Outbox, stop),
		places:  make(chan struct{}, a.config.Requests),
	}
	var loops sync.WaitGroup
	loops.Go(func() { s.replies.sendLoop(requests, stream.Send) })
	loops.Go(func() {
		select {
		case <-a.ended:
			stop(errStopping)
		case <-requests.Done():
		}
	})
	s.sources, s.stray = a.sourcesOf(stream)
	err := s.receiveLoop(requests, stream)
	stop(nil) // it ends what waits, and both loops
	s.waiting.Wait()
	loops.Wait()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), a.config.OperateTimeout)
	defer cancel()
	if err == nil {
		err = s.replies.flush(last, stream.Send)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrClosedPipe) {
		err = nil
	}
	return errors.Join(err, stream.Close())
}

// receiveLoop returns nil if the session ends from our side.
func (s *controllerSession) receiveLoop(ctx context.Context, stream whisk.AgentToController) error {
	for {
		request, err := stream.Recv(ctx)
		switch {
		case ctx.Err() != nil:
			if cause := context.Cause(ctx); cause == errBehind {
				return cause
			}
			return nil
		case err != nil:
			return err
		}
		if s.controller == "" {
			if request.Op != whisk.Renew || request.Controller == "" {
				return whisk.Errorf(whisk.Invalid, "a controller's first request must be to renew its leases")
			}
			s.controller = request.Controller
		}
		s.handle(ctx, request)
	}
}

// handle carries out a request, or starts to.
func (s *controllerSession) handle(ctx context.Context, request whisk.SandboxRequest) {
	reply := whisk.SandboxReply{Seq: request.Seq}
	switch request.Op {
	case whisk.Renew:
		admitted, err := s.renew()
		if err != nil || admitted == nil {
			s.answer(reply, err)
			return
		}
		s.welcome(ctx, reply, admitted)
	case whisk.Suspend, whisk.Resume:
		on := suspend
		if request.Op == whisk.Resume {
			on = resume
		}
		// Queued here, in the order of the requests, and awaited apart.
		done, err := s.agent.queue(s.controller, request.Container, on)
		s.noteRefused(request, err)
		s.operate(ctx, reply, done, err)
	case whisk.CollectLogs:
		s.collect(reply, request)
	case whisk.Inspect:
		s.later(reply, func(reply *whisk.SandboxReply) (err error) {
			reply.Exit, err = s.agent.inspect(ctx, s.controller, request.Container)
			s.noteRefused(request, err)
			return err
		})
	default:
		s.answer(reply, whisk.Errorf(whisk.Invalid, "unknown operation %d", request.Op))
	}
}

// renew renews the controller's leases. The answer, which confirms them, has to wait
// until admitted says that the containers can be reached; nil is for no wait.
func (s *controllerSession) renew() (admitted <-chan error, err error) {
	if s.stray != nil {
		return nil, s.stray
	}
	return s.agent.renew(s.controller, s.sources)
}

// welcome answers a renewal when the controller was let in. If the session ends
// first there is no answer: the next one begins with a renewal.
func (s *controllerSession) welcome(ctx context.Context, reply whisk.SandboxReply, admitted <-chan error) {
	if !s.takePlace() {
		s.answer(reply, s.crowded())
		return
	}
	s.waiting.Go(func() {
		defer s.leavePlace()
		select {
		case err := <-admitted:
			s.answer(reply, err)
		case <-ctx.Done():
		}
	})
}

// operate answers when an operation has ended, or was refused. If the session ends
// first, or is about to, there is no answer: the container may be thawed yet. Its
// lessee asks again in the next session. What waits here is bounded by the
// containers' own queues.
func (s *controllerSession) operate(ctx context.Context, reply whisk.SandboxReply, done <-chan error, refusal error) {
	switch {
	case errors.Is(refusal, errStopping):
		return
	case refusal != nil:
		s.answer(reply, refusal)
		return
	}
	s.waiting.Go(func() {
		select {
		case err := <-done:
			s.answer(reply, err)
		case <-ctx.Done():
		}
	})
}

// collect answers most requests at once: the output is complete, and empty. A
// collection that has to wait goes on when the session ends, so that no output
// gets lost with a connection.
func (s *controllerSession) collect(reply whisk.SandboxReply, request whisk.SandboxRequest) {
	if !s.takePlace() {
		s.answer(reply, s.crowded())
		return
	}
	c, err := s.agent.collection(s.controller, request.Container, request.Logs)
	if err != nil {
		s.noteRefused(request, err)
		s.leavePlace()
		s.answer(reply, err)
		return
	}
	log, ok := c.recorder.TryCollect(c.request)
	if ok && len(log.Lines) == 0 {
		s.agent.requests.Done()
		s.leavePlace()
		reply.Logs = log.Summary
		s.answer(reply, nil)
		return
	}
	s.waiting.Go(func() {
		defer s.agent.requests.Done()
		ctx := s.agent.background()
		if !ok {
			log = c.recorder.Collect(ctx, c.request)
		}
		reply.Logs, err = s.agent.store(ctx, c.request, log)
		s.leavePlace()
		s.answer(reply, err)
	})
}

// noteRefused says in the log what was asked about a container that is not there, or
// not the controller's. It may be: a request and the container's end can cross.
func (s *controllerSession) noteRefused(request whisk.SandboxRequest, err error) {
	if kind := whisk.KindOf(err); kind == whisk.NotFound || kind == whisk.Denied {
		s.agent.logger.Debug("request refused", "controller", s.controller, "container", request.Container,
			"activation", request.Logs.Activation, "err", err)
	}
}

// later carries out what may wait, and refuses if too much waits already.
func (s *controllerSession) later(reply whisk.SandboxReply, work func(*whisk.SandboxReply) error) {
	if !s.takePlace() {
		s.answer(reply, s.crowded())
		return
	}
	s.waiting.Go(func() {
		err := work(&reply)
		s.leavePlace()
		s.answer(reply, err)
	})
}

func (s *controllerSession) takePlace() bool {
	select {
	case s.places <- struct{}{}:
		return true
	default:
		return false
	}
}

func (s *controllerSession) leavePlace() { <-s.places }

func (s *controllerSession) crowded() error {
	return whisk.Errorf(whisk.Throttled, "%d requests wait already", cap(s.places))
}

func (s *controllerSession) answer(reply whisk.SandboxReply, err error) {
	if err != nil {
		reply.Kind, reply.Err = whisk.KindOf(err), err.Error()
		reply.Frozen = errors.Is(err, whisk.ErrStaysFrozen)
	}
	s.replies.put(reply)
}
