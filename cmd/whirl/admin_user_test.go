// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// administered makes a data directory in which something may be stored.
func administered(t *testing.T) (dir string, admin func(args string) (status int, stdout, stderr string)) {
	t.Helper()
	dir = t.TempDir()
	opened, err := openData(t.Context(), dir, logSettings{file: dir + "/logs.db"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := opened.close(); err != nil {
		t.Fatal(err)
	}
	return dir, func(args string) (int, string, string) {
		return run(t, nil, append(append([]string{"admin"}, strings.Fields(args)...), "--data", dir)...)
	}
}

// TestAdminUsers has the lines and the exit statuses of OpenWhisk's wskadmin.
func TestAdminUsers(t *testing.T) {
	const id = "789c46b1-71f6-4ed5-8c54-816aa4f8c502"
	key := strings.Repeat("k", 64)
	_, admin := administered(t)
	for _, step := range []struct {
		args   string
		status int
		stdout string // a pattern of all of it
		stderr string // a part
	}{
		{"user create alice", statusOK, `[0-9a-f-]{36}:\w{64}\n`, ""},
		{"user create alice", statusFailed, "", "Namespace already exists"},
		{"user create alice -r", statusOK, `[0-9a-f-]{36}:\w{64}\n`, ""},
		{"user create alice -f --silent", statusOK, "", ""},
		{"user create alice -ns project -u " + id + ":" + key, statusOK, id + ":" + key + `\n`, ""},
		{"user create carol -g", statusOK, `[0-9a-f-]{36}:\w{64}\n`, ""},
		{"user get carol", statusFailed, "", `Subject "carol" does not exist`},
		{"user create bob", statusUsage, "", "Subject name must be at least 5 characters"},
		{"user create carol -u x:" + key, statusUsage, "", "authorization id is not a valid UUID"},
		{"user create carol -u " + id + ":short", statusUsage, "", "authorization key must be at least 64 characters long"},
		{"user create carol -u secret", statusUsage, "", "failed to determine authorization id and key"},
		{"user create carol -ns=", statusUsage, "", "Namespace must not be empty"},
		{"user get alice", statusOK, `[0-9a-f-]{36}:\*{8}\n`, ""},
		{"user get alice -ns project", statusOK, id + `:\*{8}\n`, ""},
		{"user get alice -ns nothing", statusFailed, "", `namespace "nothing" not found for "alice"`},
		{"user get alice -a", statusOK, `alice\t[0-9a-f-]{36}:\*{8}\nproject\t` + id + `:\*{8}\n`, ""},
		{"user whois " + id + ":" + key, statusOK, `subject: alice\nnamespace: project\n`, ""},
		{"user whois " + id + ":" + strings.Repeat("x", 64), statusOK, `Subject id is not recognized\n`, ""},
		{"user list project", statusOK, id + `:\*{8}\talice\n`, ""},
		{"user list project -p 3 -k", statusOK, id + `:\*{8}\n`, ""},
		{"user list project -a", statusOK, id + `:\*{8}\talice\n`, ""},
		{"user list project -p 0", statusUsage, "", "pick at least 1 identity to show"},
		{"user list nothing", statusOK, `no identities found for namespace "nothing"\n`, ""},
		{"user create carol --silent", statusOK, "", ""},
		{"user list", statusOK, `alice\ncarol\n`, ""},
		{"user block alice nobody carol", statusFailed, `"alice" blocked successfully\n"carol" blocked successfully\n`, `Failed to block "nobody" (Subject "nobody" does not exist)`},
		{"user get alice -ns project", statusOK, id + `:\*{8}\n`, `"alice" is blocked`},
		{"user create alice -ns more", statusFailed, "", "The subject you want to edit is blocked"},
		{"user unblock alice carol", statusOK, `"alice" unblocked successfully\n"carol" unblocked successfully\n`, ""},
		{"user block", statusUsage, "", "at least one argument, SUBJECT"},
		{"user delete alice -ns nothing", statusFailed, "", `Namespace "nothing" does not exist for "alice"`},
		{"user delete alice -ns project", statusOK, `Namespace deleted\n`, ""},
		{"user delete alice", statusOK, `Subject deleted\n`, ""},
		{"user delete alice", statusFailed, "", "Subject to delete not found"},
	} {
		status, stdout, stderr := admin(step.args)
		if status != step.status || !regexp.MustCompile("^"+step.stdout+"$").MatchString(stdout) || !strings.Contains(stderr, step.stderr) {
			t.Errorf("%s: exit status %d, stdout %q, stderr %q", step.args, status, stdout, stderr)
		}
	}
}

func TestAdminDatabases(t *testing.T) {
	dir, admin := administered(t)
	admin("user create alice -u 789c46b1-71f6-4ed5-8c54-816aa4f8c502:" + strings.Repeat("k", 64))
	admin("limits set alice --firesPerMinute 0")
	activations, err := openData(t.Context(), dir, logSettings{file: dir + "/logs.db"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	at := time.UnixMilli(1_700_000_000_000)
	record := whisk.Activation{
		ID: "00000000000000000000000000000001", Namespace: "alice", Subject: "alice", Name: "fire", Version: whisk.FirstVersion,
		Start: at, Response: whisk.Response{Result: json.RawMessage(`{"b":1.0,"a":"<é>"}`), Size: 19},
	}
	if err := activations.activations.PutActivations(t.Context(), []whisk.Activation{record}); err != nil {
		t.Fatal(err)
	}
	if err := activations.close(); err != nil {
		t.Fatal(err)
	}

	const table = `getting contents for activations (primary index)
{
    "offset": 0,
    "rows": [
        {
            "doc": {
                "_id": "alice/00000000000000000000000000000001",
                "_rev": "1",
                "activationId": "00000000000000000000000000000001",
                "annotations": [],
                "end": 0,
                "entityType": "activation",
                "logs": [],
                "name": "fire",
                "namespace": "alice",
                "publish": false,
                "response": {
                    "result": {
                        "a": "<é>",
                        "b": 1.0
                    },
                    "size": 19,
                    "statusCode": 0
                },
                "start": 1700000000000,
                "subject": "alice",
                "version": "0.0.1"
            },
            "id": "alice/00000000000000000000000000000001",
            "key": "alice/00000000000000000000000000000001",
            "value": {
                "rev": "1"
            }
        }
    ],
    "total_rows": 1
}
`
	if status, stdout, stderr := admin("db get activations --docs"); status != statusOK || stdout != table {
		t.Errorf("exit status %d, stdout %s, stderr %q", status, stdout, stderr)
	}
	for _, row := range []struct {
		args   string
		status int
		stdout []string
		stderr string
	}{
		{"db get whisks", statusOK, []string{"getting contents for whisks (primary index)", "\"rows\": [],\n    \"total_rows\": 0\n}\n"}, ""},
		{"db get subjects --lines", statusOK, []string{`{"id":"alice","key":"alice","value":{"rev":"0"}}` + "\n" + `{"id":"alice/limits","key":"alice/limits","value":{"rev":"0"}}` + "\n"}, ""},
		{"db get subjects -w subjects.v2.0.0/identities --docs --lines", statusOK, []string{`"key":["alice"],`, `"doc":{"_id":"alice/limits","_rev":"0","firesPerMinute":0}`, `"key":["789c46b1-71f6-4ed5-8c54-816aa4f8c502",`}, ""},
		{"db get activations -w whisks.v2.1.0/activations", statusOK, []string{"(whisks.v2.1.0/activations)", "1700000000000"}, ""},
		{"db get users", statusUsage, nil, `there is no database "users", only activations, subjects, whisks`},
		{"db get whisks -w actions", statusUsage, nil, `whisks has no view "actions", only whisks.v2.1.0/actions, `},
		{"db get", statusUsage, nil, "takes one argument, DATABASE"},
	} {
		status, stdout, stderr := admin(row.args)
		missing := slices.ContainsFunc(row.stdout, func(part string) bool { return !strings.Contains(stdout, part) })
		if status != row.status || missing || !strings.Contains(stderr, row.stderr) {
			t.Errorf("%s: exit status %d, stdout %s, stderr %q", row.args, status, stdout, stderr)
		}
	}
}
