// SPDX-License-Identifier: Apache-2.0

package runtimetest

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"io/fs"
)

// Entry is one file of an archive.
type Entry struct {
	Name    string
	Content string
	Mode    fs.FileMode // 0 stands for 0644; [fs.ModeSymlink] makes Content the target
	Stored  bool        // not compressed
}

// Archive returns a zip archive of the entries.
func Archive(entries ...Entry) []byte {
	var buffer bytes.Buffer
	writer := zip.NewWriter(&buffer)
	for _, entry := range entries {
		header := &zip.FileHeader{Name: entry.Name, Method: zip.Deflate}
		if entry.Stored {
			header.Method = zip.Store
		}
		header.SetMode(entry.Mode)
		if entry.Mode == 0 {
			header.SetMode(0o644)
		}
		file, err := writer.CreateHeader(header)
		if err == nil {
			_, err = file.Write([]byte(entry.Content))
		}
		if err != nil {
			panic(err) // writing to memory cannot fail, so the entries are wrong
		}
	}
	if err := writer.Close(); err != nil {
		panic(err)
	}
	return buffer.Bytes()
}

// ArchiveCode returns an archive of the entries as code.
func ArchiveCode(entries ...Entry) Code {
	return Code{Code: base64.StdEncoding.EncodeToString(Archive(entries...)), Binary: true}
}
