// SPDX-License-Identifier: Apache-2.0

package postgres

import (
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/whirl-faas/whirl/whisk"
)

// Config says which database, and how it is used.
type Config struct {
	// URL is postgres://USER@HOST/DATABASE as libpq has it, with several hosts and
	// settings of the session if need be. What it does not say, the password above
	// all, is taken from the PG… environment variables and from ~/.pgpass.
	URL         string
	Application string        // under which the server lists the connections
	Connections int           // at most; more calls wait
	Timeout     time.Duration // of a statement, and of making a connection before it
}

// Default returns a config that lacks a URL.
func Default() Config {
	return Config{Application: "whirl", Connections: 4, Timeout: 5 * time.Second}
}

// IsURL reports whether a text names a database rather than a file.
func IsURL(text string) bool {
	return strings.HasPrefix(text, "postgres://") || strings.HasPrefix(text, "postgresql://")
}

// Validate says what is wrong, Invalid. It never repeats the URL, which may hold
// a password.
func (c Config) Validate() error {
	_, err := c.parse()
	return err
}

// String says where the database is, without the password and the settings of
// the session.
func (c Config) String() string {
	config, err := c.parse()
	if err != nil {
		return "postgres://?"
	}
	where := url.URL{Scheme: "postgres", User: url.User(config.ConnConfig.User), Path: config.ConnConfig.Database}
	where.Host = strings.Join(hosts(config.ConnConfig), ",")
	return where.String()
}

// parse returns what the driver makes of the URL.
func (c Config) parse() (*pgxpool.Config, error) {
	if c.Connections < 1 || c.Timeout <= 0 {
		return nil, whisk.Errorf(whisk.Invalid, "a database needs connections and a time-out, not %d and %v", c.Connections, c.Timeout)
	}
	if !IsURL(c.URL) {
		return nil, whisk.Errorf(whisk.Invalid, "want postgres://USER@HOST/DATABASE")
	}
	config, err := parseURL(c.URL)
	if err == nil && isLax(config.ConnConfig) {
		config, err = parseURL(withSetting(c.URL, "sslmode", "verify-full"))
	}
	if err != nil {
		return nil, err
	}
	config.MaxConns = int32(min(c.Connections, 1000))
	config.PingTimeout = c.Timeout
	if config.ConnConfig.ConnectTimeout == 0 || config.ConnConfig.ConnectTimeout > c.Timeout {
		config.ConnConfig.ConnectTimeout = c.Timeout
	}
	for name, value := range map[string]string{
		"application_name":  c.Application,
		"statement_timeout": strconv.FormatInt(c.Timeout.Milliseconds(), 10),
	} {
		if config.ConnConfig.RuntimeParams[name] == "" {
			config.ConnConfig.RuntimeParams[name] = value
		}
	}
	return config, nil
}

// parseURL leaves out of the driver's error what it quotes.
func parseURL(text string) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(text)
	if err == nil {
		return config, nil
	}
	return nil, whisk.Errorf(whisk.Invalid, "the database's URL, or a PG… variable beside it, cannot be understood; want postgres://USER@HOST:PORT/DATABASE?SETTING=VALUE, with %%XX for special characters%s", setting(err))
}

// setting names the setting that an error of the driver is about, if it does so
// in words of its own.
func setting(err error) string {
	for _, name := range []string{"port", "sslmode", "connect_timeout", "target_session_attrs", "TLS", "service", "channel_binding"} {
		if _, said, ok := strings.Cut(err.Error(), "`: "); ok && strings.Contains(said, name) {
			return ": look at " + name
		}
	}
	return ""
}

func withSetting(text, name, value string) string {
	separator := "?"
	if strings.Contains(text, "?") {
		separator = "&"
	}
	return text + separator + name + "=" + value
}

// isLax reports whether a server on another host would be spoken to in plain
// text if it, or somebody on the way, does not want TLS. That is what the driver,
// like libpq, does where nobody says what is wanted.
func isLax(config *pgx.ConnConfig) bool {
	plain, encrypted := map[string]bool{}, map[string]bool{}
	note := func(host string, tls bool) {
		if !isLocal(host) {
			plain[host], encrypted[host] = plain[host] || !tls, encrypted[host] || tls
		}
	}
	note(config.Host, config.TLSConfig != nil)
	for _, other := range config.Fallbacks {
		note(other.Host, other.TLSConfig != nil)
	}
	for host := range plain {
		if plain[host] && encrypted[host] {
			return true
		}
	}
	return false
}

// isLocal reports whether a host is this one: a socket's directory or the
// loopback device.
func isLocal(host string) bool {
	ip := net.ParseIP(host)
	return strings.HasPrefix(host, "/") || strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// hosts lists the servers, each once, in the order in which they are tried.
func hosts(config *pgx.ConnConfig) (all []string) {
	seen := map[string]bool{}
	for _, one := range append([]*pgconn.FallbackConfig{{Host: config.Host, Port: config.Port}}, config.Fallbacks...) {
		host := net.JoinHostPort(one.Host, strconv.Itoa(int(one.Port)))
		if !seen[host] {
			seen[host] = true
			all = append(all, host)
		}
	}
	return all
}
