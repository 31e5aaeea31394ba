// SPDX-License-Identifier: Apache-2.0

package postgres_test

import (
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/store/postgres"
	"github.com/whirl-faas/whirl/whisk"
)

const secret = "hunter2"

func configOf(url string) postgres.Config {
	config := postgres.Default()
	config.URL = url
	return config
}

// withoutVariables keeps the machine's own settings out of a test.
func withoutVariables(t *testing.T) {
	for _, name := range []string{"PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGPASSWORD", "PGPASSFILE", "PGSERVICE", "PGSSLMODE", "PGSSLROOTCERT"} {
		t.Setenv(name, "")
	}
}

func TestPlacesShowNoSecrets(t *testing.T) {
	withoutVariables(t)
	for url, want := range map[string]string{
		"postgres://whirl:" + secret + "@10.0.0.5/logs":                                                  "postgres://whirl@10.0.0.5:5432/logs",
		"postgresql://whirl@db1:5433,db2/logs?password=" + secret + "&target_session_attrs=read-write":   "postgres://whirl@db1:5433,db2:5432/logs",
		"postgres://whirl:" + secret + "@127.0.0.1:1/logs?search_path=a&application_name=" + secret:      "postgres://whirl@127.0.0.1:1/logs",
		"postgres://whirl:" + secret + "@[::1]/logs?sslmode=verify-full&connect_timeout=1&sslpassword=x": "postgres://whirl@[::1]:5432/logs",
	} {
		config := configOf(url)
		if err := config.Validate(); err != nil {
			t.Errorf("%s: %v", url, err)
		}
		if got := config.String(); got != want {
			t.Errorf("%s is shown as %s, want %s", url, got, want)
		}
	}
}

// TestMistakesAreNotRepeated has a password at every place of URLs that are no good.
func TestMistakesAreNotRepeated(t *testing.T) {
	withoutVariables(t)
	for _, url := range []string{
		secret, "mysql://whirl:" + secret + "@h/logs", "postgres://whirl:" + secret + "%zz@h/logs", "postgres://whirl:" + secret + "@h:port/logs",
		"postgres://whirl:x@h:" + secret + "/logs", "postgres://h/logs?sslmode=" + secret, "postgres://h/logs?connect_timeout=" + secret,
		"postgres://h/logs?target_session_attrs=" + secret, "postgres://h/logs?sslrootcert=/nowhere/" + secret + "&sslmode=verify-full",
		"postgres://h/logs?pool_max_conns=" + secret, "postgres://[" + secret + "/logs", "postgres://h/logs?service=" + secret,
		"postgres://h/logs?%zz" + secret + "=1", "postgres://h/logs?sslcert=/nowhere/" + secret,
	} {
		config := configOf(url)
		err := config.Validate()
		if err == nil || whisk.KindOf(err) != whisk.Invalid || strings.Contains(err.Error(), secret) || !strings.Contains(err.Error(), "postgres://USER@HOST") {
			t.Errorf("%s: %v, want one of kind invalid that says what is wanted and does not repeat it", url, err)
		}
		if text := config.String(); strings.Contains(text, secret) {
			t.Errorf("%s is shown as %s", url, text)
		}
		if _, err := postgres.OpenLogs(config); whisk.KindOf(err) != whisk.Invalid || err == nil {
			t.Errorf("%s can be opened: %v", url, err)
		}
	}
}

func TestImpossibleConfigs(t *testing.T) {
	for _, change := range []func(*postgres.Config){
		func(c *postgres.Config) { c.Connections = 0 },
		func(c *postgres.Config) { c.Timeout = 0 },
		func(c *postgres.Config) { c.Timeout = -time.Second },
	} {
		config := configOf("postgres://h/logs")
		change(&config)
		if err := config.Validate(); err == nil || whisk.KindOf(err) != whisk.Invalid {
			t.Errorf("%+v: %v", config, err)
		}
	}
}
