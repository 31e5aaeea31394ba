// SPDX-License-Identifier: Apache-2.0

//go:build e2e && docker

package test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/client"
)

// scout makes cold starts, one after the other, each of an action of its own.
type scout struct {
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu     sync.Mutex
	trials []trial
}

// trial is one cold start, from its call to its answer.
type trial struct {
	begun, ended time.Time
	cause        string // of its failure; "" if it succeeded
}

func startScout(t *testing.T, f *fleet, name string) *scout {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s := &scout{cancel: cancel}
	t.Cleanup(s.end)
	user := f.userClient(t)
	s.done.Go(func() {
		for n := 0; ctx.Err() == nil; n++ {
			one := s.try(ctx, user, fmt.Sprintf("%s-%d", name, n))
			if ctx.Err() != nil {
				return
			}
			s.mu.Lock()
			s.trials = append(s.trials, one)
			s.mu.Unlock()
			select {
			case <-time.After(250 * time.Millisecond): // what is more would only push the others' containers out
			case <-ctx.Done():
			}
		}
	})
	return s
}

func (s *scout) try(ctx context.Context, user *client.Client, action string) trial {
	spec := client.ActionSpec{Exec: &client.Exec{Kind: "native:default", Code: native().code["one"]}, Limits: &client.LimitsSpec{Memory: 128}}
	if _, err := user.CreateAction(ctx, action, spec); err != nil {
		now := time.Now()
		return trial{now, now, causeOf(err)}
	}
	one := trial{begun: time.Now()}
	record, err := user.Invoke(ctx, action, nil, 0)
	one.ended, one.cause = time.Now(), causeOf(err)
	if err == nil {
		one.cause = causeIn(record.Response)
	}
	if _, err := user.DeleteAction(ctx, action); err != nil && one.cause == "" {
		one.cause = causeOf(err)
	}
	return one
}

func (s *scout) all() []trial {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.trials)
}

// awaitAfter returns how long after a moment a cold start worked for the first time.
func (s *scout) awaitAfter(t *testing.T, moment time.Time) (took time.Duration) {
	t.Helper()
	eventually(t, recovery, "a cold start works", func() bool {
		for _, one := range s.all() {
			if one.cause == "" && one.ended.After(moment) {
				took = one.ended.Sub(moment)
				return true
			}
		}
		return false
	})
	return took
}

// String tells the slowest cold start, and the causes of those that failed.
func (s *scout) String() string {
	var slowest time.Duration
	failed := map[string]int{}
	for _, one := range s.all() {
		slowest = max(slowest, one.ended.Sub(one.begun))
		if one.cause != "" {
			failed[one.cause]++
		}
	}
	return fmt.Sprintf("%d cold starts, the slowest took %.1f s, failed: %s", len(s.all()), slowest.Seconds(), count(failed))
}

// end makes no more cold starts, and waits for the last.
func (s *scout) end() {
	s.cancel()
	s.done.Wait()
}
