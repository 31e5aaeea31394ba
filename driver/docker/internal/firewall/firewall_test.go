// SPDX-License-Identifier: Apache-2.0

package firewall_test

import (
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"github.com/whirl-faas/whirl/driver/docker/internal/firewall"
	"golang.org/x/sys/unix"
)

// inNetwork gives the test's thread a network namespace of its own.
func inNetwork(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		if os.Getenv("CI") == "true" {
			t.Fatal("network namespaces need root")
		}
		t.Skip("network namespaces need root")
	}
	runtime.LockOSThread() // for ever: the thread ends with the test
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
}

func TestRulesAreReplacedAndRemoved(t *testing.T) {
	inNetwork(t)
	rules := firewall.Rules{
		Table:   "whirl_test",
		Bridges: []string{"whirl0", "whirl1"},
		Denied:  []netip.Prefix{netip.MustParsePrefix("169.254.0.0/16"), netip.MustParsePrefix("10.1.2.3/32")},
		Allowed: []netip.AddrPort{netip.MustParseAddrPort("172.20.0.1:3233")},

		Published: true,
	}
	for range 2 { // the second time replaces
		if err := firewall.Apply(rules); err != nil {
			t.Fatalf("Apply = %v", err)
		}
	}
	if nft, err := exec.LookPath("nft"); err == nil {
		text, err := exec.Command(nft, "list", "ruleset").CombinedOutput()
		if err != nil {
			t.Fatalf("nft: %v: %s", err, text)
		}
		// Once before this machine, once before what is denied elsewhere.
		if want := `iifname "whirl0" ip daddr 172.20.0.1 tcp dport 3233 accept`; strings.Count(string(text), want) != 2 {
			t.Errorf("the rules have not twice %q:\n%s", want, text)
		}
		for _, want := range []string{
			`iifname "whirl0" ct state established,related accept`,
			`iifname "whirl0" ip daddr 169.254.0.0/16 counter packets 0 bytes 0 drop`,
			`iifname "whirl1" ip daddr 10.1.2.3 counter packets 0 bytes 0 drop`,
			`iifname "whirl0" oifname "whirl1" counter packets 0 bytes 0 drop`,
			`oifname "whirl1" ct status dnat accept`,
			"\t" + `oifname "whirl1" counter packets 0 bytes 0 drop`,
		} {
			if strings.Count(string(text), want) != 1 {
				t.Errorf("the rules have not once %q:\n%s", want, text)
			}
		}
	}
	for range 2 { // the second time there is none
		if err := firewall.Remove("whirl_test"); err != nil {
			t.Errorf("Remove = %v", err)
		}
	}
}
