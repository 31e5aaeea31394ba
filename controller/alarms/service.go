// SPDX-License-Identifier: Apache-2.0

package alarms

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/whisk"
)

// Config holds the settings of a [Service].
type Config struct {
	LookAgain time.Duration // alarms that other controllers make are seen after this, at the latest
	AtOnce    int           // alarms that are fired at once
	Late      time.Duration // a time of a repeated alarm that is longer past than this is left out
}

// Default returns settings for all platforms.
func Default() Config {
	return Config{LookAgain: time.Second, AtOnce: 32, Late: time.Minute}
}

// Validate says what is impossible about c.
func (c Config) Validate() error {
	if c.LookAgain <= 0 || c.AtOnce < 1 || c.Late < 0 {
		return whisk.Errorf(whisk.Invalid, "alarms need a positive time between looks and number at once, and no negative lateness: %+v", c)
	}
	return nil
}

// Service is the alarms of one controller. Its methods may be called concurrently.
type Service struct {
	config Config
	store  whisk.Alarms
	logger *slog.Logger
	wake   chan struct{} // holds a token when there is a reason to look at the store; never closed
}

// New returns the service over a store that controllers may share. A nil logger discards.
func New(config Config, store whisk.Alarms, logger *slog.Logger) (*Service, error) {
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Service{config: config, store: store, logger: logger.With("component", "alarms"), wake: make(chan struct{}, 1)}, nil
}

// look has the loop look at the store at once.
func (s *Service) look() {
	select {
	case s.wake <- struct{}{}:
	default: // it will
	}
}

// Run fires what is due, on a controller that runs as long, until ctx ends.
func (s *Service) Run(ctx context.Context, on *controller.Controller) error {
	for {
		timer := time.NewTimer(s.fireOnce(ctx, on))
		select {
		case <-timer.C:
		case <-s.wake:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return nil
		}
	}
}

// fireOnce fires all that is due and returns after what time to look again.
func (s *Service) fireOnce(ctx context.Context, on *controller.Controller) time.Duration {
	for {
		due, err := s.store.DueAlarms(ctx, time.Now(), s.config.AtOnce)
		if err == nil && len(due) > 0 {
			err = s.fireAll(ctx, on, due)
		}
		if err != nil && ctx.Err() == nil {
			s.logger.Warn("alarms not fired, trying again", "err", err)
		}
		if err != nil {
			return s.config.LookAgain
		}
		if len(due) == 0 {
			break
		}
	}
	next, err := s.store.NextAlarm(ctx)
	if err != nil || next.IsZero() {
		return s.config.LookAgain
	}
	return max(0, min(time.Until(next), s.config.LookAgain))
}

// fireAll fires alarms side by side. The error is that of one which is as it was.
func (s *Service) fireAll(ctx context.Context, on *controller.Controller, due []whisk.Alarm) error {
	var group sync.WaitGroup
	var failed atomic.Pointer[error]
	for _, alarm := range due {
		group.Go(func() {
			if err := s.fire(ctx, on, alarm); err != nil {
				failed.Store(&err)
			}
		})
	}
	group.Wait()
	if err := failed.Load(); err != nil {
		return *err
	}
	return nil
}

// fire does what is due of an alarm, unless another controller does: it has changed then,
// which is no error.
func (s *Service) fire(ctx context.Context, on *controller.Controller, alarm whisk.Alarm) error {
	now := time.Now()
	stored, err := stateOf(alarm)
	if err != nil {
		s.logger.Error("alarm turned off", "trigger", alarm.Trigger.Path(), "err", err)
		stored = new(state)
		return s.settle(ctx, alarm, stored, stored.disable(now, 0, "Automatically disabled: it cannot be read"))
	}
	if stored.Fired {
		return s.cleanUp(ctx, on, alarm, stored)
	}
	if late := now.Sub(alarm.At); late > s.config.Late && stored.Feed != byDate && stored.Tries == 0 {
		s.logger.Info("alarm left out, its time is long past", "trigger", alarm.Trigger.Path(), "late", late)
		return s.settle(ctx, alarm, stored, stored.skip(now))
	}
	failure, err := s.firePatiently(ctx, on, alarm, stored, now)
	if err != nil || failure == nil {
		return err
	}
	at := stored.refused(now, failure)
	if at.IsZero() {
		s.logger.Info("alarm turned off", "trigger", alarm.Trigger.Path(), "reason", stored.Status.Reason.Message)
	}
	return s.settle(ctx, alarm, stored, at)
}

// firePatiently fires the trigger and moves the alarm on in one transaction. failure
// is why the trigger cannot be fired, for which the alarm is as it was.
func (s *Service) firePatiently(ctx context.Context, on *controller.Controller, alarm whisk.Alarm, stored *state, now time.Time) (failure, err error) {
	owner, err := on.Owner(ctx, alarm.Trigger.Namespace)
	if err != nil {
		if whisk.KindOf(err) == whisk.NotFound {
			return errNoOwner, nil
		}
		return nil, err
	}
	if err := on.AdmitFire(owner); err != nil {
		return err, nil
	}
	fired := *stored
	fired.Tries, fired.Throttle = 0, 0
	after, err := fired.alarm(alarm, fired.advance(now))
	if err != nil {
		return nil, err
	}
	var committed error
	_, err = on.Fire(ctx, controller.FireCall{
		Caller: owner, Trigger: alarm.Trigger, Payload: stored.Payload, Headers: []byte("{}"), Transaction: "sid_alarms",
		Commit: func(ctx context.Context, entries ...whisk.Accepted) error {
			_, committed = s.store.SetAlarm(ctx, after, entries...)
			return committed
		},
	})
	switch {
	case committed != nil:
		return nil, overtaken(committed)
	case ctx.Err() != nil:
		return nil, err
	}
	return err, nil
}

// overtaken makes no error of one which says that another controller was first.
func overtaken(err error) error {
	if err != nil && whisk.KindOf(err) == whisk.Conflict {
		return nil
	}
	return err
}

// settle writes what became of an alarm that was not fired.
func (s *Service) settle(ctx context.Context, alarm whisk.Alarm, stored *state, at time.Time) error {
	after, err := stored.alarm(alarm, at)
	if err != nil {
		return err
	}
	_, err = s.store.SetAlarm(ctx, after)
	return overtaken(err)
}

// errNoOwner is that of a namespace without an owner, or with one who may not do anything.
var errNoOwner = whisk.Errorf(whisk.Denied, "the namespace has no owner")

// refused says why the trigger cannot be fired, and returns when to try again, the
// zero time if that is of no use. What is OpenWhisk's answer to a client decides.
func (s *state) refused(now time.Time, failure error) time.Time {
	code := 0
	switch whisk.KindOf(failure) {
	case whisk.NotFound:
		code = 404
	case whisk.Denied:
		code = 403
	case whisk.Invalid:
		code = 400
	case whisk.TooLarge:
		code = 413
	case whisk.Throttled:
		return s.retry(now, true)
	default:
		return s.retry(now, false)
	}
	if failure == errNoOwner {
		code = 401
	}
	return s.disable(now, code, fmt.Sprintf("Trigger automatically disabled: Received a %d status code when firing the trigger", code))
}

// cleanUp deletes the trigger of an alarm that was fired, its rules if they are to go, and
// at last the alarm. What is gone already is no error, so it may be done again.
func (s *Service) cleanUp(ctx context.Context, on *controller.Controller, alarm whisk.Alarm, stored *state) error {
	owner, err := on.Owner(ctx, alarm.Trigger.Namespace)
	if err == nil {
		err = deleteTrigger(ctx, on, owner, alarm.Trigger, stored.After == "rules")
	}
	if unlessGone(err) != nil {
		if ctx.Err() != nil {
			return err
		}
		s.logger.Warn("trigger not deleted after it was fired, trying again", "trigger", alarm.Trigger.Path(), "err", err)
		stored.Tries = min(stored.Tries+1, maxTries) // so that it is not in the way of others
		return s.settle(ctx, alarm, stored, time.Now().Add(time.Duration(stored.Tries*stored.Tries)*tryAfter))
	}
	return overtaken(unlessGone(s.store.DeleteAlarm(ctx, alarm.Trigger, alarm.Revision)))
}

func deleteTrigger(ctx context.Context, on *controller.Controller, owner *controller.Caller, name whisk.FullName, withRules bool) error {
	trigger, err := on.Trigger(ctx, owner, name)
	if err != nil {
		return err
	}
	if withRules {
		for _, rule := range trigger.RuleNames() {
			if _, err := on.DeleteRule(ctx, owner, rule); unlessGone(err) != nil {
				return err
			}
		}
	}
	_, err = on.DeleteTrigger(ctx, owner, name)
	return err
}

func unlessGone(err error) error {
	if err != nil && whisk.KindOf(err) == whisk.NotFound {
		return nil
	}
	return err
}
