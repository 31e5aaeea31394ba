// SPDX-License-Identifier: Apache-2.0

package process

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// Neighbours live in a directory that all instances of the machine share, so
// the test makes one of its own.
func TestDeadNeighboursAreCleared(t *testing.T) {
	parent := t.TempDir()
	open := func(name string) *stateDir {
		dir := filepath.Join(parent, name)
		state, err := openStateDir(dir, parent, treeName(name, dir))
		if err != nil {
			t.Fatal(err)
		}
		return state
	}
	self, alive, dead := open("self"), open("alive"), open("dead")
	defer self.close()
	defer alive.close()
	dead.lock.Close()    // as the kernel does for a killed process
	kept := open("kept") // its agent is dead, and its keeper is not
	keeper, err := os.OpenFile(filepath.Join(kept.path, "keeper.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = unix.Flock(int(keeper.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer keeper.Close()
	kept.lock.Close()
	damaged := open("damaged")
	if err := os.WriteFile(filepath.Join(damaged.path, "lock"), []byte("../../etc"), 0o600); err != nil {
		t.Fatal(err)
	}
	damaged.lock.Close()
	if err := os.Mkdir(filepath.Join(parent, "foreign"), 0o700); err != nil {
		t.Fatal(err)
	}
	var cleaned []string
	err = deadNeighbours(parent, self.path, func(tree string) error {
		cleaned = append(cleaned, tree)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{treeName("dead", dead.path)}; !slices.Equal(cleaned, want) {
		t.Errorf("cleaned the trees %q, want %q", cleaned, want)
	}
	left, err := filepath.Glob(filepath.Join(parent, "*"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{alive.path, filepath.Join(parent, "foreign"), kept.path, self.path}
	if !slices.Equal(left, want) {
		t.Errorf("left are %q, want %q", left, want)
	}
}

func TestForeignStateDirIsRefused(t *testing.T) {
	parent := t.TempDir()
	link := filepath.Join(parent, "link")
	if err := os.Symlink("/tmp", link); err != nil {
		t.Fatal(err)
	}
	if state, err := openStateDir(link, "", "x"); err == nil {
		state.lock.Close()
		t.Error("a link is taken for a state directory")
	}
}

func FuzzTreeName(f *testing.F) {
	f.Add("default-0123abcd")
	f.Add("../x-01234567")
	f.Fuzz(func(t *testing.T, name string) {
		if isTreeName(name) && (filepath.Base(name) != name || name == "." || name == "..") {
			t.Errorf("%q is taken for the name of a tree", name)
		}
	})
}
