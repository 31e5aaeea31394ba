// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"encoding/json"
	"strings"
	"time"

	"github.com/whirl-faas/whirl/controller/apijson"
	"github.com/whirl-faas/whirl/whisk"
)

// checkPayload checks what a caller sends along, of which nothing counts as {}.
func (c *Controller) checkPayload(caller *Caller, payload []byte) ([]byte, error) {
	if size, limit := whisk.Bytes(len(payload)), c.LimitsOf(caller).Payload; size > limit {
		return nil, errTooLarge("Request", size, limit)
	}
	if len(payload) == 0 {
		return []byte("{}"), nil
	}
	return payload, checkObject(payload)
}

// checkFinal refuses a payload that gives parameters which the action has fixed.
func (a *resolvedAction) checkFinal(payload []byte) error {
	if len(a.final) == 0 {
		return nil
	}
	for member := range apijson.Members(payload) {
		if a.final[string(member.Key)] {
			return whisk.Errorf(whisk.Invalid, "Request defines parameters that are not allowed (e.g., reserved properties).")
		}
	}
	return nil
}

// appendArguments appends what the action's code gets: the payload over the bound
// parameters, without those that only /init sees. With nothing bound it is the
// payload as it came, and so is an array, which only sequences hand on.
func (a *resolvedAction) appendArguments(dst, payload []byte) []byte {
	if !a.bound || apijson.IsArray(payload) {
		return append(dst, payload...)
	}
	return appendOver(dst, a.Parameters, payload, a.initOnly)
}

// appendOver appends an object of parameters and, over them, the members of
// another object, but for those that are left out. Values are copied, never decoded.
func appendOver(dst []byte, bound whisk.Parameters, payload []byte, without map[string]bool) []byte {
	given := map[string]bool{}
	for member := range apijson.Members(payload) {
		given[string(member.Key)] = true
	}
	dst = append(dst, '{')
	empty := len(dst)
	separate := func() {
		if len(dst) > empty {
			dst = append(dst, ',')
		}
	}
	for _, parameter := range bound {
		if without[parameter.Key] || given[parameter.Key] {
			continue
		}
		separate()
		dst = apijson.AppendString(dst, parameter.Key)
		dst = append(append(dst, ':'), parameter.Value...)
	}
	for member := range apijson.Members(payload) {
		if without[string(member.Key)] {
			continue
		}
		separate()
		dst = append(dst, member.Text...)
	}
	return append(dst, '}')
}

// environment returns the values of the parameters that only /init sees, those
// of the payload before those that are bound.
func (a *resolvedAction) environment(payload []byte) map[string]json.RawMessage {
	if len(a.initOnly) == 0 {
		return nil
	}
	values := map[string]json.RawMessage{}
	for _, parameter := range a.Parameters {
		if parameter.Init {
			values[parameter.Key] = parameter.Value
		}
	}
	if apijson.IsArray(payload) {
		return values
	}
	for member := range apijson.Members(payload) {
		if key := string(member.Key); a.initOnly[key] {
			values[key] = append(json.RawMessage(nil), member.Value...)
		}
	}
	return values
}

// deadlineSpace is what [appendDeadline] adds at most.
const deadlineSpace = 24

// appendRun appends the body of /run but for the deadline, which is known
// only when it is sent; [appendDeadline] completes it.
func (a *activation) appendRun(dst, payload []byte) []byte {
	dst = a.action.appendArguments(append(dst, `{"value":`...), payload)
	dst = apijson.AppendString(append(dst, `,"namespace":`...), a.namespace)
	dst = append(dst, a.action.identity...)
	dst = append(append(dst, `,"activation_id":"`...), a.id...)
	dst = apijson.AppendString(append(dst, `","transaction_id":`...), a.transaction)
	if a.key != "" {
		dst = apijson.AppendString(append(dst, `,"api_key":`...), a.key)
	}
	return append(dst, `,"deadline":"`...)
}

func appendDeadline(dst []byte, deadline time.Time) []byte {
	return append(apijson.AppendInt(dst, deadline.UnixMilli()), `"}`...)
}

// appendInit appends the body of /init. It is sent also for an image that comes
// without code, which is nil then.
func (a *activation) appendInit(dst, code []byte, deadline time.Time) []byte {
	action := a.action
	dst = apijson.AppendString(append(dst, `{"value":{"name":`...), action.Name.Name)
	main := action.Exec.Main
	if main == "" {
		main = "main"
	}
	dst = apijson.AppendString(append(dst, `,"main":`...), main)
	if action.Exec.Binary {
		dst = append(dst, `,"binary":true`...)
	} else {
		dst = append(dst, `,"binary":false`...)
	}
	if code != nil {
		dst = apijson.AppendString(append(dst, `,"code":`...), code)
	}
	dst = append(dst, `,"env":{`...)
	for key, value := range a.environment {
		dst = append(apijson.AppendString(dst, key), ':')
		dst = append(appendEnvironmentValue(dst, value), ',')
	}
	dst = apijson.AppendString(append(dst, `"__OW_NAMESPACE":`...), a.namespace)
	dst = apijson.AppendString(append(dst, `,"__OW_ACTION_NAME":`...), action.Name.String())
	dst = apijson.AppendString(append(dst, `,"__OW_ACTION_VERSION":`...), action.Version.String())
	dst = apijson.AppendString(append(dst, `,"__OW_ACTIVATION_ID":`...), string(a.id))
	dst = apijson.AppendString(append(dst, `,"__OW_TRANSACTION_ID":`...), a.transaction)
	if a.key != "" {
		dst = apijson.AppendString(append(dst, `,"__OW_API_KEY":`...), a.key)
	}
	dst = append(dst, `,"__OW_DEADLINE":"`...)
	dst = apijson.AppendInt(dst, deadline.UnixMilli())
	return append(dst, `"}}}`...)
}

// appendEnvironmentValue appends a JSON value as the string that stands for it
// in an environment: strings as they are, null as nothing, others as JSON text.
func appendEnvironmentValue(dst []byte, value json.RawMessage) []byte {
	switch {
	case string(value) == "null":
		return append(dst, `""`...)
	case strings.HasPrefix(string(value), `"`):
		return append(dst, value...)
	}
	return apijson.AppendString(dst, value)
}
