// SPDX-License-Identifier: Apache-2.0

package compat

import (
	"testing"
)

func TestScriptsParse(t *testing.T) {
	if _, err := scripts(); err != nil {
		t.Fatal(err)
	}
}
