// SPDX-License-Identifier: Apache-2.0

package keeper

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestStrangers connect, with garbage or in silence, while an agent is there and while none is.
func TestStrangers(t *testing.T) {
	config := testConfig(t)
	k, _ := attach(t, config)
	child, _ := startChild(t, k, "child")
	if err := k.Keep("child", nil, nil); err != nil {
		t.Fatal(err)
	}
	garbage := []string{"", "x", "{}", `{"Kind":"hello"}`, `{"Kind":"release","ID":"child"}`, `{"Kind":"hello","Hello":{"Version":7}}`, strings.Repeat("[", maxMessage)}
	for _, text := range garbage {
		if answer := say(t, config.Dir, text); answer != "" {
			t.Errorf("beside an agent, %.40q is answered %q", text, answer)
		}
	}
	if _, err := k.Reap("child"); err != nil {
		t.Errorf("the agent is not served any more: %v", err)
	}
	k.Close()
	for _, text := range garbage {
		if answer := say(t, config.Dir, text); answer != "" && answer != `{"Version":1}` {
			t.Errorf("%.40q is answered %q", text, answer)
		}
	}
	if os.Geteuid() == 0 {
		otherUser(t, config.Dir)
	}
	next, left := attach(t, config)
	if len(left) != 1 || !runs(t, child) {
		t.Errorf("left are %v", left)
	}
	for _, bad := range []request{{Kind: "dance", ID: "child"}, {Kind: startKind, ID: "x"}, {Kind: startKind, ID: "x", Order: &Order{Grouped: true}}, {Kind: keepKind, ID: "none"}} {
		if _, err := next.ask(bad); err == nil {
			t.Errorf("%+v is carried out", bad)
		}
	}
	if _, err := next.Reap("child"); err != nil {
		t.Errorf("after bad requests: %v", err)
	}
}

// say sends a message, or nothing, and returns what comes back until the keeper hangs up.
func say(t testing.TB, dir, text string) string {
	t.Helper()
	conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Net: "unixpacket", Name: filepath.Join(dir, socketName)})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if text != "" {
		_, _ = conn.Write([]byte(text)) // it may have hung up already
	}
	_ = conn.SetReadDeadline(time.Now().Add(20 * time.Second))
	answer := make([]byte, 1000)
	n, err := conn.Read(answer)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%.40q is not answered, and the keeper does not hang up", text)
	}
	return string(answer[:n])
}

// otherUser has nobody say hello. The directory alone keeps him out otherwise.
func otherUser(t *testing.T, dir string) {
	t.Helper()
	for _, name := range []string{dir, filepath.Join(dir, socketName)} {
		if err := os.Chmod(name, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	stranger := exec.Command("/proc/self/exe", dir)
	stranger.Args[0] = strangerName
	stranger.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	output, err := stranger.CombinedOutput()
	if errors.Is(err, os.ErrPermission) {
		t.Skip("nobody may not run this test's binary")
	}
	if err != nil {
		t.Errorf("another user was let in: %v, %s", err, output)
	}
}

// strange returns 0 if the keeper does not let us in.
func strange(dir string) int {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 5
	}
	l, err := dial(Config{Dir: dir, Program: null, Grace: time.Hour})
	if err == nil {
		l.conn.Close()
		return 3
	}
	if _, later := errors.AsType[*laterError](err); !later {
		return 4
	}
	return 0
}

// FuzzMessage has a nursery serve what anybody may send, but for starting it.
func FuzzMessage(f *testing.F) {
	for _, text := range []string{`{"Kind":"reap","ID":"a"}`, `{"Kind":"keep","ID":"a","Note":[1],"Group":{"Unified":"/x"}}`, `{"Kind":"recall"}`, `{"Kind":"start"}`, `{`} {
		f.Add([]byte(text), []byte{}, 0)
	}
	f.Fuzz(func(t *testing.T, data, oob []byte, flags int) {
		var req request
		if len(oob) > 0 {
			_, _ = decode(data, oob, flags, &req) // descriptors that it names are not ours to close
		}
		req = request{}
		if _, err := decode(data, nil, flags, &req); err != nil || req.Kind == startKind && req.Order != nil {
			return
		}
		n := newNursery()
		n.children["a"] = &child{pid: -1, exit: &Exit{}}
		if _, _, err := encode(n.serve(&req), nil); err != nil && len(data) < maxMessage/2 {
			t.Errorf("%s cannot be answered: %v", data, err)
		}
	})
}
