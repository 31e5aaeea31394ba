// SPDX-License-Identifier: Apache-2.0

package native

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// load puts an action's code into config.Dir and returns the program it makes.
// Its errors are for the action's developer to read.
func load(ctx context.Context, config Config, code string, binary bool, env environment) (program, error) {
	content := []byte(code)
	if binary {
		var err error
		if content, err = base64.StdEncoding.DecodeString(code); err != nil {
			return nil, fmt.Errorf("the code is not base64: %w", err)
		}
	}
	if err := os.MkdirAll(config.Dir, 0o755); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(config.Dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	if bytes.HasPrefix(content, []byte("PK")) {
		err = unpack(root, content)
	} else {
		err = root.WriteFile("exec", content, 0o755)
	}
	if err == nil {
		err = checkExecutable(root)
	}
	if err != nil {
		return nil, err
	}
	action := executable{
		path:   filepath.Join(config.Dir, "exec"),
		dir:    config.Dir,
		stdout: config.Stdout,
		stderr: config.Stderr,
	}
	if kind, err := root.ReadFile("exec.env"); err == nil {
		return startLoop(ctx, action, env, strings.TrimSpace(string(kind)))
	}
	return once{action}, nil
}

// checkExecutable makes exec executable and looks whether the kernel would run
// it, since what it says otherwise helps nobody.
func checkExecutable(root *os.Root) error {
	file, err := root.Open("exec")
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("the archive has no file \"exec\" at its top")
	}
	if err != nil {
		return err
	}
	defer file.Close()
	var head [4]byte
	if _, err := io.ReadFull(file, head[:]); err != nil || !bytes.HasPrefix(head[:], []byte("#!")) && string(head[:]) != "\x7fELF" {
		return errors.New("exec is neither a Linux executable nor a script that begins with \"#!\"")
	}
	return file.Chmod(0o755)
}

// unpack writes an archive's files below root, which no name and no link can
// leave. Links are made last, in directories that are there by then, so that
// neither a file nor another link is made through one.
func unpack(root *os.Root, archive []byte) error {
	reader, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		return fmt.Errorf("uncompress the action archive: %w", err)
	}
	var links []*zip.File
	for _, file := range reader.File {
		if !filepath.IsLocal(file.Name) {
			return fmt.Errorf("uncompress the action archive: the entry %q leads out of it", file.Name)
		}
		err := root.MkdirAll(path.Dir(path.Clean(file.Name)), 0o755)
		if file.Mode()&fs.ModeSymlink != 0 {
			links = append(links, file)
		} else if err == nil {
			err = unpackFile(root, file)
		}
		if err != nil {
			return fmt.Errorf("uncompress the action archive: %s: %w", file.Name, err)
		}
	}
	for _, link := range links {
		if err := unpackLink(root, link); err != nil {
			return fmt.Errorf("uncompress the action archive: %s: %w", link.Name, err)
		}
	}
	return nil
}

func unpackFile(root *os.Root, file *zip.File) error {
	name := path.Clean(file.Name)
	if file.FileInfo().IsDir() {
		return root.MkdirAll(name, 0o755)
	}
	content, err := file.Open()
	if err != nil {
		return err
	}
	defer content.Close()
	out, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, file.Mode().Perm()|0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, content)
	return errors.Join(err, out.Close())
}

func unpackLink(root *os.Root, link *zip.File) error {
	content, err := link.Open()
	if err != nil {
		return err
	}
	defer content.Close()
	target, err := io.ReadAll(io.LimitReader(content, 4096))
	if err != nil {
		return err
	}
	name := path.Clean(link.Name)
	if !filepath.IsLocal(path.Join(path.Dir(name), string(target))) || path.IsAbs(string(target)) {
		return fmt.Errorf("the link to %q leads out of the archive", target)
	}
	return root.Symlink(string(target), name)
}
