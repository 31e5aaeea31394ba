// SPDX-License-Identifier: Apache-2.0

package usernet

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

func TestTargets(t *testing.T) {
	uplink := &Uplink{
		API: "localhost:3233", APIPort: 3233,
		Denied: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/28"), netip.MustParsePrefix("198.51.100.77/32")},
		Addresses: func() ([]net.Addr, error) {
			return []net.Addr{
				&net.IPNet{IP: net.IPv4(203, 0, 113, 9), Mask: net.CIDRMask(24, 32)},
				&net.IPNet{IP: net.IPv4(198, 18, 0, 1), Mask: net.CIDRMask(31, 32)},
			}, nil
		},
		Resolvers: func() []string { return []string{"127.0.0.53:53", "[2001:db8::1]:53"} },
	}
	for _, tt := range []struct {
		network, to, want string
	}{
		{"tcp", "198.51.100.1:443", "198.51.100.1:443"},
		{"udp", "198.51.100.1:443", "198.51.100.1:443"},
		{"tcp", "198.51.100.77:443", ""}, // denied
		{"udp", "192.0.2.15:53", ""},
		{"tcp", "192.0.2.16:80", "192.0.2.16:80"},
		{"tcp", "203.0.113.8:80", "203.0.113.8:80"}, // a neighbour of the host
		{"tcp", "203.0.113.9:80", ""},               // the host
		{"udp", "203.0.113.255:9", ""},              // a broadcast, which the host hears too
		{"udp", "203.0.113.0:9", ""},                // likewise, in the old manner
		{"tcp", "198.18.0.0:9", "198.18.0.0:9"},     // the other end of a link of two
		{"tcp", "100.100.100.200:80", ""},           // clouds' services for the host that are not link-local
		{"tcp", "168.63.129.16:80", ""},
		{"tcp", "10.0.2.2:3233", "localhost:3233"},
		{"udp", "10.0.2.2:3233", ""},
		{"tcp", "10.0.2.2:22", ""},
		{"udp", "10.0.2.3:53", "127.0.0.53:53 [2001:db8::1]:53"},
		{"tcp", "10.0.2.3:53", "127.0.0.53:53 [2001:db8::1]:53"},
		{"tcp", "10.0.2.3:80", ""},
		{"tcp", "10.0.2.50:80", ""},
		{"tcp", "127.0.0.1:80", ""},
		{"tcp", "127.7.7.7:80", ""},
		{"tcp", "169.254.169.254:80", ""},
		{"udp", "224.0.0.251:5353", ""},
		{"udp", "255.255.255.255:67", ""},
		{"tcp", "0.0.0.0:80", ""},
		{"tcp", "240.0.0.1:80", ""},
	} {
		if got := strings.Join(uplink.targets(tt.network, netip.MustParseAddrPort(tt.to)), " "); got != tt.want {
			t.Errorf("%s %s leads to %q, want %q", tt.network, tt.to, got, tt.want)
		}
	}
	uplink.Addresses = func() ([]net.Addr, error) { return nil, errors.New("no") }
	if got := uplink.targets("tcp", netip.MustParseAddrPort("198.51.100.1:443")); got != nil {
		t.Errorf("with the host's addresses unknown it leads to %q", got)
	}
}

func TestParseResolvConf(t *testing.T) {
	servers, rest := parseResolvConf("# x\nnameserver 127.0.0.53\nnameserver bad\nnameserver 2001:db8::1\nsearch a.example  b.example\noptions edns0 trust-ad\nsortlist x\n")
	if want := []string{"127.0.0.53:53", "[2001:db8::1]:53"}; !slices.Equal(servers, want) {
		t.Errorf("servers %q, want %q", servers, want)
	}
	if want := "search a.example b.example\noptions edns0 trust-ad\n"; rest != want {
		t.Errorf("the rest is %q, want %q", rest, want)
	}
	if servers, _ := parseResolvConf(""); !slices.Equal(servers, []string{"127.0.0.1:53"}) {
		t.Errorf("without any server it asks %q", servers)
	}
}

func FuzzParseResolvConf(f *testing.F) {
	f.Add("nameserver 127.0.0.53\noptions edns0\n")
	f.Fuzz(func(t *testing.T, content string) {
		servers, _ := parseResolvConf(content)
		for _, server := range servers {
			if _, err := netip.ParseAddrPort(server); err != nil {
				t.Errorf("server %q: %v", server, err)
			}
		}
	})
}

func TestJoinEndsWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inside, guest := net.Pipe()
		outside, server := net.Pipe()
		ended := make(chan struct{})
		go func() {
			join(t.Context(), inside, outside, time.Minute, 1024)
			close(ended)
		}()
		start := time.Now()
		// Traffic one way keeps both alive.
		for range 3 {
			time.Sleep(40 * time.Second)
			if _, err := guest.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(server, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
		}
		<-ended
		if took := time.Since(start); took != 3*time.Minute {
			t.Errorf("it ended after %s, want a minute after the last byte", took)
		}
	})
}

func TestJoinEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inside, _ := net.Pipe()
		outside, _ := net.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		join(ctx, inside, outside, time.Hour, 1024)
		if took := time.Since(start); took != time.Second {
			t.Errorf("it ended after %s, want 1 s", took)
		}
	})
}

// fakeDevice is a stand-in for a tun device: packets written to one end come out
// of the other.
func fakeDevice(t *testing.T) (device, guest *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	device, guest = os.NewFile(uintptr(fds[0]), "device"), os.NewFile(uintptr(fds[1]), "guest")
	t.Cleanup(func() { guest.Close() })
	return device, guest
}

// datagram makes an IPv4 packet with a UDP datagram; the checksum of UDP may be
// left out.
func datagram(from, to netip.AddrPort, payload []byte) []byte {
	packet := make([]byte, 28, 28+len(payload))
	packet[0], packet[8], packet[9] = 0x45, 64, unix.IPPROTO_UDP
	put := func(at, value int) { packet[at], packet[at+1] = byte(value>>8), byte(value) }
	put(2, 28+len(payload))
	source, target := from.Addr().As4(), to.Addr().As4()
	copy(packet[12:], source[:])
	copy(packet[16:], target[:])
	put(20, int(from.Port()))
	put(22, int(to.Port()))
	put(24, 8+len(payload))
	sum := 0
	for i := 0; i < 20; i += 2 {
		sum += int(packet[i])<<8 | int(packet[i+1])
	}
	put(10, ^(sum&0xffff+sum>>16)&0xffff)
	return append(packet, payload...)
}

// TestFlowsAreBounded sends datagrams to more destinations than there may be
// connections, through a device and a stack, and ends the network under them.
func TestFlowsAreBounded(t *testing.T) {
	const flows = 3
	dialled := make(chan string, 100)
	uplink := &Uplink{
		Flows:     flows,
		Addresses: func() ([]net.Addr, error) { return nil, nil },
		Dial: func(_ context.Context, network, address string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() { _, _ = io.Copy(far, far) }() // an echo, which ends with near
			dialled <- network + " " + address
			return near, nil
		},
	}
	device, guest := fakeDevice(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- New(device, uplink).Run(ctx) }()

	own := netip.AddrPortFrom(netip.MustParseAddr(guestName), 5000)
	for i := range 10 {
		to := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, 100, byte(1 + i)}), 9)
		if _, err := guest.Write(datagram(own, to, []byte("hello"))); err != nil {
			t.Fatal(err)
		}
	}
	for i := range flows {
		if got := <-dialled; !strings.HasPrefix(got, "udp 198.51.100.") {
			t.Errorf("connection %d leads to %s", i, got)
		}
	}
	// The echoes of those three come back, and nothing of the others.
	packet := make([]byte, MTU)
	for range flows {
		n, err := guest.Read(packet)
		if err != nil || !bytes.HasSuffix(packet[:n], []byte("hello")) {
			t.Fatalf("the echo is %q, %v", packet[:max(n, 0)], err)
		}
	}
	if len(dialled) != 0 {
		t.Errorf("%d connections more than %d", len(dialled), flows)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run = %v", err)
	}
}

// TestAnsweredQueriesMakeRoom asks more questions than there may be flows, each
// from a port of its own as resolvers do.
func TestAnsweredQueriesMakeRoom(t *testing.T) {
	uplink := &Uplink{
		Flows:     2,
		Addresses: func() ([]net.Addr, error) { return nil, nil },
		Resolvers: func() []string { return []string{"192.0.2.1:53"} },
		Dial: func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			go func() { _, _ = io.Copy(far, far) }() // an echo, which ends with near
			return near, nil
		},
	}
	device, guest := fakeDevice(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- New(device, uplink).Run(ctx) }()
	packet := make([]byte, MTU)
	for i := range 6 {
		own := netip.AddrPortFrom(netip.MustParseAddr(guestName), uint16(5000+i))
		query := datagram(own, netip.AddrPortFrom(serverAddress(), 53), fmt.Append(nil, "query ", i))
		for tries, answered := 0, false; !answered; tries++ { // as resolvers do when no answer comes
			if tries == 100 {
				t.Fatalf("query %d is not answered", i)
			}
			if _, err := guest.Write(query); err != nil {
				t.Fatal(err)
			}
			_ = guest.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
			n, err := guest.Read(packet)
			answered = err == nil && bytes.HasSuffix(packet[:n], query[28:])
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Run = %v", err)
	}
}

func TestSilentSandboxCostsNoStack(t *testing.T) {
	device, _ := fakeDevice(t)
	network := New(device, &Uplink{Flows: 1})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := network.Run(ctx); err != nil {
		t.Errorf("Run = %v", err)
	}
	if network.stack != nil {
		t.Error("a stack was made although no packet came")
	}
}
