// SPDX-License-Identifier: Apache-2.0

package stage

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// setNetwork brings the loopback device up and makes the tun device, if the
// network namespace is the sandbox's own. The host's is left as it is.
func setNetwork(network Network, control *control) error {
	if !network.Own {
		return nil
	}
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	if err := raise(socket, "lo"); err != nil {
		return fmt.Errorf("raise lo: %w", err)
	}
	if network.Device == "" {
		return nil
	}
	tun, err := openTun(network.Device)
	if err != nil {
		return err
	}
	defer unix.Close(tun)
	if err := configure(socket, network); err != nil {
		return err
	}
	return control.sendTun(tun)
}

func openTun(name string) (int, error) {
	// Without IPv6 on it the device stays silent until somebody uses it. A
	// kernel without IPv6 has no such file.
	_ = os.WriteFile("/proc/sys/net/ipv6/conf/default/disable_ipv6", []byte("1"), 0)
	tun, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	request, err := unix.NewIfreq(name)
	if err != nil {
		return -1, err
	}
	request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(tun, unix.TUNSETIFF, request); err != nil {
		unix.Close(tun)
		return -1, fmt.Errorf("make tun device: %w", err)
	}
	return tun, nil
}

func configure(socket int, network Network) error {
	request, err := unix.NewIfreq(network.Device)
	if err != nil {
		return err
	}
	if err := request.SetInet4Addr(network.Address[:]); err != nil {
		return err
	}
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFADDR, request); err != nil {
		return fmt.Errorf("set address: %w", err)
	}
	if err := request.SetInet4Addr(network.Mask[:]); err != nil {
		return err
	}
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFNETMASK, request); err != nil {
		return fmt.Errorf("set mask: %w", err)
	}
	request.SetUint32(network.MTU)
	if err := unix.IoctlIfreq(socket, unix.SIOCSIFMTU, request); err != nil {
		return fmt.Errorf("set MTU: %w", err)
	}
	if err := raise(socket, network.Device); err != nil {
		return fmt.Errorf("raise %s: %w", network.Device, err)
	}
	return addDefaultRoute(socket, network.Device)
}

func raise(socket int, name string) error {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	if err := unix.IoctlIfreq(socket, unix.SIOCGIFFLAGS, request); err != nil {
		return err
	}
	request.SetUint16(request.Uint16() | unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, request)
}

// route is the kernel's struct rtentry.
type route struct {
	_                             uintptr
	destination, gateway, netmask unix.RawSockaddrInet4
	flags                         uint16
	_                             int16
	_                             uintptr
	_                             uintptr
	metric                        int16
	device                        *byte
	_, _                          uintptr
	_                             uint16
}

func addDefaultRoute(socket int, device string) error {
	name, err := unix.BytePtrFromString(device)
	if err != nil {
		return err
	}
	zero := unix.RawSockaddrInet4{Family: unix.AF_INET}
	entry := route{destination: zero, gateway: zero, netmask: zero, flags: unix.RTF_UP, device: name}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(socket), unix.SIOCADDRT, uintptr(unsafe.Pointer(&entry)))
	if errno != 0 {
		return fmt.Errorf("add default route: %w", errno)
	}
	return nil
}
