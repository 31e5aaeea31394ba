// SPDX-License-Identifier: Apache-2.0

package alarms

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/whisk"
)

// Builtins returns the code of the feeds, which are the actions of a package.
func (s *Service) Builtins(pkg whisk.FullName) map[whisk.FullName]controller.Builtin {
	code := map[whisk.FullName]controller.Builtin{}
	for _, feed := range []string{byCron, byDate, byInterval} {
		name := whisk.FullName{Namespace: pkg.Namespace, Package: pkg.Name, Name: feed}
		code[name] = func(ctx context.Context, call controller.BuiltinCall) whisk.Response { return s.feed(ctx, feed, call) }
	}
	return code
}

// refusal is why a feed does not do what it is asked to, for the user.
type refusal string

func (r refusal) Error() string { return string(r) }

func refuse(format string, args ...any) error { return refusal(fmt.Sprintf(format, args...)) }

const authText = "Trigger authentication request failed."

// feed answers one call of the life of a trigger.
func (s *Service) feed(ctx context.Context, feed string, call controller.BuiltinCall) whisk.Response {
	answer, err := s.carryOut(ctx, feed, call)
	var refused refusal
	switch {
	case err == errLifecycle:
		return whisk.ErrorResponse(whisk.ApplicationError, err.Error())
	case errors.As(err, &refused):
		// The feeds of OpenWhisk hand the answer of their provider on, so it is an error in an error.
		return respond(whisk.ApplicationError, map[string]any{"error": map[string]string{"error": refused.Error()}})
	case err != nil:
		s.logger.LogAttrs(ctx, slog.LevelError, "alarm not kept", slog.String("activation", string(call.Activation)), slog.Any("err", err))
		return whisk.ErrorResponse(whisk.WhiskError, "The platform cannot reach its alarms now.")
	}
	return respond(whisk.Success, answer)
}

func respond(status whisk.Status, value any) whisk.Response {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return whisk.ErrorResponse(whisk.WhiskError, err.Error())
	}
	return whisk.Response{Status: status, Result: bytes.TrimSpace(text.Bytes())}
}

var errLifecycle = errors.New("unsupported lifecycleEvent")

// carryOut does what the lifecycle event says. A trigger's namespace is that of the caller,
// whatever namespace its name has, as in OpenWhisk.
func (s *Service) carryOut(ctx context.Context, feed string, call controller.BuiltinCall) (any, error) {
	given := parameters{}
	if err := json.Unmarshal(call.Arguments, &given); err != nil {
		return nil, errLifecycle // an array
	}
	name := triggerName(given.text("triggerName"))
	if name == "" {
		return nil, refuse("no trigger name parameter was provided")
	}
	trigger := whisk.FullName{Namespace: call.Caller.Namespace, Name: name}
	event := given.text("lifecycleEvent")
	use := map[string]func() (any, error){
		"CREATE": func() (any, error) { return s.create(ctx, feed, trigger, given) },
		"READ":   func() (any, error) { return s.read(ctx, trigger) },
		"UPDATE": func() (any, error) { return s.update(ctx, trigger, given) },
		"DELETE": func() (any, error) { return s.delete(ctx, trigger) },
	}[event]
	if use == nil {
		return nil, errLifecycle
	}
	if event == "CREATE" { // what is wrong with the rest is said first
		if _, err := newState(feed, given, time.Now()); err != nil {
			return nil, err
		}
	}
	if err := mayUse(ctx, call, trigger, given, event == "DELETE"); err != nil {
		return nil, err
	}
	return use()
}

// mayUse checks the key that the client sent along, which must be one of the namespace of the
// caller, and that the trigger is there. Without a key the caller is who called.
func mayUse(ctx context.Context, call controller.BuiltinCall, trigger whisk.FullName, given parameters, gone bool) error {
	caller := call.Caller
	if given.truthy("authKey") {
		header := "Basic " + base64.StdEncoding.EncodeToString([]byte(given.text("authKey")))
		var err error
		caller, err = call.On.Authenticate(ctx, header)
		switch {
		case errors.Is(err, controller.ErrCredentials):
			return refuse(authText)
		case err != nil:
			return fmt.Errorf("authenticate for %s: %w", trigger, err)
		}
	}
	_, err := call.On.Trigger(ctx, caller, trigger)
	switch {
	case err == nil:
		return nil
	case whisk.KindOf(err) == whisk.NotFound && gone:
		return nil
	case whisk.KindOf(err) == whisk.Internal, whisk.KindOf(err) == whisk.Unavailable:
		return fmt.Errorf("get %s: %w", trigger, err)
	}
	return refuse(authText)
}

// triggerName returns a trigger's name without its namespace.
func triggerName(name string) string {
	if rest, absolute := strings.CutPrefix(name, "/"); absolute {
		_, name, _ = strings.Cut(rest, "/")
	}
	return name
}

var success = map[string]string{"status": "success"}

// create makes the trigger's alarm, in place of a former one.
func (s *Service) create(ctx context.Context, feed string, trigger whisk.FullName, given parameters) (any, error) {
	return s.replace(ctx, trigger, func(*state) (*state, error) { return newState(feed, given, time.Now()) })
}

// update changes what is given of the trigger's alarm, and turns it on.
func (s *Service) update(ctx context.Context, trigger whisk.FullName, given parameters) (any, error) {
	return s.replace(ctx, trigger, func(former *state) (*state, error) {
		if former == nil {
			return nil, errMissing(trigger)
		}
		return former, former.change(given, time.Now())
	})
}

func errMissing(trigger whisk.FullName) error {
	return refuse("could not find trigger /%s/%s in the database", trigger.Namespace, trigger.Name)
}

// writes is how often a write is tried that others get in the way of.
const writes = 5

// replace writes what is made of the trigger's alarm, which is nil if there is none, and turns it on.
func (s *Service) replace(ctx context.Context, trigger whisk.FullName, with func(*state) (*state, error)) (any, error) {
	for try := 1; ; try++ {
		former, err := s.store.Alarm(ctx, trigger)
		var stored *state
		switch {
		case err != nil && whisk.KindOf(err) != whisk.NotFound:
			return nil, err
		case err != nil:
			former = whisk.Alarm{Trigger: trigger}
		default:
			if stored, err = stateOf(former); err != nil {
				return nil, err
			}
		}
		made, err := with(stored)
		if err != nil {
			return nil, err
		}
		alarm, err := made.alarm(former, made.activate(time.Now()))
		if err != nil {
			return nil, err
		}
		_, err = s.store.SetAlarm(ctx, alarm)
		switch {
		case err == nil:
			s.look()
			return success, nil
		case whisk.KindOf(err) != whisk.Conflict || try == writes:
			return nil, err
		}
	}
}

// delete removes the trigger's alarm.
func (s *Service) delete(ctx context.Context, trigger whisk.FullName) (any, error) {
	for try := 1; ; try++ {
		alarm, err := s.store.Alarm(ctx, trigger)
		if err == nil {
			err = s.store.DeleteAlarm(ctx, trigger, alarm.Revision)
		}
		switch {
		case err == nil:
			return success, nil
		case whisk.KindOf(err) == whisk.NotFound:
			return nil, errMissing(trigger)
		case whisk.KindOf(err) != whisk.Conflict || try == writes:
			return nil, err
		}
	}
}

// read shows the trigger's alarm.
func (s *Service) read(ctx context.Context, trigger whisk.FullName) (any, error) {
	alarm, err := s.store.Alarm(ctx, trigger)
	if err != nil && whisk.KindOf(err) == whisk.NotFound {
		return nil, errMissing(trigger)
	}
	if err != nil {
		return nil, err
	}
	stored, err := stateOf(alarm)
	if err != nil {
		return nil, err
	}
	return shown{Config: configOf(trigger, stored), Status: statusOf(stored)}, nil
}
