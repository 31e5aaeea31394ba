// SPDX-License-Identifier: Apache-2.0

package compat

import (
	"context"
	"crypto/rand"
	"embed"
	"fmt"
	"maps"
	"net/http"
	"path"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

//go:embed cases/*.txt
var files embed.FS

// scripts returns all files of cases, in the order of their names.
func scripts() ([]script, error) {
	entries, err := files.ReadDir("cases")
	if err != nil {
		return nil, err
	}
	var all []script
	for _, entry := range entries {
		text, err := files.ReadFile("cases/" + entry.Name())
		if err != nil {
			return nil, err
		}
		one, err := parse(strings.TrimSuffix(entry.Name(), path.Ext(entry.Name())), string(text))
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

// atOnce is how many cases of a group run at the same time: as many as a small
// platform has room for.
const atOnce = 6

// Run holds a platform to all cases, each a subtest named GROUP/CASE.
func Run(t *testing.T, p Platform) {
	if err := p.learn(t.Context()); err != nil {
		t.Fatal(err)
	}
	all, err := scripts()
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range all {
		t.Run(one.file, func(t *testing.T) { p.runGroup(t, one) })
	}
}

func (p *Platform) runGroup(t *testing.T, s script) {
	common := p.names()
	for _, one := range s.lets {
		text, err := expand(one.text, common, nil)
		if err != nil {
			t.Fatalf("let %s: %v", one.name, err)
		}
		common[one.name] = text
	}
	ground := newPlay(p, t, s.wsk, common)
	ground.perform(s.fixture)
	limit := atOnce
	if s.serial {
		limit = 1
	}
	places := make(chan struct{}, limit)
	var running sync.WaitGroup
	defer running.Wait() // before the fixture goes
	for _, one := range s.cases {
		places <- struct{}{}
		running.Go(func() {
			defer func() { <-places }()
			t.Run(one.title, func(t *testing.T) {
				if one.needsOther() && p.OtherAuth == "" {
					t.Fatal("needs the key of a user with another namespace")
				}
				if one.needsVanity() && p.VanityHost == "" {
					t.Fatal("needs the host below which namespaces have hosts of their names")
				}
				if one.needsBounded() && p.BoundedAuth == "" {
					t.Skip("needs the key of a user with small limits: CONTRIBUTING.md says which")
				}
				newPlay(p, t, s.wsk, ground.vars).perform(one.conversation)
			})
		})
	}
}

// play is a conversation that goes on.
type play struct {
	platform *Platform
	t        *testing.T
	wsk      bool
	vars     map[string]string
	run      string // makes the names of its own
	put      []exchange
}

func newPlay(p *Platform, t *testing.T, wsk bool, vars map[string]string) *play {
	one := &play{platform: p, t: t, wsk: wsk, vars: maps.Clone(vars), run: strings.ToLower(rand.Text()[:8])}
	t.Cleanup(one.cleanUp)
	return one
}

// perform sends the requests and checks the answers. The first wrong one ends it.
func (p *play) perform(talk conversation) {
	p.t.Helper()
	for _, x := range talk {
		for i := range max(x.times, 1) {
			p.vars["I"] = strconv.Itoa(i + 1)
			p.exchange(x)
		}
	}
}

func (p *play) exchange(x exchange) {
	p.t.Helper()
	sent := p.prepare(x)
	if x.minute {
		p.awaitMinute(x.line)
	}
	want := x.answer
	if p.platform.Whirl && x.whirl != nil {
		want = x.whirl
	}
	got, differences := p.ask(sent, x.patient, want)
	if sent.method == http.MethodPut && got.status == http.StatusOK {
		p.put = append(p.put, sent)
	}
	if len(differences) > 0 {
		p.t.Fatalf("line %d: %s %s\n%s\n- %s\nthe answer is %s", x.line, x.method, shorten(sent.target), shorten(sent.body), strings.Join(differences, "\n- "), got)
	}
}

const (
	patience = 20 * time.Second // for what takes some time
	interval = 50 * time.Millisecond
)

// ask sends a request and returns what differs in its answer; when patient it
// is sent until nothing does.
func (p *play) ask(x exchange, patient bool, want *answer) (reply, []string) {
	p.t.Helper()
	enough, again := time.NewTimer(patience), time.NewTicker(interval)
	defer enough.Stop()
	defer again.Stop()
	for {
		got, err := p.platform.send(p.t.Context(), x.method, x.target, x.header, p.keyOf(x.as), x.body)
		if err != nil {
			p.t.Fatalf("line %d: %v", x.line, err)
		}
		if x.as == asBounded && x.counts() {
			p.platform.minute = got.minute()
		}
		differences := p.check(x, got, want)
		if len(differences) == 0 || !patient {
			return got, differences
		}
		select {
		case <-again.C:
		case <-enough.C:
			return got, differences
		}
	}
}

// A minute is one of the platform's clock, as its answers tell it. It is entered
// when it has begun for sure, and has enough left for what a case does in it.
const (
	minuteFrom  = 2 * time.Second
	minuteUntil = 35 * time.Second
)

// counts reports whether a platform may count the request against a limit per minute.
func (x exchange) counts() bool { return x.method != http.MethodGet && x.method != http.MethodPut }

// awaitMinute waits for a minute in which nothing was counted for the user with
// small limits. Those who ask are alone in their group.
func (p *play) awaitMinute(line int) {
	p.t.Helper()
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for {
		got, err := p.platform.send(p.t.Context(), http.MethodGet, p.platform.URL+"/ping", http.Header{}, "", "")
		if err != nil {
			p.t.Fatalf("line %d: %v", line, err)
		}
		at, err := got.date()
		if err != nil {
			p.t.Fatalf("line %d: the platform does not tell its time: %v", line, err)
		}
		if past := at.Sub(at.Truncate(time.Minute)); got.minute() != p.platform.minute && minuteFrom <= past && past <= minuteUntil {
			return
		}
		<-again.C
	}
}

func (p *play) keyOf(as string) string {
	switch as {
	case asOther:
		return p.platform.OtherAuth
	case asBounded:
		return p.platform.BoundedAuth
	case asNobody:
		return ""
	}
	return p.platform.Auth
}

// prepare returns the request as it is sent.
func (p *play) prepare(x exchange) exchange {
	p.t.Helper()
	x.target, x.body = p.expand(x.line, x.target), p.expand(x.line, x.body)
	if !strings.HasPrefix(x.target, "/") {
		x.target = "/api/v1/namespaces/_/" + x.target
	}
	x.target = p.platform.URL + x.target
	header := http.Header{"User-Agent": {"whirl-compat"}}
	if p.wsk {
		header = http.Header{"User-Agent": {"OpenWhisk-CLI/1.0 (2024-09-01T00:00:00.000+0000) linux amd64"}, "Accept-Encoding": {"gzip"}}
		if x.body != "" {
			x.body += "\n"
		}
	}
	if x.body != "" {
		header.Set("Content-Type", "application/json")
	}
	for name, values := range x.header {
		header.Del(name)
		for _, value := range values {
			if value != "" {
				header.Add(name, p.expand(x.line, value))
			}
		}
	}
	if header.Get("Authorization") != "" {
		x.as = asNobody
	}
	x.header = header
	return x
}

func (p *play) expand(line int, text string) string {
	p.t.Helper()
	expanded, err := expand(text, p.vars, func(name string) string {
		p.vars[name] = name + "_" + p.run
		return p.vars[name]
	})
	if err != nil {
		p.t.Fatalf("line %d: %v", line, err)
	}
	return expanded
}

// cleanUp deletes what was put, the last one first. The test's context has
// ended by then.
func (p *play) cleanUp() {
	ctx := context.WithoutCancel(p.t.Context())
	for i := len(p.put) - 1; i >= 0; i-- {
		x := p.put[i]
		target, _, _ := strings.Cut(x.target, "?")
		got, err := p.platform.send(ctx, http.MethodDelete, target+"?force=true", http.Header{}, p.keyOf(x.as), "")
		if err != nil || got.status != http.StatusOK && got.status != http.StatusNotFound {
			p.t.Errorf("delete %s: %v %s", target, err, got)
		}
	}
}

var variable = regexp.MustCompile(`\$([a-zA-Z]+[A-Z0-9]*)(?:\((\d+)\))?`)

// expand puts in what $NAMES stand for. Those that begin with a small letter and
// are not known are names of the case's own, made by name; $x(N) is N times x.
func expand(text string, vars map[string]string, name func(string) string) (string, error) {
	var unknown error
	expanded := variable.ReplaceAllStringFunc(text, func(found string) string {
		match := variable.FindStringSubmatch(found)
		switch value, known := vars[match[1]]; {
		case match[2] != "":
			count, _ := strconv.Atoi(match[2])
			return strings.Repeat(match[1], count)
		case known:
			return value
		case match[1][0] >= 'a' && name != nil:
			return name(match[1])
		}
		unknown = fmt.Errorf("%s is not known", found)
		return found
	})
	return expanded, unknown
}
