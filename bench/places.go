// SPDX-License-Identifier: Apache-2.0

package bench

import (
	"sync"

	"github.com/valyala/fasthttp"
)

// places are the connections to sandboxes that whoever has a request takes one
// of: as at a controller the one that was given back last, so that a few are
// warm and not all of them lukewarm. Who finds none waits.
type places struct {
	free chan struct{} // a token for each that is free

	mu    sync.Mutex
	stack []*fasthttp.HostClient // the free ones
}

// newPlaces makes so many in all, spread over the clients. Those of the first
// client are taken first.
func newPlaces(clients []*fasthttp.HostClient, count int) *places {
	p := &places{free: make(chan struct{}, count)}
	for i := count - 1; i >= 0; i-- {
		p.stack = append(p.stack, clients[i%len(clients)])
		p.free <- struct{}{}
	}
	return p
}

func (p *places) take() *fasthttp.HostClient {
	<-p.free
	p.mu.Lock()
	defer p.mu.Unlock()
	last := len(p.stack) - 1
	taken := p.stack[last]
	p.stack = p.stack[:last]
	return taken
}

func (p *places) give(client *fasthttp.HostClient) {
	p.mu.Lock()
	p.stack = append(p.stack, client)
	p.mu.Unlock()
	p.free <- struct{}{}
}
