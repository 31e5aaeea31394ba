// SPDX-License-Identifier: Apache-2.0

// Package whirl_test holds the module to its architecture. There is no other
// Go file at the root.
package whirl_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/whirl-faas/whirl"

// rooms is the import table of docs/architecture.md: what each folder, with the
// folders below it, may import of this module. The longest matching folder
// counts. "*" stands for everything but cmd. Test files are free.
var rooms = map[string][]string{
	"whisk":                  {},
	"controller":             {"whisk", "controller/keyring", "controller/web", "controller/throttle", "controller/gateway"},
	"controller/web":         {"whisk", "controller"},
	"controller/gateway":     {"whisk", "controller", "controller/web"},
	"controller/apimgmt":     {"whisk", "controller", "controller/gateway"},
	"controller/keyring":     {"whisk"},
	"controller/apidocs":     {},
	"controller/httpapi":     {"whisk", "controller", "controller/apidocs", "controller/lookout", "controller/web", "controller/gateway"},
	"controller/balancer":    {"whisk"},
	"controller/lookout":     {},
	"controller/throttle":    {"whisk"},
	"controller/meter":       {"whisk", "controller", "controller/balancer"},
	"scheduler":              {"whisk", "scheduler/policy"},
	"scheduler/policy":       {"whisk"},
	"scheduler/httpapi":      {"whisk", "scheduler", "surface"},
	"agent":                  {"whisk"},
	"agent/gate":             {"whisk"},
	"agent/httpapi":          {"whisk", "agent", "surface"},
	"surface":                {"whisk"},
	"driver/process":         {"whisk", "driver/internal/cgroup", "driver/process/stage"},
	"driver/process/stage":   {},
	"driver/internal/cgroup": {},
	"driver/docker":          {"whisk", "driver/internal/cgroup"},
	"driver/fake":            {"whisk"},
	"driver/drivertest":      {"whisk"},
	"runtimes":               {"whisk"},
	"runtimes/native":        {"whisk"},
	"runtimes/runtimetest":   {"whisk"},
	"store/sqlite":           {"whisk", "store/internal/block", "store/internal/lines"},
	"store/postgres":         {"whisk", "store/internal/lines"},
	"store/internal/block":   {"whisk", "store/internal/lines"},
	"store/internal/lines":   {"whisk"},
	"store/files":            {"whisk"},
	"store/storetest":        {"whisk"},
	"couchdb":                {"whisk"},
	"rpc":                    {"whisk", "rpc/certs", "rpc/proto"},
	"rpc/certs":              {"whisk"},
	"rpc/proto":              {},
	"rpc/inmem":              {"whisk"},
	"rpc/rpctest":            {"whisk"},
	"client":                 {"whisk"},
	"bench":                  {"whisk", "client", "bench/plot", "bench/table"},
	"bench/plot":             {},
	"bench/table":            {},
	"bench/cputime":          {},
	"bench/growth":           {"bench/plot"},
	"bench/schedulerload":    {"whisk", "bench/table"},
	"sim":                    {"*"},
	"test":                   {"client", "whisk"},
	"test/compat":            {},
	"cmd/whirl":              {"*"},
	"cmd/whirl-sandbox":      {"driver/process/stage"},
	"cmd/whirl-native":       {"runtimes/native"},
}

// pure packages compute and hold data; I/O would be a leak in them.
var pure = map[string][]string{
	"whisk":              {"net", "net/http", "os", "database/sql", "log/slog"},
	"controller/keyring": {"net", "os", "time", "log/slog"},
	"controller/web":     {"net", "os", "time", "log/slog"},
	"controller/gateway": {"net", "os", "log/slog"},
	"scheduler/policy":   {"net", "net/http", "os", "time", "log/slog"},
}

func TestImportsFollowTheTable(t *testing.T) {
	for dir, files := range packages(t) {
		room, allowed := roomOf(dir)
		if room == "" {
			t.Errorf("%s: no room of the import table holds this package: add a line that says what it may import", dir)
			continue
		}
		for name, file := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			for _, imported := range importsOf(t, file) {
				checkImport(t, path.Join(dir, name), room, allowed, imported)
			}
		}
	}
}

func checkImport(t *testing.T, file, room string, allowed []string, imported string) {
	t.Helper()
	if slices.Contains(pure[room], imported) {
		t.Errorf("%s imports %s, but %s is pure", file, imported, room)
	}
	inner, ours := strings.CutPrefix(imported, module+"/")
	if !ours {
		if room == "whisk" && strings.Contains(strings.Split(imported, "/")[0], ".") {
			t.Errorf("%s imports %s, but the vocabulary imports the standard library only", file, imported)
		}
		return
	}
	target, _ := roomOf(inner)
	switch {
	case strings.HasPrefix(inner, "cmd/"):
		t.Errorf("%s imports %s: nothing imports a command", file, inner)
	case target == room, slices.Contains(allowed, "*"), slices.Contains(allowed, target):
	default:
		t.Errorf("%s imports %s, which %s may not (it may import %v)", file, inner, room, allowed)
	}
}

func TestEveryPackageHasADocComment(t *testing.T) {
	for dir, files := range packages(t) {
		documented := false
		onlyTests := true
		for name, file := range files {
			onlyTests = onlyTests && strings.HasSuffix(name, "_test.go")
			documented = documented || file.Doc != nil && len(strings.Fields(file.Doc.Text())) > 5
		}
		if !documented && !onlyTests {
			t.Errorf("%s: no doc comment says what the package is for", dir)
		}
	}
}

func TestEveryFileNamesItsLicence(t *testing.T) {
	for dir, files := range packages(t) {
		for name := range files {
			text, err := os.ReadFile(filepath.Join(dir, name))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(text[:min(len(text), 300)]), "// SPDX-License-Identifier: Apache-2.0\n") {
				t.Errorf("%s/%s: no SPDX line at its top", dir, name)
			}
		}
	}
}

func TestTheRootHoldsNoCode(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(files, []string{"architecture_test.go"}) {
		t.Errorf("Go files at the root: %v, want the architecture test alone", files)
	}
}

func TestNoRoomIsEmpty(t *testing.T) {
	dirs := packages(t)
	for room := range rooms {
		if _, found := dirs[room]; !found {
			t.Errorf("the import table has %s, but there is no such package", room)
		}
	}
}

// TestTheMapNamesEveryPackage holds the code to the table of folders in
// docs/architecture.md. What lies in an internal folder is its parent's affair.
func TestTheMapNamesEveryPackage(t *testing.T) {
	text, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, house, _ := strings.Cut(string(text), "\n## The house\n")
	named := map[string]bool{}
	for line := range strings.Lines(house) {
		if !strings.HasPrefix(line, "| `") {
			continue
		}
		folders, _, _ := strings.Cut(line[2:], "|")
		for folder := range strings.SplitSeq(folders, ",") {
			named[strings.Trim(folder, " `")] = true
		}
	}
	dirs := packages(t)
	for dir := range dirs {
		if !named[dir] && !strings.Contains(dir, "/internal/") {
			t.Errorf("docs/architecture.md has no line for %s", dir)
		}
	}
	for folder := range named {
		if dirs[folder] == nil {
			t.Errorf("docs/architecture.md has a line for %s, but there is no such package", folder)
		}
	}
}

// roomOf returns the longest folder of the table that holds dir, and what it may import.
func roomOf(dir string) (string, []string) {
	for room := dir; room != "."; room = path.Dir(room) {
		if allowed, ok := rooms[room]; ok {
			return room, allowed
		}
	}
	return "", nil
}

// packages parses all Go files of the module, by folder and name. Folders named
// testdata and those that begin with a dot are not part of it.
func packages(t *testing.T) map[string]map[string]*ast.File {
	t.Helper()
	found := map[string]map[string]*ast.File{}
	fset := token.NewFileSet()
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := entry.Name()
		if entry.IsDir() && name != "." && (base == "testdata" || base == "node_modules" || base[0] == '.') {
			return fs.SkipDir
		}
		if dir := filepath.Dir(name); !entry.IsDir() && filepath.Ext(name) == ".go" && dir != "." {
			file, err := parser.ParseFile(fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			if found[dir] == nil {
				found[dir] = map[string]*ast.File{}
			}
			found[dir][base] = file
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func importsOf(t *testing.T, file *ast.File) []string {
	t.Helper()
	var imports []string
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		imports = append(imports, imported)
	}
	return imports
}
