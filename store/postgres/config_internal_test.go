// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"testing"
	"time"
)

// TestEncryption holds that nothing goes over a network in plain text unless
// somebody said so.
func TestEncryption(t *testing.T) {
	for _, row := range []struct {
		url, mode string // of the environment
		want      string
	}{
		{"postgres://db/logs", "", "verified"},
		{"postgres://10.0.0.5,10.0.0.6/logs", "", "verified"},
		{"postgres://db/logs?search_path=x", "", "verified"},
		{"postgres://127.0.0.1,10.0.0.6/logs", "", "verified"},
		{"postgres://db/logs?sslmode=prefer", "", "verified"},
		{"postgres://db/logs", "allow", "verified"},
		{"postgres://db/logs?sslmode=verify-full", "", "verified"},
		{"postgres://db/logs?sslmode=require", "", "encrypted"},
		{"postgres://db/logs", "require", "encrypted"},
		{"postgres://db/logs?sslmode=disable", "", "plain"},
		{"postgres://db/logs", "disable", "plain"},
		{"postgres://127.0.0.1/logs", "", "lax"},
		{"postgres://localhost/logs", "", "lax"},
		{"postgres:///logs?host=/run/postgresql", "", "plain"},
	} {
		for _, name := range []string{"PGHOST", "PGSERVICE", "PGSSLROOTCERT"} {
			t.Setenv(name, "")
		}
		t.Setenv("PGSSLMODE", row.mode)
		config := Default()
		config.URL = row.url
		parsed, err := config.parse()
		if err != nil {
			t.Errorf("%s: %v", row.url, err)
			continue
		}
		got := "plain"
		if tls := parsed.ConnConfig.TLSConfig; tls != nil {
			got = "encrypted"
			if !tls.InsecureSkipVerify && tls.ServerName != "" {
				got = "verified"
			}
			for _, other := range parsed.ConnConfig.Fallbacks {
				if other.TLSConfig == nil {
					got = "lax"
				}
			}
		}
		if got != row.want {
			t.Errorf("%s with PGSSLMODE=%q is %s, want %s", row.url, row.mode, got, row.want)
		}
	}
}

func TestSettingsOfTheSession(t *testing.T) {
	for _, row := range []struct {
		url, name, timeout string
		connect            time.Duration
	}{
		{"postgres://127.0.0.1/logs", "whirl", "5000", 5 * time.Second},
		{"postgres://127.0.0.1/logs?application_name=me&statement_timeout=7s&connect_timeout=2", "me", "7s", 2 * time.Second},
		{"postgres://127.0.0.1/logs?connect_timeout=60", "whirl", "5000", 5 * time.Second},
	} {
		config := Default()
		config.URL = row.url
		parsed, err := config.parse()
		if err != nil {
			t.Fatal(err)
		}
		params := parsed.ConnConfig.RuntimeParams
		if params["application_name"] != row.name || params["statement_timeout"] != row.timeout || parsed.ConnConfig.ConnectTimeout != row.connect || parsed.MaxConns != 4 {
			t.Errorf("%s: %v, connecting within %v, %d connections", row.url, params, parsed.ConnConfig.ConnectTimeout, parsed.MaxConns)
		}
	}
}
