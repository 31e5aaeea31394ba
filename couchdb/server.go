// SPDX-License-Identifier: Apache-2.0

package couchdb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// Config says where a [Server] is and how to speak to it.
type Config struct {
	URL            string            // such as "https://db.example.org:6984", perhaps with a path
	Prefix         string            // what the names of OpenWhisk's databases begin with
	User, Password string            // none if User is ""
	Transport      http.RoundTripper // nil for the standard library's
	Page           int               // how many documents to ask for at once; 0 for 200
	Largest        whisk.Bytes       // what of a document is read at most; 0 for 128 MB
}

const (
	defaultPage = 200
	patience    = time.Minute // how long the server may be silent
	maxFailures = 6           // of one request in a row; the pauses between them come to a minute
	firstPause  = 2 * time.Second
)

// Server is a CouchDB that is read over HTTP. What fails for a reason that may pass is
// tried again a few times.
type Server struct {
	config Config
	base   string
	client *http.Client
}

// NewServer returns a reader of a server. Invalid if its URL is none, or has a user
// in it.
func NewServer(config Config) (*Server, error) {
	base, err := url.Parse(config.URL)
	switch {
	case err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" || base.RawQuery != "":
		return nil, whisk.Errorf(whisk.Invalid, "the URL of a CouchDB is like https://db.example.org:6984")
	case base.User != nil:
		return nil, whisk.Errorf(whisk.Invalid, "the URL must not have a user or password in it")
	}
	if config.Page < 1 {
		config.Page = defaultPage
	}
	if config.Largest < 1 {
		config.Largest = maxDocument
	}
	return &Server{config, strings.TrimSuffix(base.String(), "/"), &http.Client{Transport: config.Transport}}, nil
}

// Reach asks the server once, and returns why it cannot be read, if that shows already.
func (s *Server) Reach(ctx context.Context) error {
	answer, err := s.get(ctx, "/", nil)
	if err != nil {
		return err
	}
	return answer.Close()
}

// Documents implements [Source].
func (s *Server) Documents(ctx context.Context, database Database) iter.Seq2[Document, error] {
	return func(yield func(Document, error) bool) {
		p := pager{server: s, path: "/" + url.PathEscape(s.name(database)) + "/_all_docs"}
		for failures := 0; ; {
			before := p.after
			more, err := p.page(ctx, yield)
			switch {
			case err == nil && !more:
				return
			case err == nil || p.after != before:
				failures = 0
			}
			if errors.Is(err, errTooLarge) {
				more, err = p.skip(ctx, yield)
				if err == nil && !more {
					return
				}
			}
			if err == nil {
				continue
			}
			if failures++; failures >= maxFailures || !brokeOff(err) || !pause(ctx, failures) {
				yield(Document{}, s.explain(ctx, database, err))
				return
			}
		}
	}
}

func (s *Server) name(database Database) string { return s.config.Prefix + string(database) }

// explain says what there is where a database is missing.
func (s *Server) explain(ctx context.Context, database Database, err error) error {
	err = fmt.Errorf("read %s: %w", s.name(database), err)
	if whisk.KindOf(err) != whisk.NotFound {
		return err
	}
	answer, listErr := s.get(ctx, "/_all_dbs", nil)
	if listErr != nil {
		return err
	}
	defer answer.Close()
	var names []string
	if json.NewDecoder(io.LimitReader(answer, int64(whisk.MB))).Decode(&names) != nil {
		return err
	}
	return whisk.Errorf(whisk.NotFound, "there is no database %s, but %s", s.name(database), strings.Join(names, ", "))
}

// pager goes through a database. Pages begin behind a document and not at a number, so
// that none is missed or met twice when others come and go.
type pager struct {
	server *Server
	path   string
	after  string // the id of the last document that was met
}

// page yields the next documents. There is no more to do if the consumer or the database says so.
func (p *pager) page(ctx context.Context, yield func(Document, error) bool) (more bool, err error) {
	limit := p.server.config.Page + 1 // the one that was met is there again
	answer, err := p.server.get(ctx, p.path, p.query(limit, true))
	if err != nil {
		return false, err
	}
	defer answer.Close()
	n := 0
	for next, err := range rows(answer, p.server.config.Largest) {
		if err != nil {
			return false, err
		}
		n++
		if next.ID == p.after {
			continue
		}
		if !next.isDesign() && !yield(next.document()) {
			return false, nil
		}
		p.after = next.ID
	}
	return n >= limit, nil
}

// skip yields the error of a document that is too large to be read, by asking for its id.
func (p *pager) skip(ctx context.Context, yield func(Document, error) bool) (more bool, err error) {
	answer, err := p.server.get(ctx, p.path, p.query(2, false))
	if err != nil {
		return false, err
	}
	defer answer.Close()
	for next, err := range rows(answer, p.server.config.Largest) {
		if err != nil {
			return false, err
		}
		if next.ID != p.after {
			p.after = next.ID
			return yield(Document{ID: next.ID}, errTooLarge), nil
		}
	}
	return true, nil // it is gone
}

func (p *pager) query(limit int, withDocuments bool) url.Values {
	query := url.Values{"limit": {strconv.Itoa(limit)}}
	if withDocuments {
		query.Set("include_docs", "true")
	}
	if p.after != "" {
		key, _ := json.Marshal(p.after) // a string always encodes
		query.Set("startkey", string(key))
	}
	return query
}

// pause waits before another try, longer each time. It is false when ctx has ended.
func pause(ctx context.Context, failures int) bool {
	timer := time.NewTimer(firstPause << (failures - 1))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// Attachment implements [Source].
func (s *Server) Attachment(ctx context.Context, doc Document, name string) (io.ReadCloser, error) {
	path := "/" + url.PathEscape(s.name(Whisks)) + "/" + url.PathEscape(doc.ID) + "/" + url.PathEscape(name)
	for failures := 1; ; failures++ {
		answer, err := s.get(ctx, path, nil)
		if err == nil || failures >= maxFailures || !brokeOff(err) || !pause(ctx, failures) {
			return answer, err
		}
	}
}

// get asks once for what is at a path. The errors tell what the server said.
func (s *Server) get(ctx context.Context, path string, query url.Values) (io.ReadCloser, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+path+"?"+query.Encode(), nil)
	if err != nil {
		cancel(nil)
		return nil, fmt.Errorf("ask CouchDB: %w", err)
	}
	request.Header.Set("Accept", "*/*")
	if s.config.User != "" {
		request.SetBasicAuth(s.config.User, s.config.Password)
	}
	body := &patientBody{ctx: ctx, cancel: cancel}
	body.timer = time.AfterFunc(patience, func() {
		cancel(whisk.Errorf(whisk.Unavailable, "CouchDB is silent for %v", patience))
	})
	response, err := s.client.Do(request)
	body.timer.Stop()
	if err != nil {
		err = body.explain(err)
		cancel(nil)
		return nil, err
	}
	body.body = response.Body
	if response.StatusCode == http.StatusOK {
		return body, nil
	}
	defer body.Close()
	return nil, refusal(response.StatusCode, body)
}

// refusal makes an error of an answer, which has CouchDB's reason in it.
func refusal(status int, body io.Reader) error {
	var said struct{ Error, Reason string }
	text, _ := io.ReadAll(io.LimitReader(body, 4096))
	_ = json.Unmarshal(text, &said) // it may be some proxy's
	kind := whisk.Invalid
	switch {
	case status == http.StatusUnauthorized || status == http.StatusForbidden:
		kind = whisk.Denied
	case status == http.StatusNotFound:
		kind = whisk.NotFound
	case status == http.StatusTooManyRequests || status >= 500:
		kind = whisk.Unavailable
	}
	return whisk.Errorf(kind, "CouchDB answers %d %s %s", status, said.Error, said.Reason)
}

// patientBody ends a request whose answer stands still. How long its reader takes does
// not count.
type patientBody struct {
	ctx    context.Context // of the request
	cancel context.CancelCauseFunc
	timer  *time.Timer // ends the request, with its cause, unless it is stopped
	body   io.ReadCloser
}

func (b *patientBody) Read(p []byte) (int, error) {
	b.timer.Reset(patience)
	n, err := b.body.Read(p)
	b.timer.Stop()
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.explain(err)
	}
	return n, err
}

// explain returns why a request was ended, or else that the connection failed.
func (b *patientBody) explain(err error) error {
	if cause := context.Cause(b.ctx); cause != nil {
		return cause
	}
	if broken, ok := errors.AsType[*url.Error](err); ok {
		err = broken.Err // without the URL, which every message would repeat
	}
	return whisk.Errorf(whisk.Unavailable, "the connection to CouchDB failed: %w", err)
}

func (b *patientBody) Close() error {
	b.cancel(nil)
	return b.body.Close()
}
