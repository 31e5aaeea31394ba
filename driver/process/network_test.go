// SPDX-License-Identifier: Apache-2.0

package process_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/whirl-faas/whirl/driver/process"
	"golang.org/x/sys/unix"
)

// The addresses between this machine and the test's other host, of the range
// that is set aside for tests.
const (
	hereAddress  = "198.18.77.1"
	thereAddress = "198.18.77.2"
)

// testHost is another host: a process with a network of its own. It answers on
// ports 7 (echo, TCP and UDP) and 80, and takes connections on 9 without a word.
func testHost([]string) {
	// The other end of the cable is put in before the first line comes.
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		panic(err)
	}
	mustIP("link set lo up")
	mustIP("addr add " + thereAddress + "/30 dev cable")
	mustIP("link set cable up")
	tcp, err := net.Listen("tcp", thereAddress+":7")
	if err != nil {
		panic(err)
	}
	udp, err := net.ListenPacket("udp", thereAddress+":7")
	if err != nil {
		panic(err)
	}
	web, err := net.Listen("tcp", thereAddress+":80")
	if err != nil {
		panic(err)
	}
	sink, err := net.Listen("tcp", thereAddress+":9")
	if err != nil {
		panic(err)
	}
	defer sink.Close()
	go echoTCP(tcp)
	go echoUDP(udp)
	go func() {
		panic(http.Serve(web, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write(bytes.Repeat([]byte("0123456789abcdef"), 1<<20)) // 16 MB
		})))
	}()
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func mustIP(arguments string) {
	if output, err := exec.Command("ip", strings.Fields(arguments)...).CombinedOutput(); err != nil {
		panic(fmt.Sprintf("ip %s: %v: %s", arguments, err, output))
	}
}

func echoTCP(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			_, _ = io.Copy(conn, conn)
		}()
	}
}

func echoUDP(conn net.PacketConn) {
	buf := make([]byte, 64<<10)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		_, _ = conn.WriteTo(buf[:n], from)
	}
}

// startHost starts a testHost and lays a cable to it.
func startHost(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("ip"); err != nil {
		lacking(t, "needs the ip command, of the package iproute2")
	}
	host := exec.Command("/proc/self/exe", "whirl-test-host")
	host.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET}
	host.Stderr = os.Stderr
	stdin, err := host.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		_ = host.Wait()
	})
	for _, arguments := range []string{
		fmt.Sprintf("link add wtest0 type veth peer name cable netns %d", host.Process.Pid),
		"addr add " + hereAddress + "/30 dev wtest0",
		"link set wtest0 up",
	} {
		if output, err := exec.Command("ip", strings.Fields(arguments)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", arguments, err, output)
		}
	}
	t.Cleanup(func() { _ = exec.Command("ip", "link", "del", "wtest0").Run() })
	if _, err := io.WriteString(stdin, "go\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("the other host says %q, %v", line, err)
	}
}

// nameServer answers every query for an IPv4 address with 192.0.2.77.
func nameServer(t *testing.T) string {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buf := make([]byte, 1500)
		for {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(answer(buf[:n]), from)
		}
	}()
	return conn.LocalAddr().String()
}

func answer(query []byte) []byte {
	end := 12 + bytes.IndexByte(query[12:], 0) + 5
	reply := bytes.Clone(query[:end])
	binary.BigEndian.PutUint16(reply[2:], 0x8180)
	binary.BigEndian.PutUint16(reply[8:], 0)
	binary.BigEndian.PutUint16(reply[10:], 0)
	if binary.BigEndian.Uint16(query[end-4:]) != 1 {
		return reply
	}
	binary.BigEndian.PutUint16(reply[6:], 1)
	return append(reply, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 77)
}

func TestOutboundNetwork(t *testing.T) {
	needRoot(t)
	startHost(t)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "the API") }))
	t.Cleanup(api.Close)
	other := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(other.Close)
	here, err := net.Listen("tcp", hereAddress+":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { here.Close() })
	go echoTCP(here)
	apiURL, err := url.Parse(api.URL)
	if err != nil {
		t.Fatal(err)
	}
	_, otherPort, err := net.SplitHostPort(other.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}

	config := testConfig(t)
	config.Network, config.API, config.Resolvers = process.Outbound, api.URL, []string{nameServer(t)}
	driver := openDriver(t, config)
	if weak := driver.Capabilities().Weak; len(weak) > 0 && strings.Contains(weak[0], "/dev/net/tun") {
		lacking(t, weak[0])
	}
	b := newBox(t, driver, testSpec)

	t.Run("Reaches", func(t *testing.T) {
		for _, network := range []string{"tcp", "udp"} {
			var got string
			if err := b.try("dial", values{"network": network, "address": thereAddress + ":7", "line": "hello " + network}, &got); err != nil || got != "hello "+network {
				t.Errorf("%s echo = %q, %v", network, got, err)
			}
		}
		var page struct {
			Size  int
			Start string
		}
		if err := b.try("get", values{"url": "http://" + thereAddress + "/"}, &page); err != nil || page.Size != 16<<20 {
			t.Errorf("a page of 16 MB came as %d bytes, %v", page.Size, err)
		}
		var f sandboxFacts
		b.do("facts", nil, &f)
		want := "__OW_API_HOST=http://10.0.2.2:" + apiURL.Port()
		if !strings.Contains(strings.Join(f.Environment, "\n"), want) {
			t.Errorf("environment %q lacks %s", f.Environment, want)
		}
		if err := b.try("get", values{"url": "http://10.0.2.2:" + apiURL.Port()}, &page); err != nil || page.Start != "the API" {
			t.Errorf("the API answers %q, %v", page.Start, err)
		}
		var addresses string
		if err := b.try("resolve", values{"name": "any.example.com"}, &addresses); err != nil || addresses != "192.0.2.77" {
			t.Errorf("the name resolves to %q, %v", addresses, err)
		}
	})
	t.Run("DoesNotReach", func(t *testing.T) {
		// A whole network that is this machine, as load balancers have them: no
		// interface has its addresses.
		mustIP("route add local 198.18.78.0/24 dev lo")
		t.Cleanup(func() { _ = exec.Command("ip", "route", "del", "local", "198.18.78.0/24", "dev", "lo").Run() })
		everywhere, err := net.Listen("tcp", "0.0.0.0:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { everywhere.Close() })
		go echoTCP(everywhere)
		_, port, err := net.SplitHostPort(everywhere.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		for what, address := range map[string]string{
			"the host by a route":              "198.18.78.9:" + port,
			"the host itself":                  hereAddress + ":" + port,
			"the API through the own loopback": apiURL.Host,
			"another port of the gateway":      "10.0.2.2:" + otherPort,
			"a service of the host":            here.Addr().String(),
			"the metadata service":             "169.254.169.254:80",
			"nobody":                           "0.0.0.0:" + otherPort,
			"a closed port":                    thereAddress + ":10",
		} {
			if err := b.try("dial", values{"network": "tcp", "address": address, "line": "x"}, nil); err == nil {
				t.Errorf("it reaches %s (%s)", what, address)
			}
		}
	})
	t.Run("Denied", func(t *testing.T) {
		denying := testConfig(t)
		denying.Network, denying.API = process.Outbound, api.URL
		denying.Denied = []netip.Prefix{netip.MustParsePrefix(thereAddress + "/32"), netip.MustParsePrefix("127.0.0.0/8")}
		b := newBox(t, openDriver(t, denying), testSpec)
		if err := b.try("dial", values{"network": "tcp", "address": thereAddress + ":7", "line": "x"}, nil); err == nil {
			t.Error("it reaches what is denied")
		}
		var page struct{ Start string }
		if err := b.try("get", values{"url": "http://10.0.2.2:" + apiURL.Port()}, &page); err != nil || page.Start != "the API" {
			t.Errorf("the API, in a denied network, answers %q, %v", page.Start, err)
		}
	})
	t.Run("FloodIsHeld", func(t *testing.T) {
		roomy := testSpec
		roomy.Memory *= 4 // with the race detector what it writes takes more than 128
		testFlood(t, newBox(t, driver, roomy))
	})
	t.Run("EachItsOwn", func(t *testing.T) {
		// Both have the same address inside and the same port: they must not meet.
		two := newBox(t, driver, testSpec)
		var got string
		if err := two.try("dial", values{"network": "tcp", "address": thereAddress + ":7", "line": "two"}, &got); err != nil || got != "two" {
			t.Errorf("echo = %q, %v", got, err)
		}
		if err := two.try("dial", values{"network": "tcp", "address": "10.0.2.100:80", "line": "x"}, nil); err == nil {
			t.Error("it reaches a port of its own where nobody listens")
		}
	})
}

// testFlood has a sandbox fill all connections that it may have with what nobody
// reads. What waits to be sent lies in this process, not in the sandbox.
func testFlood(t *testing.T, b *box) {
	inUse := func() int {
		var stats runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return int(stats.HeapAlloc >> 20)
	}
	before := inUse()
	var got struct{ Connections, MB int }
	b.do("flood", values{"address": thereAddress + ":9", "connections": 600}, &got)
	if got.Connections != 512 || got.MB == 0 {
		t.Errorf("it has %d connections and wrote %d MB, want 512 connections", got.Connections, got.MB)
	}
	if grown := inUse() - before; grown > 150 { // it was 925 with the stack's own sizes
		t.Errorf("this process holds %d MB for the sandbox", grown)
	}
}

func TestHostNetwork(t *testing.T) {
	needRoot(t)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "the API") }))
	t.Cleanup(api.Close)
	config := testConfig(t)
	config.Network, config.API = process.Host, api.URL
	b := newBox(t, openDriver(t, config), testSpec)
	var f sandboxFacts
	b.do("facts", nil, &f)
	if !strings.Contains(strings.Join(f.Environment, "\n"), "__OW_API_HOST="+api.URL) {
		t.Errorf("environment %q lacks the API's URL", f.Environment)
	}
	var page struct{ Start string }
	if err := b.try("get", values{"url": api.URL}, &page); err != nil || page.Start != "the API" {
		t.Errorf("the API answers %q, %v", page.Start, err)
	}
}
