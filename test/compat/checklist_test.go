// SPDX-License-Identifier: Apache-2.0

package compat

import (
	"bytes"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write into docs/compatibility.md which groups of cases prove the rows of its checklist")

const (
	root     = "../.."
	document = root + "/docs/compatibility.md"
	rows     = 200 // of the checklist
)

// checklistRow is a line of the checklist: its number, what must hold, for whom, the
// state, and what proves it: groups of cases, and tests in backquotes.
type checklistRow struct {
	number                   int
	statement, weight, state string
	groups, tests            []string
}

var checklistLine = regexp.MustCompile(`^\| (\d+) \| (.+) \| (MUST|SHOULD|COULD) \| (yes|partly|differs|no) \|(.*)\|$`)

func parseRow(line string) (row checklistRow, ok bool) {
	match := checklistLine.FindStringSubmatch(line)
	if match == nil {
		return row, false
	}
	row.number, _ = strconv.Atoi(match[1])
	row.statement, row.weight, row.state = match[2], match[3], match[4]
	for proof := range strings.SplitSeq(match[5], ",") {
		proof = strings.TrimSpace(proof)
		switch {
		case strings.HasPrefix(proof, "`"):
			row.tests = append(row.tests, strings.Trim(proof, "`"))
		case proof != "":
			row.groups = append(row.groups, proof)
		}
	}
	return row, true
}

func (r checklistRow) String() string {
	proofs := slices.Clone(r.groups)
	for _, test := range r.tests {
		proofs = append(proofs, "`"+test+"`")
	}
	line := fmt.Sprintf("| %d | %s | %s | %s | %s", r.number, r.statement, r.weight, r.state, strings.Join(proofs, ", "))
	return strings.TrimSuffix(line, " ") + " |"
}

// TestChecklist holds the checklist of docs/compatibility.md against the cases
// and tests there are: each row says what proves it, and nothing is said to be there
// that nothing proves.
func TestChecklist(t *testing.T) {
	all, err := scripts()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	proving := groupsByRow(all)
	tests := testNames(t)
	next := 1
	var rewritten bytes.Buffer
	for line := range strings.Lines(string(text)) {
		row, isRow := parseRow(strings.TrimSuffix(line, "\n"))
		if !isRow {
			rewritten.WriteString(line)
			continue
		}
		if row.number != next {
			t.Errorf("row %d of the checklist comes where %d should", row.number, next)
		}
		next++
		if *update {
			row.groups = proving[row.number]
		}
		checkRow(t, row, proving[row.number], tests)
		fmt.Fprintln(&rewritten, row)
	}
	if next != rows+1 {
		t.Errorf("the checklist has %d rows, want %d", next-1, rows)
	}
	if *update {
		if err := os.WriteFile(document, rewritten.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func checkRow(t *testing.T, row checklistRow, proving []string, tests map[string]bool) {
	if !slices.Equal(row.groups, proving) {
		t.Errorf("row %d is proved by cases of %v, the checklist says %v: run go test ./test/compat -run Checklist -update", row.number, proving, row.groups)
	}
	for _, test := range row.tests {
		if !tests[test] {
			t.Errorf("row %d is said to be proved by %s, which there is not", row.number, test)
		}
	}
	if proved := len(row.groups)+len(row.tests) > 0; proved != (row.state != "no") {
		t.Errorf("row %d is %q, and is proved by %v %v", row.number, row.state, row.groups, row.tests)
	}
}

// groupsByRow tells, for each row, which groups have cases that prove it.
func groupsByRow(all []script) map[int][]string {
	groups := map[int][]string{}
	for _, one := range all {
		for _, c := range one.cases {
			for _, row := range c.rows {
				if !slices.Contains(groups[row], one.file) {
					groups[row] = append(groups[row], one.file)
				}
			}
		}
	}
	return groups
}

// TestDeviationsAreExplained holds that a case where Whirl answers otherwise names a
// row of the table of what is different and why.
func TestDeviationsAreExplained(t *testing.T) {
	all, err := scripts()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	_, different, _ := strings.Cut(string(text), "\n## Different, and why\n")
	for _, one := range all {
		for _, c := range one.cases {
			for _, x := range c.conversation {
				if x.whirl != nil && !strings.Contains(different, "\n| "+x.reason+" |") {
					t.Errorf("%s:%d: docs/compatibility.md has no row %q of what is different", one.file, x.line, x.reason)
				}
			}
		}
	}
}

// TestCasesAreMany holds the suite to its size, and its cases to having names of
// their own and rows that there are.
func TestCasesAreMany(t *testing.T) {
	all, err := scripts()
	if err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, one := range all {
		titles := map[string]bool{}
		for _, c := range one.cases {
			count++
			if titles[c.title] {
				t.Errorf("%s:%d: a second case %q", one.file, c.line, c.title)
			}
			titles[c.title] = true
			if last := c.conversation[len(c.conversation)-1]; last.answer == nil {
				t.Errorf("%s:%d: %q does not say what its last answer is", one.file, c.line, c.title)
			}
			for _, row := range c.rows {
				if row < 1 || row > rows {
					t.Errorf("%s:%d: the checklist has no row %d", one.file, c.line, row)
				}
			}
		}
	}
	if count < 400 {
		t.Errorf("%d cases, want 400", count)
	}
}

var testFunction = regexp.MustCompile(`(?m)^func (Test\w+)\(`)

// testNames returns the names of all tests of the module.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, "_test.go") {
			return err
		}
		text, err := os.ReadFile(name)
		for _, match := range testFunction.FindAllSubmatch(text, -1) {
			names[string(match[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}
