// SPDX-License-Identifier: Apache-2.0

package bench

import "testing"

func TestEndpointsAddress(t *testing.T) {
	for host, want := range map[string]string{
		"openwhisk.example.org":     "openwhisk.example.org:443",
		"http://127.0.0.1":          "127.0.0.1:80",
		"https://127.0.0.1:3233/":   "127.0.0.1:3233",
		"https://[2001:db8::1]":     "[2001:db8::1]:443",
		"http://[2001:db8::1]:3233": "[2001:db8::1]:3233",
	} {
		e, err := newEndpoint("platform", "tag", host, "a:b")
		if err != nil {
			t.Errorf("%s: %v", host, err)
			continue
		}
		if e.address.Network != "tcp" || e.address.Address != want {
			t.Errorf("%s: got %s, want %s", host, e.address.Address, want)
		}
		e.close()
	}
}
