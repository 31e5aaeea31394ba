// SPDX-License-Identifier: Apache-2.0

package controller

import (
	"encoding/json"

	"github.com/whirl-faas/whirl/controller/apijson"
	"github.com/whirl-faas/whirl/whisk"
)

// Results of sequences whose components cannot be run.
const (
	missingComponentText = "Sequence component does not exist."
	longSequenceText     = "Too many actions in the sequence."
	failedSequenceText   = "Sequence failed."
)

// sequence is the program that runs components in their order, each with the
// result of the one before, until one answers with an error.
type sequence struct {
	left    []whisk.FullName // components that were not run
	limit   int              // of components, nested sequences' instead of themselves
	tooDeep bool             // it is nested in as many others as sequences may be
	begun   bool
}

func (s *sequence) next(last stepEnd, used counts) step {
	switch last.refusal {
	case ran:
	case unusable:
		return endWith(whisk.ApplicationError, last.text)
	case spent:
		return endWith(whisk.ApplicationError, longSequenceText)
	case failed:
		return endWith(whisk.WhiskError, failedSequenceText)
	default:
		return endWith(whisk.ApplicationError, missingComponentText)
	}
	switch {
	case len(s.left) == 0, s.begun && hasError(last.response.Result):
		return step{response: last.response}
	case used.components >= s.limit, s.tooDeep:
		return endWith(whisk.ApplicationError, longSequenceText)
	}
	name := s.left[0]
	s.left, s.begun = s.left[1:], true
	return step{runs: component, name: name, payload: inputOf(last.response.Result)}
}

// endWith is the step that ends a composed activation with an error.
func endWith(status whisk.Status, text string) step {
	return step{response: whisk.ErrorResponse(status, text)}
}

// inputOf is what a component gets of the result before it: objects and arrays.
func inputOf(result json.RawMessage) []byte {
	if len(result) == 0 {
		return []byte("{}")
	}
	return result
}

func hasError(result json.RawMessage) bool {
	if len(result) == 0 || apijson.IsArray(result) {
		return false
	}
	for member := range apijson.Members(result) {
		if string(member.Key) == "error" {
			return true
		}
	}
	return false
}
