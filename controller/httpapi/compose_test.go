// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"flag"
	"math/rand/v2"
	"strings"
	"testing"
)

// composed is how many requests FuzzRoutes begins with that are put together from
// parts, before the fuzzer changes bytes of them. They are the same each time.
var composed = flag.Int("composed", 300, "how many composed requests FuzzRoutes begins with")

// The parts are those that mean something to some route, and those that nearly do.
var parts = struct{ namespaces, packages, names, queries, types, bodies []string }{
	namespaces: []string{"_", "_", "_", "guest", "other", "%5F", "nobody", "a%2Fb", "gu!est", "%00", "", strings.Repeat("n", 257)},
	packages:   []string{"p", "bound", "open", "foreign", "none", "default", "a", "t", "", "p%20q", "p%2Fq", "%ff"},
	names: []string{
		"a", "s", "t", "r", "p", "bound", "w", "w.json", "w.http/x/y", "w.svg", "new", "new", "none", "index.html", strings.Repeat("0", 32), strings.Repeat("1", 32),
		"", "%20a", "a%20b", "a%2Fb", "a/b", "a/", "..", "%2e%2e", "\xff", "%00", strings.Repeat("a", 256), strings.Repeat("a", 257),
	},
	queries: []string{
		"", "", "overwrite=true", "overwrite=1&overwrite=x", "overwrite=", "overwrite=maybe", "force=true", "force=no", "code=false", "count=true", "count=yes&skip=1", "limit=0", "limit=201", "limit=-1", "limit=9999999999",
		"skip=2147483647", "skip=x", "docs=true", "docs=true&count=true", "name=p/a", "name=a/b/c", "since=0&upto=99999999999999", "since=x", "blocking=true", "blocking=true&result=true", "blocking=true&timeout=1",
		"timeout=0", "timeout=60001", "%zz=1", "a=%zz", "&&=&", "__ow_path=1", "count=1;x",
	},
	types: []string{"application/json", "application/json", "application/json", "application/json;charset=utf-8", "", "text/plain", "application/x-www-form-urlencoded", "application/octet-stream", "multipart/form-data", "a/b;c", "\xff"},
	bodies: []string{
		"", "{}", "[]", "null", "7", `"x"`, "{", "{} {}", "\xff", `{"a":1}`, `{"error":"x"}`, `{"__ow_user":"x"}`, `{"a":` + strings.Repeat("[", 2000) + strings.Repeat("]", 2000) + "}",
		hello, `{"exec":{"kind":"nodejs:20","code":""}}`, `{"exec":{"kind":"nodejs:18","code":"x"}}`, `{"exec":{"kind":"java:8","code":"x"}}`, `{"exec":{"kind":"java:8","code":"UEsDBA==","main":"M"}}`, `{"exec":{"kind":"blackbox","image":"x"}}`, `{"exec":{"code":"x"}}`, `{"exec":7}`, `{"exec":{"kind":"sequence","components":[]}}`,
		`{"exec":{"kind":"sequence","components":["/_/a","/_/bound/a"]}}`, `{"exec":{"kind":"sequence","components":["/_/s","/other/open/a"]}}`, `{"exec":{"kind":"sequence","components":["/_/new"]}}`, `{"exec":{"kind":"sequence","components":["a",{},[]]}}`,
		`{"limits":{"memory":1}}`, `{"limits":{"timeout":1e3}}`, `{"limits":{"memory":256.5}}`, `{"limits":{"concurrency":100,"logs":null}}`, `{"version":"1.2.3"}`, `{"version":"0.0.0"}`, `{"version":"1.2.99999999999999999999"}`, `{"publish":null}`, `{"publish":"yes"}`,
		`{"parameters":[{"key":"k","value":null,"init":true}]}`, `{"parameters":{"k":1}}`, `{"parameters":[{"key":"k"}]}`, `{"annotations":[{"key":"web-export","value":true},{"key":"final","value":true}]}`, `{"annotations":[{"key":"feed","value":7}]}`, `{"delAnnotations":["exec",7]}`,
		`{"binding":{}}`, `{"binding":{"namespace":"other","name":"open"}}`, `{"binding":{"namespace":"_","name":"bound"}}`, `{"binding":{"namespace":"_","name":"new"}}`, `{"binding":[]}`,
		`{"trigger":"/_/t","action":"/_/a"}`, `{"trigger":"/_/t","action":"/_/p/a"}`, `{"trigger":"/_/none","action":"/_/p/a"}`, `{"trigger":{"path":"_","name":"t"},"action":{"path":"other/open","name":"a"}}`, `{"trigger":"t"}`, `{"status":"inactive"}`, `{"status":"active"}`, `{"status":7}`,
	},
}

// addComposed adds them.
func addComposed(f *testing.F, operations []operation) {
	random := rand.New(rand.NewPCG(4, 2))
	of := func(pool []string) string { return pool[random.IntN(len(pool))] }
	for range *composed {
		method := uint8(0) // the operation's own, mostly
		if random.IntN(10) == 0 {
			method = uint8(random.IntN(8))
		}
		who := uint8(0) // the owner, mostly
		if random.IntN(3) == 0 {
			who = uint8(random.IntN(len(callers)))
		}
		f.Add(uint8(random.IntN(len(operations))), method, who, of(parts.namespaces), of(parts.packages), of(parts.names), of(parts.queries), of(parts.types), of(parts.bodies))
	}
}
