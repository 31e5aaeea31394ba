// SPDX-License-Identifier: Apache-2.0

//go:build ignore

// This program makes the Go code of whirl.proto. It is protoc and its two
// plugins in one, so that generating needs nothing but Go: run go generate.
package main

import (
	"context"
	"log"
	"os"
	"regexp"
	"strings"

	"github.com/bufbuild/protocompile"
	_ "github.com/planetscale/vtprotobuf/features/marshal"
	_ "github.com/planetscale/vtprotobuf/features/size"
	_ "github.com/planetscale/vtprotobuf/features/unmarshal"
	"github.com/planetscale/vtprotobuf/generator"
	"google.golang.org/protobuf/cmd/protoc-gen-go/internal_gengo"
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

const (
	source  = "whirl.proto"
	licence = "// SPDX-License-Identifier: Apache-2.0\n\n"
)

func main() {
	log.SetFlags(0)
	if err := generate(); err != nil {
		log.Fatalf("generate from %s: %v", source, err)
	}
}

func generate() error {
	file, err := compile()
	if err != nil {
		return err
	}
	plugin, err := protogen.Options{}.New(&pluginpb.CodeGeneratorRequest{
		FileToGenerate: []string{source},
		Parameter:      new("paths=source_relative"),
		ProtoFile:      []*descriptorpb.FileDescriptorProto{file},
	})
	if err != nil {
		return err
	}
	for _, f := range plugin.Files {
		internal_gengo.GenerateFile(plugin, f)
	}
	fast, err := generator.NewGenerator(plugin, []string{"marshal", "unmarshal", "size"}, &generator.Config{})
	if err != nil {
		return err
	}
	fast.Generate()
	return write(plugin.Response())
}

// compile reads the source into a descriptor, comments included.
func compile() (*descriptorpb.FileDescriptorProto, error) {
	compiler := protocompile.Compiler{
		Resolver:       &protocompile.SourceResolver{},
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(context.Background(), source)
	if err != nil {
		return nil, err
	}
	return protodesc.ToFileDescriptorProto(files[0]), nil
}

// toolVersion is a line that depends on how the generator was built.
var toolVersion = regexp.MustCompile(`(?m)^// protoc-gen-go-vtproto version:.*\n`)

func write(response *pluginpb.CodeGeneratorResponse) error {
	for _, f := range response.File {
		text := toolVersion.ReplaceAllString(f.GetContent(), "")
		if !strings.HasPrefix(text, licence) {
			text = licence + text
		}
		if err := os.WriteFile(f.GetName(), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}
