// SPDX-License-Identifier: Apache-2.0

package balancer

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// peers are the other controllers that we forward activations to.
type peers struct {
	b *Balancer

	mu  sync.Mutex
	all map[whisk.ControllerID]*peer
	ctx context.Context // of Run, which ends the sessions
	wg  *sync.WaitGroup // by which Run waits for them
}

func (p *peers) init(b *Balancer) {
	p.b = b
	p.all = make(map[whisk.ControllerID]*peer)
}

func (p *peers) start(ctx context.Context, wg *sync.WaitGroup) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ctx, p.wg = ctx, wg
}

// find returns the way to a controller, nil if we take no part in forwarding. It
// is called only while Run runs.
func (p *peers) find(id whisk.ControllerID, address string) *peer {
	if p.b.config.Peers == "" || address == "" {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	to := p.all[id]
	if to == nil {
		to = &peer{
			b:       p.b,
			log:     p.b.log.With("peer", id),
			id:      id,
			wake:    make(chan struct{}, 1),
			pending: make(map[uint64]*errand),
		}
		p.all[id] = to
		ctx := p.ctx
		p.wg.Go(func() { to.run(ctx) })
	}
	to.moved(address)
	return to
}

// retire forgets a peer that has nothing of ours, and reports whether it did.
func (p *peers) retire(to *peer) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !to.close() {
		return false
	}
	delete(p.all, to.id)
	return true
}

// abandon gives up all that others have of ours.
func (p *peers) abandon() {
	p.mu.Lock()
	all := slices.Collect(maps.Values(p.all))
	p.mu.Unlock()
	for _, to := range all {
		to.abandon()
	}
}

// peer is the way to one other controller: errands wait in a queue until there
// is a session, then for its answers. A session is opened when there is
// something to send, and closed when there has been nothing for a while.
type peer struct {
	b    *Balancer
	log  *slog.Logger
	id   whisk.ControllerID
	wake chan struct{} // holds one token while the queue is not empty; never closed

	mu      sync.Mutex
	address string             // where to dial it
	closed  bool               // it takes nothing any more
	resting bool               // nor does it for a while: it was not reached
	queue   []*errand          // not sent yet, oldest first
	pending map[uint64]*errand // handed to a session, and something is still to be heard of them
	seq     uint64
}

// send queues an errand. It reports false if that cannot go there now.
func (p *peer) send(e *errand) bool {
	p.mu.Lock()
	if p.closed || p.resting || len(p.queue)+len(p.pending) >= p.b.config.Forwards || p.silentLocked() {
		p.mu.Unlock()
		return false
	}
	p.queue = append(p.queue, e)
	p.mu.Unlock()
	p.notify()
	return true
}

// silentLocked reports whether the controller leaves something without a word for
// too long. What is sent now may be lost as well.
func (p *peer) silentLocked() bool {
	late := p.b.now() - int64(p.b.config.HandOver)
	for _, e := range p.pending {
		if !e.answered && e.sent < late {
			return true
		}
	}
	return false
}

// withdraw takes an errand back, and reports whether it was not sent. If it was,
// nobody waits for its answer any more.
func (p *peer) withdraw(e *errand) (unsent bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.queue, e); i >= 0 {
		p.queue = slices.Delete(p.queue, i, i+1)
		return true
	}
	delete(p.pending, e.message.Seq)
	return false
}

func (p *peer) notify() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// moved notes where the controller is to be found from the next session on.
func (p *peer) moved(address string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.address = address
}

// close has the peer take nothing any more, if it has nothing.
func (p *peer) close() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = len(p.queue)+len(p.pending) == 0
	return p.closed
}

// run keeps a session with the controller while there is something to send,
// until ctx ends or there was nothing for long.
func (p *peer) run(ctx context.Context) {
	defer p.abandon()
	wait := p.b.backoff()
	for p.awaitWork(ctx) {
		stream, err := p.dial(ctx)
		if err != nil {
			p.rest(ctx, wait, err)
			continue
		}
		wait.reset()
		err = p.session(ctx, stream)
		if ctx.Err() == nil && !errors.Is(err, errUnused) {
			p.log.Info("session with another controller ended", "err", err)
		}
	}
}

// awaitWork reports false if there will be none.
func (p *peer) awaitWork(ctx context.Context) bool {
	linger := time.NewTicker(p.b.config.PeerLinger)
	defer linger.Stop()
	for {
		p.mu.Lock()
		work := len(p.queue) > 0
		p.mu.Unlock()
		if work {
			return ctx.Err() == nil
		}
		select {
		case <-p.wake:
		case <-linger.C:
			if p.b.peers.retire(p) {
				return false
			}
		case <-ctx.Done():
			return false
		}
	}
}

func (p *peer) dial(ctx context.Context) (whisk.ControllerToPeer, error) {
	p.mu.Lock()
	address := p.address
	p.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, p.b.config.HandOver)
	defer cancel()
	return p.b.deps.DialPeer(ctx, p.id, address)
}

// rest is for a controller that was not reached: what waits for it goes
// elsewhere, and so does what comes before it is tried again.
func (p *peer) rest(ctx context.Context, wait *backoff, err error) {
	if ctx.Err() == nil {
		p.log.Warn("another controller not reached", "err", err)
	}
	p.mu.Lock()
	queue := p.queue
	p.queue, p.resting = nil, true
	p.mu.Unlock()
	for _, e := range queue {
		e.tell(whisk.ForwardRefused{Reason: "not reached"})
	}
	wait.sleep(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.resting = false
}

// errUnused ends a session that nobody needs any more.
var errUnused = errors.New("unused")

// session serves one session until it ends.
func (p *peer) session(ctx context.Context, stream whisk.ControllerToPeer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var receiver sync.WaitGroup
	receiver.Go(func() { cancel(p.receiveLoop(ctx, stream)) })
	cancel(p.sendLoop(ctx, stream))
	stream.Close()
	receiver.Wait()
	p.interrupted(context.Cause(ctx))
	return context.Cause(ctx)
}

func (p *peer) sendLoop(ctx context.Context, stream whisk.ControllerToPeer) error {
	linger := time.NewTicker(p.b.config.PeerLinger)
	defer linger.Stop()
	p.notify()
	for used := true; ; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-p.wake:
			used = true
			for e := p.next(); e != nil; e = p.next() {
				if err := p.hand(ctx, stream, e); err != nil {
					return err
				}
			}
		case <-linger.C:
			if !used && p.quiet() {
				return errUnused
			}
			used = false
		}
	}
}

// quiet reports whether nothing is to be heard.
func (p *peer) quiet() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.pending) == 0
}

// next takes the oldest errand from the queue. It counts as sent from here on.
func (p *peer) next() *errand {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.queue) == 0 {
		return nil
	}
	e := p.queue[0]
	p.queue = p.queue[1:]
	p.seq++
	e.message.Seq, e.sent = p.seq, p.b.now()
	p.pending[p.seq] = e
	return e
}

// hand hands an errand to the transport. If that fails the other controller does
// not get it. The error means that the session is of no use.
func (p *peer) hand(ctx context.Context, stream whisk.ControllerToPeer, e *errand) error {
	ctx, cancel := context.WithTimeoutCause(ctx, p.b.config.HandOver, whisk.Errorf(whisk.Timeout, "it takes no messages"))
	defer cancel()
	err := stream.Send(ctx, e.message)
	if err == nil {
		return nil
	}
	if sent := p.take(e.message.Seq, true); sent != nil {
		sent.tell(whisk.ForwardRefused{Reason: err.Error()})
	}
	if kind := whisk.KindOf(err); kind == whisk.Invalid || kind == whisk.TooLarge {
		p.log.Warn("activation cannot be forwarded", "activation", e.message.Activation, "err", err)
		return nil // the message is to blame
	}
	return err
}

// take returns what a message of the other controller is about, nil for nothing.
func (p *peer) take(seq uint64, last bool) *errand {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.pending[seq]
	if e != nil {
		e.answered = true
	}
	if last {
		delete(p.pending, seq)
	}
	return e
}

func (p *peer) receiveLoop(ctx context.Context, stream whisk.ControllerToPeer) error {
	for {
		reply, err := stream.Recv(ctx)
		if err != nil {
			return err
		}
		p.heard(reply)
	}
}

// heard carries a reply to who waits for it.
func (p *peer) heard(reply whisk.ForwardReply) {
	var e *errand
	switch m := reply.(type) {
	case whisk.ForwardTaken:
		e = p.take(m.Seq, false)
	case whisk.ForwardRefused:
		e = p.take(m.Seq, true)
	case whisk.ForwardEnded:
		e = p.take(m.Seq, !m.Logs)
	case whisk.ForwardLogged:
		if e = p.take(m.Seq, true); e != nil {
			e.output.settle(m.Logs, m.Error())
		}
		return
	}
	if e != nil {
		e.tell(reply)
	}
}

// interrupted settles what a broken session leaves: of nothing that was sent is
// it known what becomes of it.
func (p *peer) interrupted(cause error) {
	p.mu.Lock()
	pending := p.pending
	p.pending = make(map[uint64]*errand)
	p.mu.Unlock()
	for _, e := range pending {
		e.tell(nil)
		e.output.settle(whisk.LogSummary{}, whisk.Errorf(whisk.Unavailable, "session with controller %s: %w", p.id, cause))
	}
}

// abandon gives up all there is, for good.
func (p *peer) abandon() {
	p.mu.Lock()
	queue := p.queue
	p.queue, p.closed = nil, true
	p.mu.Unlock()
	for _, e := range queue {
		e.tell(nil)
	}
	p.interrupted(errors.New("given up"))
}
