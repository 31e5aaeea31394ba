// SPDX-License-Identifier: Apache-2.0

package certs_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/whirl-faas/whirl/rpc/certs"
	"github.com/whirl-faas/whirl/whisk"
)

var quiet = slog.New(slog.DiscardHandler)

func authority(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "authority")
	if _, err := certs.CreateAuthority(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func issue(t *testing.T, dir string, r certs.Request) certs.Files {
	t.Helper()
	if r.Out == "" {
		r.Out = t.TempDir()
	}
	files, err := certs.Issue(dir, r)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func open(t *testing.T, files certs.Files) *certs.Source {
	t.Helper()
	source, err := certs.Open(files, quiet)
	if err != nil {
		t.Fatal(err)
	}
	return source
}

var node1 = certs.Identity{Role: certs.Agent, Name: "node1"}

func TestFilesAreForTheirOwnersAndNeverReplaced(t *testing.T) {
	dir := authority(t)
	files := issue(t, dir, certs.Request{Identity: node1, Out: dir})
	for name, want := range map[string]os.FileMode{
		filepath.Join(dir, "ca.crt"): 0o644, filepath.Join(dir, "ca.key"): 0o600, files.Cert: 0o644, files.Key: 0o600,
	} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != want {
			t.Errorf("%s has mode %v, want %v", name, info.Mode(), want)
		}
	}
	before, err := os.ReadFile(filepath.Join(dir, "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := certs.CreateAuthority(dir); whisk.KindOf(err) != whisk.Conflict {
		t.Errorf("a second authority: %v, want conflict", err)
	}
	if _, err := certs.Issue(dir, certs.Request{Identity: node1}); whisk.KindOf(err) != whisk.Conflict {
		t.Errorf("a second certificate: %v, want conflict", err)
	}
	if err := os.Remove(files.Key); err != nil {
		t.Fatal(err)
	}
	if _, err := certs.Issue(dir, certs.Request{Identity: node1}); whisk.KindOf(err) != whisk.Conflict {
		t.Errorf("a certificate whose key is gone: %v, want conflict", err)
	}
	if _, err := os.Stat(files.Key); !errors.Is(err, os.ErrNotExist) {
		t.Error("a refused certificate left a key behind")
	}
	if after, err := os.ReadFile(filepath.Join(dir, "ca.key")); err != nil || !bytes.Equal(before, after) {
		t.Error("the authority's key was replaced")
	}
}

func TestACertificateSaysWhoItsHolderIs(t *testing.T) {
	dir := authority(t)
	files := issue(t, dir, certs.Request{Identity: node1, Hosts: []string{"10.0.0.1", "node1.example.com"}, Lifetime: 20 * 365 * 24 * time.Hour})
	if got := open(t, files).Identity(); got != node1 {
		t.Errorf("the holder is %v", got)
	}
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	leaf := pair.Leaf
	if len(leaf.URIs) != 1 || leaf.URIs[0].String() != "spiffe://whirl/agent/node1" {
		t.Errorf("URIs %v", leaf.URIs)
	}
	if leaf.VerifyHostname("10.0.0.1") != nil || leaf.VerifyHostname("node1.example.com") != nil {
		t.Errorf("hosts %v %v", leaf.IPAddresses, leaf.DNSNames)
	}
	if most := time.Now().Add(certs.AuthorityLifetime); leaf.NotAfter.After(most) {
		t.Errorf("valid until %v, longer than its authority", leaf.NotAfter)
	}
	if leaf.IsCA || leaf.PublicKeyAlgorithm != x509.ECDSA {
		t.Errorf("an authority %v with a key of %v", leaf.IsCA, leaf.PublicKeyAlgorithm)
	}
}

func TestWhomACertificateCovers(t *testing.T) {
	for _, row := range []struct {
		who  certs.Identity
		id   string
		want bool
	}{
		{node1, "node1", true},
		{node1, "node2", false},
		{node1, "node11", false},
		{node1, "node1/a", false},
		{node1, "", false},
		{certs.Identity{Role: certs.Controller, Name: "ctl1"}, "ctl1", true},
		{certs.Identity{Role: certs.Controller, Name: "ctl1"}, "ctl1/0198-ab", true},
		{certs.Identity{Role: certs.Controller, Name: "ctl1"}, "ctl1/", false},
		{certs.Identity{Role: certs.Controller, Name: "ctl1"}, "ctl10/a", false},
		{certs.Identity{Role: certs.Controller, Name: "ctl1"}, "ctl2", false},
	} {
		if got := row.who.Covers(row.id); got != row.want {
			t.Errorf("%v covers %q: %v", row.who, row.id, got)
		}
	}
}

func TestOpenRefusesWhatIsNoIdentity(t *testing.T) {
	dir, other := authority(t), authority(t)
	good := issue(t, dir, certs.Request{Identity: node1})
	stranger := issue(t, other, certs.Request{Identity: node1})
	for _, row := range []struct {
		name  string
		files certs.Files
		want  string
	}{
		{"another authority", certs.Files{CA: stranger.CA, Cert: good.Cert, Key: good.Key}, "unknown authority"},
		{"another key", certs.Files{CA: good.CA, Cert: good.Cert, Key: stranger.Key}, "private key does not match"},
		{"no file", certs.Files{CA: good.CA, Cert: good.Cert, Key: good.Key + "x"}, "no such file"},
		{"no PEM", certs.Files{CA: "certs_test.go", Cert: good.Cert, Key: good.Key}, "no certificate in PEM"},
		{"the authority itself", certs.Files{CA: good.CA, Cert: good.CA, Key: filepath.Join(dir, "ca.key")}, "0 URIs"},
	} {
		if _, err := certs.Open(row.files, quiet); err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, want %q", row.name, err, row.want)
		}
	}
}

// handshake lets a client and a server meet and returns what each says.
func handshake(client, server *tls.Config) (clientErr, serverErr error) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	served := make(chan error, 1)
	go func() {
		conn := tls.Server(far, server)
		err := conn.Handshake()
		if err == nil {
			_, err = conn.Write([]byte("!"))
		}
		far.Close()
		served <- err
	}()
	conn := tls.Client(near, client)
	_, clientErr = conn.Read(make([]byte, 1))
	near.Close()
	return clientErr, <-served
}

func anybody(certs.Identity) error { return nil }

func TestHandshakes(t *testing.T) {
	dir, other := authority(t), authority(t)
	agent := open(t, issue(t, dir, certs.Request{Identity: node1}))
	controller := open(t, issue(t, dir, certs.Request{Identity: certs.Identity{Role: certs.Controller, Name: "ctl1"}}))
	strange := issue(t, other, certs.Request{Identity: node1})
	stranger := open(t, strange)
	pair, err := tls.LoadX509KeyPair(strange.Cert, strange.Key)
	if err != nil {
		t.Fatal(err)
	}
	var met certs.Identity
	notice := func(who certs.Identity) error { met = who; return nil }
	if near, far := handshake(controller.Client(notice, "h2"), agent.Server("h2")); near != nil || far != nil || met != node1 {
		t.Errorf("friends meet: %v, %v, met %v", near, far, met)
	}
	if near, far := handshake(&tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}}, agent.Server()); near == nil || far == nil || !strings.Contains(far.Error(), "unknown authority") {
		t.Errorf("a strange client: %v, %v", near, far)
	}
	if near, far := handshake(controller.Client(anybody), stranger.Server()); whisk.KindOf(near) != whisk.Denied || far == nil {
		t.Errorf("a strange server: %v, %v", near, far)
	}
	refuse := func(certs.Identity) error { return whisk.Errorf(whisk.Denied, "not that one") }
	if near, far := handshake(controller.Client(refuse), agent.Server()); whisk.KindOf(near) != whisk.Denied || far == nil {
		t.Errorf("a refused server: %v, %v", near, far)
	}
	if near, far := handshake(&tls.Config{InsecureSkipVerify: true}, agent.Server()); near == nil || far == nil {
		t.Errorf("a client without a certificate: %v, %v", near, far)
	}
	if near, far := handshake(&tls.Config{InsecureSkipVerify: true}, agent.OpenServer()); near != nil || far != nil {
		t.Errorf("a client without a certificate, where that is allowed: %v, %v", near, far)
	}
	if near, far := handshake(&tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}}, agent.OpenServer()); near == nil || far == nil {
		t.Errorf("a strange client, where none is needed: %v, %v", near, far)
	}
}

func TestExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := authority(t)
		files := issue(t, dir, certs.Request{Identity: node1, Lifetime: time.Hour})
		agent := open(t, files)
		controller := open(t, issue(t, dir, certs.Request{Identity: certs.Identity{Role: certs.Controller, Name: "ctl1"}}))
		if near, far := handshake(agent.Client(anybody), controller.Server()); near != nil || far != nil {
			t.Errorf("before: %v, %v", near, far)
		}
		time.Sleep(time.Hour + time.Second)
		if _, far := handshake(agent.Client(anybody), controller.Server()); far == nil || !strings.Contains(far.Error(), "expired") {
			t.Errorf("an expired client: %v", far)
		}
		if near, _ := handshake(controller.Client(anybody), agent.Server()); near == nil || !strings.Contains(near.Error(), "expired") {
			t.Errorf("an expired server: %v", near)
		}
		if _, err := certs.Open(files, quiet); err == nil || !strings.Contains(err.Error(), "expired") {
			t.Errorf("open: %v", err)
		}
		time.Sleep(certs.AuthorityLifetime)
		if _, err := certs.Issue(dir, certs.Request{Identity: node1, Out: t.TempDir()}); whisk.KindOf(err) != whisk.Invalid {
			t.Errorf("issue with an expired authority: %v", err)
		}
	})
}

func TestFilesAreReadAgainWhenTheyChange(t *testing.T) {
	dir, next := authority(t), authority(t)
	agentFiles := issue(t, dir, certs.Request{Identity: node1})
	controllerFiles := issue(t, dir, certs.Request{Identity: certs.Identity{Role: certs.Controller, Name: "ctl1"}})
	// Each process has a copy of the authority's certificate.
	for _, files := range []*certs.Files{&agentFiles, &controllerFiles} {
		mine := filepath.Join(t.TempDir(), "ca.crt")
		copyFiles(t, mine, files.CA)
		files.CA = mine
	}
	agent, controller := open(t, agentFiles), open(t, controllerFiles)
	meet := func(when string, want bool) {
		t.Helper()
		near, far := handshake(controller.Client(anybody), agent.Server())
		if (near == nil && far == nil) != want {
			t.Errorf("%s: %v, %v", when, near, far)
		}
	}
	meet("at first", true)

	renewed := issue(t, next, certs.Request{Identity: node1})
	copyFiles(t, agentFiles.Cert, renewed.Cert) // without its key: it must not be used yet
	meet("with half of the new files", true)
	copyFiles(t, agentFiles.CA, filepath.Join(dir, "ca.crt"), filepath.Join(next, "ca.crt"))
	copyFiles(t, agentFiles.Key, renewed.Key)
	meet("before the controller knows the new authority", false)
	copyFiles(t, controllerFiles.CA, filepath.Join(dir, "ca.crt"), filepath.Join(next, "ca.crt"))
	meet("with both authorities", true)
	copyFiles(t, agentFiles.CA, filepath.Join(next, "ca.crt"))
	meet("when the agent forgot the old authority", false)
	if err := os.Remove(agentFiles.Key); err != nil {
		t.Fatal(err)
	}
	if got := agent.Identity(); got != node1 {
		t.Errorf("without its key's file the agent is %v", got)
	}
}

// copyFiles replaces a file by others, one after the other, at a later time.
func copyFiles(t *testing.T, to string, from ...string) {
	t.Helper()
	var all []byte
	for _, name := range from {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, text...)
	}
	if err := os.WriteFile(to, all, 0o600); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Duration(len(all)) * time.Second) // clocks of file systems are coarse
	if err := os.Chtimes(to, later, later); err != nil {
		t.Fatal(err)
	}
}
