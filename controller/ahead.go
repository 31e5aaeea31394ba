// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"context"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Code is read before its container is there, if it is short and while not too much is
// held of others': there may be many actions whose first container is waited for.
const (
	maxReadAhead  = 64 * whisk.KB
	roomReadAhead = 16 * whisk.MB // for all
)

// readAhead reads the action's code while its container is made. If that fails,
// initBody tries again, and tells.
func (c *Controller) readAhead(ctx context.Context, act *activation) {
	size := act.action.Exec.Size
	if act.code != nil || size > maxReadAhead || !c.ahead.TryAcquire(int64(size)) {
		return
	}
	if act.code, _ = c.code(ctx, act.action.Action); act.code == nil {
		c.ahead.Release(int64(size))
	}
}

// takeAhead returns the code that was read ahead, once, and nil if there is none.
func (c *Controller) takeAhead(act *activation) []byte {
	code := act.code
	if code != nil {
		act.code = nil
		c.ahead.Release(int64(act.action.Exec.Size))
	}
	return code
}

func (c *Controller) initBody(ctx context.Context, act *activation, deadline time.Time) ([]byte, error) {
	code := c.takeAhead(act)
	if code == nil {
		var err error
		if code, err = c.code(ctx, act.action.Action); err != nil {
			return nil, err
		}
	}
	return act.appendInit(make([]byte, 0, len(code)+len(code)/16+1024), code, deadline), nil
}
