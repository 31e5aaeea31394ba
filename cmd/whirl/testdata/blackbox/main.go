// SPDX-License-Identifier: Apache-2.0

// The program of an image such as users make: it serves /init and /run by itself,
// needs no code, writes no sentinels, and answers with what it was told.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"sync"
)

// told is the body of the one /init; nil before.
var told struct {
	sync.Mutex
	init json.RawMessage
}

func main() {
	http.HandleFunc("POST /init", initialise)
	http.HandleFunc("POST /run", run)
	log.Fatal(http.ListenAndServe(":8080", nil))
}

func initialise(w http.ResponseWriter, r *http.Request) {
	var body struct{ Value json.RawMessage }
	told.Lock()
	defer told.Unlock()
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || told.init != nil {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, `{"error": "a second /init, or a bad one: %v"}`, err)
		return
	}
	told.init = body.Value
	fmt.Fprint(w, `{"ok": true}`)
}

func run(w http.ResponseWriter, r *http.Request) {
	var body struct{ Value json.RawMessage }
	told.Lock()
	defer told.Unlock()
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || told.init == nil {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, `{"error": "no /init, or a bad /run: %v"}`, err)
		return
	}
	fmt.Println("running")
	fmt.Fprintln(os.Stderr, "nothing wrong")
	fmt.Fprintf(w, `{"init": %s, "args": %s}`, told.init, body.Value)
}
