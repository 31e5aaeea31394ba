// SPDX-License-Identifier: Apache-2.0

package cgroup

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// mounts are the places of the cgroup hierarchies.
type mounts struct {
	unified string            // of version 2, "" if there is none
	legacy  map[string]string // controller to mount point, version 1
}

func findMounts() (mounts, error) {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return mounts{}, fmt.Errorf("find cgroup mounts: %w", err)
	}
	defer file.Close()
	found, err := parseMounts(file)
	if err != nil {
		return mounts{}, fmt.Errorf("find cgroup mounts: %w", err)
	}
	return found, nil
}

// parseMounts reads the format of /proc/self/mountinfo, see proc(5). Of several
// mounts of one hierarchy the first counts.
func parseMounts(mountinfo io.Reader) (mounts, error) {
	found := mounts{legacy: map[string]string{}}
	lines := bufio.NewScanner(mountinfo)
	for lines.Scan() {
		place, kind, ok := strings.Cut(lines.Text(), " - ")
		left, right := strings.Fields(place), strings.Fields(kind)
		if !ok || len(left) < 6 || len(right) < 3 {
			continue
		}
		point := unescape(left[4])
		switch right[0] {
		case "cgroup2":
			if found.unified == "" {
				found.unified = point
			}
		case "cgroup":
			for option := range strings.SplitSeq(right[2], ",") {
				if _, known := found.legacy[option]; !known {
					found.legacy[option] = point
				}
			}
		}
	}
	return found, lines.Err()
}

// unescape undoes the octal escapes of mountinfo, such as \040 for a space.
func unescape(path string) string {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(path, `\`)
		out.WriteString(before)
		if !found {
			return out.String()
		}
		if len(after) >= 3 {
			if code, err := strconv.ParseUint(after[:3], 8, 8); err == nil {
				out.WriteByte(byte(code))
				path = after[3:]
				continue
			}
		}
		out.WriteByte('\\')
		path = after
	}
}

// read returns a control file's content, "" if it cannot be read: what is not
// there counts as nothing.
func read(dir, name string) string {
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return ""
	}
	return string(data)
}

// field returns the number after key in a file of "key number" lines, or 0.
func field(dir, name, key string) int64 {
	for line := range strings.Lines(read(dir, name)) {
		if value, ok := strings.CutPrefix(line, key+" "); ok {
			return number(value)
		}
	}
	return 0
}

func number(text string) int64 {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// write sets a control file. It never creates one: on a cgroup file system a
// missing file means that the kernel does not offer the control.
func write(dir, name, value string) error {
	path := filepath.Join(dir, name)
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = file.WriteString(value)
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("write %q: %w", value, err)
	}
	return nil
}

func mkdir(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// rmdir removes a group's directory; os.Remove would try to unlink it first.
func rmdir(dir string) error {
	if err := unix.Rmdir(dir); err != nil {
		return &fs.PathError{Op: "rmdir", Path: dir, Err: err}
	}
	return nil
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
