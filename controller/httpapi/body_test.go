// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"io"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
)

// However many callers take their time to send long payloads, to web actions too
// and without credentials, there is memory for 256 MB of them. Short ones, and
// entities, never wait for it, and calls that are under way do not take any.
func TestLongPayloadsShareRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlatform(t)
		defer runInBubble(t, p)()
		p.export("a")
		p.must(200, "PUT", guest+"/triggers/t", "{}")
		send := func(path string, body io.Reader, length int64) int {
			r := benchRequest("POST", path, "")
			r.Body, r.ContentLength = io.NopCloser(body), length
			w := httptest.NewRecorder()
			p.handler.ServeHTTP(w, r)
			return w.Code
		}
		var senders []*io.PipeWriter
		var sending sync.WaitGroup
		for i := range 256 {
			body, sender := io.Pipe()
			senders = append(senders, sender)
			path, length := []string{webRoot + "/a.json", guest + "/actions/a?blocking=true", guest + "/triggers/t", guest + "/rules/r"}[i%4], int64(-1)
			if i%8 < 4 {
				length = 1 << 20
			}
			sending.Go(func() { send(path, body, length) })
		}
		synctest.Wait()
		long := `{"a":"` + strings.Repeat("x", 100_000) + `"}`
		if got := send(webRoot+"/a.json", strings.NewReader(long), int64(len(long))); got != 503 {
			t.Errorf("without room: %d, want 503", got)
		}
		if got := send(guest+"/actions/a?blocking=true", strings.NewReader(`{"a":1}`), 7); got != 200 {
			t.Errorf("a short payload: %d, want 200", got)
		}
		p.must(200, "PUT", guest+"/actions/x", `{"exec":{"kind":"nodejs:20","code":"`+strings.Repeat("x", 100_000)+`"}}`)
		for _, sender := range senders {
			sender.CloseWithError(io.ErrUnexpectedEOF)
		}
		sending.Wait()
		if got := send(guest+"/actions/a?blocking=true", strings.NewReader(long), int64(len(long))); got != 200 {
			t.Errorf("with room: %d, want 200", got)
		}
	})
}
