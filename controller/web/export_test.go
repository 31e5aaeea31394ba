// SPDX-License-Identifier: Apache-2.0

package web_test

import (
	"encoding/json"
	"testing"

	"github.com/whirl-faas/whirl/controller/web"
	"github.com/whirl-faas/whirl/whisk"
)

func annotations(keysAndValues ...string) whisk.Parameters {
	var p whisk.Parameters
	for i := 0; i < len(keysAndValues); i += 2 {
		p = append(p, whisk.Parameter{Key: keysAndValues[i], Value: json.RawMessage(keysAndValues[i+1])})
	}
	return p
}

func TestExportOf(t *testing.T) {
	for _, test := range []struct {
		annotations           whisk.Parameters
		exported, raw, custom bool
	}{
		{annotations("web-export", "true"), true, false, false},
		{annotations("web-export", "true", "raw-http", "true", "web-custom-options", "true"), true, true, true},
		{annotations("web-export", "true", "raw-http", `"true"`, "web-custom-options", "1"), true, false, false},
		{annotations("web-export", `"true"`), false, false, false},
		{annotations("web-export", "1"), false, false, false},
		{annotations("web-export", "false", "raw-http", "true"), false, true, false},
		{nil, false, false, false},
	} {
		export, exported := web.ExportOf(test.annotations)
		if exported != test.exported || export.Raw != test.raw || export.CustomOptions != test.custom {
			t.Errorf("%v: %+v %t", test.annotations, export, exported)
		}
	}
}

func TestAdmits(t *testing.T) {
	for _, test := range []struct {
		secret string // "" for none
		shown  []string
		known  bool
		want   bool
	}{
		{"", nil, false, true},
		{"true", nil, true, true},
		{"true", nil, false, false},
		{"true", []string{"true"}, false, false},
		{"false", nil, false, true},
		{`"s\u0065cret"`, []string{"secret"}, false, true},
		{`"secret"`, []string{"Secret"}, true, false},
		{`"secret"`, []string{"other", "secret"}, false, false},
		{`"secret"`, nil, true, false},
		{`""`, []string{""}, false, true},
		{`""`, nil, false, false},
		{"5147", []string{"5147"}, false, true},
		{"-5147", []string{"-5147"}, false, true},
		{"5147", []string{"5148"}, true, false},
		{"5147", []string{"05147"}, true, false},
		{"null", nil, true, false},
		{`["a"]`, []string{"a"}, true, false},
		{`{}`, []string{"{}"}, true, false},
	} {
		notes := annotations("web-export", "true")
		if test.secret != "" {
			notes = append(notes, annotations("require-whisk-auth", test.secret)...)
		}
		export, _ := web.ExportOf(notes)
		if got := export.Admits(test.shown, test.known); got != test.want {
			t.Errorf("require-whisk-auth %s, shown %q, known %t: %t", test.secret, test.shown, test.known, got)
		}
	}
}
