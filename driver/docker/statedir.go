// SPDX-License-Identifier: Apache-2.0

package docker

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/moby/moby/api/types/network"
	"golang.org/x/sys/unix"

	"github.com/whirl-faas/whirl/whisk"
)

// stateDir keeps what the next process of the instance must know. Its lock says
// that a process lives.
type stateDir struct {
	path string
	lock *os.File
}

func openStateDir(path string) (*stateDir, error) {
	if err := os.MkdirAll(filepath.Join(path, "output"), 0o700); err != nil {
		return nil, err
	}
	name := filepath.Join(path, "lock")
	lock, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		lock.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, whisk.Errorf(whisk.Conflict, "another process holds the instance in %s", path)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	held, err := lock.Stat()
	if there, statErr := os.Stat(name); err != nil || statErr != nil || !os.SameFile(held, there) {
		lock.Close() // its last holder removed it meanwhile
		return openStateDir(path)
	}
	return &stateDir{path: path, lock: lock}, nil
}

// close lets the instance go. The directory goes too unless it notes positions.
func (s *stateDir) close() error {
	if os.Remove(filepath.Join(s.path, "output")) == nil {
		_ = os.Remove(s.trialPath())
		_ = os.Remove(s.networkPath())
		_ = os.Remove(s.resolvConf())
		_ = os.RemoveAll(filepath.Join(s.path, "hosts"))
		_ = os.Remove(filepath.Join(s.path, "lock"))
		_ = os.Remove(s.path)
		_ = os.Remove(filepath.Dir(s.path)) // another instance may need it
	}
	return s.lock.Close()
}

// resolvConf is a file that containers have as their /etc/resolv.conf, and hosts
// one that a container with that address has as its /etc/hosts, where the driver
// connects them.
func (s *stateDir) resolvConf() string { return filepath.Join(s.path, "resolv.conf") }

func (s *stateDir) hosts(ip netip.Addr) string { return filepath.Join(s.path, "hosts", ip.String()) }

func (s *stateDir) dropHosts(ip netip.Addr) { _ = os.Remove(s.hosts(ip)) }

// trialNote is what a process of the instance found out about an engine.
type trialNote struct {
	Engine string
	Found  findings
}

func (s *stateDir) trialPath() string { return filepath.Join(s.path, "trial") }

// note writes down what a trial found out.
func (s *stateDir) note(engine string, found findings) error {
	text, err := json.Marshal(trialNote{engine, found})
	if err != nil {
		return err
	}
	return os.WriteFile(s.trialPath(), text, 0o600)
}

// recall returns what was noted of the engine, if there are containers to be taken over.
func (s *stateDir) recall(engine string) (findings, bool) {
	if !s.leavesContainers() {
		return findings{}, false
	}
	var noted trialNote
	text, err := os.ReadFile(s.trialPath())
	if err != nil || json.Unmarshal(text, &noted) != nil || noted.Engine != engine {
		return findings{}, false
	}
	return noted.Found, true
}

// leavesContainers reports whether a former process may have left some.
func (s *stateDir) leavesContainers() bool {
	left, err := os.ReadDir(filepath.Join(s.path, "output"))
	return err == nil && len(left) > 0
}

// networkNote is where the instance's network was. Living containers keep their addresses if the
// network is removed while there is no agent.
type networkNote struct {
	Name   string
	Config network.IPAMConfig
}

func (s *stateDir) networkPath() string { return filepath.Join(s.path, "network") }

func (s *stateDir) noteNetwork(name string, config network.IPAMConfig) error {
	text, err := json.Marshal(networkNote{name, config})
	if err != nil {
		return err
	}
	return os.WriteFile(s.networkPath(), text, 0o600)
}

// recallNetwork returns what was noted of the network of that name, if there are containers
// to be taken over.
func (s *stateDir) recallNetwork(name string) (network.IPAMConfig, bool) {
	if !s.leavesContainers() {
		return network.IPAMConfig{}, false
	}
	var noted networkNote
	text, err := os.ReadFile(s.networkPath())
	if err != nil || json.Unmarshal(text, &noted) != nil || noted.Name != name {
		return network.IPAMConfig{}, false
	}
	return noted.Config, noted.Config.Subnet.IsValid()
}

func (s *stateDir) positionPath(id whisk.ContainerID) string {
	return filepath.Join(s.path, "output", string(id))
}

func (s *stateDir) removePosition(id whisk.ContainerID) {
	_ = os.Remove(s.positionPath(id)) // a file too many harms nobody
}

// retainPositions removes the files of all sandboxes but those.
func (s *stateDir) retainPositions(known map[whisk.ContainerID]bool) {
	entries, err := os.ReadDir(filepath.Join(s.path, "output"))
	if err != nil {
		return
	}
	for _, entry := range entries {
		if id := whisk.ContainerID(entry.Name()); !known[id] {
			s.removePosition(id)
		}
	}
}

// openPosition makes a new position, or reads that of a known container. One
// that cannot be read stands for the beginning: twice is better than never.
func (s *stateDir) openPosition(id whisk.ContainerID, known bool) (*position, error) {
	file, err := os.OpenFile(s.positionPath(id), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("note the position of output: %w", err)
	}
	p := &position{file: file}
	if known {
		data := make([]byte, binary.Size(p.mark))
		if _, err := file.ReadAt(data, 0); err == nil {
			_, err = binary.Decode(data, binary.NativeEndian, &p.mark)
			if err != nil {
				p.mark = mark{}
			}
		}
	}
	return p, nil
}
