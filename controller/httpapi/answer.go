// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/apijson"
	"github.com/whirl-faas/whirl/controller/web"
	"github.com/whirl-faas/whirl/whisk"
)

// buffers keeps answers' memory for other requests. Long ones are let go.
type buffers struct{ pool sync.Pool }

const longestPooled = 64 << 10

func (b *buffers) get() *[]byte {
	if buffer, ok := b.pool.Get().(*[]byte); ok {
		return buffer
	}
	buffer := make([]byte, 0, 2048)
	return &buffer
}

func (b *buffers) put(buffer *[]byte) {
	if cap(*buffer) <= longestPooled {
		*buffer = (*buffer)[:0]
		b.pool.Put(buffer)
	}
}

// Header values that are the same in each answer; nobody may modify them.
var (
	typeJSON     = []string{"application/json"}
	typeText     = []string{"text/plain; charset=UTF-8"}
	corsOrigin   = []string{"*"}
	corsAccepted = []string{"Authorization, Origin, X-Requested-With, Content-Type, Accept, User-Agent"}
	corsAPI      = []string{"GET, DELETE, POST, PUT, HEAD"}
	corsServer   = []string{"OPTIONS, GET, POST"}
)

// answer sends JSON.
func (x *exchange) answer(status int, body []byte) {
	x.send(status, typeJSON, body)
}

// answerBuilt sends the JSON that build appends.
func (x *exchange) answerBuilt(status int, build func(dst []byte) []byte) {
	buffer := x.buffers.get()
	*buffer = build(*buffer)
	x.answer(status, *buffer)
	x.buffers.put(buffer)
}

func (x *exchange) answerText(status int, text string) {
	x.send(status, typeText, []byte(text))
}

// countedByServer is how long an answer net/http finds the length of by itself.
const countedByServer = 2048

func (x *exchange) send(status int, contentType []string, body []byte) {
	header := x.w.Header()
	header["Content-Type"] = contentType
	if len(body) > countedByServer {
		header["Content-Length"] = []string{strconv.Itoa(len(body))}
	}
	x.answered, x.refused = true, status == http.StatusTooManyRequests || status == http.StatusServiceUnavailable
	x.w.WriteHeader(status)
	if _, err := x.w.Write(body); err != nil {
		x.logger.Debug("answer not delivered", "transaction", x.transaction, "err", err)
	}
}

// sendWeb sends a web action's answer, whose headers are set, but for those that
// the body needs.
func (x *exchange) sendWeb(response web.Response) {
	header := x.w.Header()
	if response.Type != "" {
		header["Content-Type"] = []string{response.Type}
		header["Content-Length"] = []string{strconv.Itoa(response.Body.Len())}
	}
	x.answered = true
	x.w.WriteHeader(response.Status)
	if response.Type == "" || x.r.Method == http.MethodHead {
		return
	}
	if _, err := response.Body.WriteTo(x.w); err != nil {
		x.logger.Debug("answer not delivered", "transaction", x.transaction, "err", err)
	}
}

func (x *exchange) corsHeaders(methods []string) {
	header := x.w.Header()
	header["Access-Control-Allow-Origin"] = corsOrigin
	header["Access-Control-Allow-Headers"] = corsAccepted
	header["Access-Control-Allow-Methods"] = methods
}

// fail sends an error body.
func (x *exchange) fail(status int, text string) {
	begin, middle, end := `{"error":`, `,"code":`, `}`
	if x.pretty {
		begin, middle, end = "{\n  \"error\": ", ",\n  \"code\": ", "\n}"
	}
	x.answerBuilt(status, func(dst []byte) []byte {
		dst = apijson.AppendString(append(dst, begin...), text)
		dst = apijson.AppendString(append(dst, middle...), x.transaction)
		return append(dst, end...)
	})
}

// refuse answers with an error of a use case. Its text is shown if it was
// written for the user; else it goes to the log, and the user gets the text of
// the status.
func (x *exchange) refuse(err error) {
	status := statusOf(err)
	text := err.Error()
	if _, forUser := err.(*whisk.Error); !forUser && status != http.StatusUnauthorized {
		x.logger.Error("request not served", "transaction", x.transaction, "method", x.r.Method, "path", x.r.URL.Path, "status", status, "err", err)
		text = defaultText(status)
	}
	if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
		x.retryAfter(status, err)
	}
	if status == http.StatusUnauthorized {
		x.w.Header()["Www-Authenticate"] = []string{`Basic realm="OpenWhisk secure realm",charset=UTF-8`}
	}
	x.fail(status, text)
}

// retryAfter says when to ask again: where the platform had too much to do, soon.
func (x *exchange) retryAfter(status int, err error) {
	after := time.Duration(0)
	if known, ok := errors.AsType[*whisk.Error](err); ok {
		after = known.RetryAfter
	}
	if after <= 0 && status == http.StatusTooManyRequests {
		return // of a namespace's own limits only its owner knows when they are free again
	}
	seconds := max(1, int((after+time.Second-1)/time.Second))
	x.w.Header()["Retry-After"] = []string{strconv.Itoa(seconds)}
}

// statusOf is the one place where kinds of errors become HTTP statuses.
func statusOf(err error) int {
	switch {
	case errors.Is(err, controller.ErrNoCredentials), errors.Is(err, controller.ErrCredentials):
		return http.StatusUnauthorized
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return http.StatusServiceUnavailable
	}
	switch whisk.KindOf(err) {
	case whisk.NotFound:
		return http.StatusNotFound
	case whisk.Conflict:
		return http.StatusConflict
	case whisk.Invalid:
		return http.StatusBadRequest
	case whisk.TooLarge:
		return http.StatusRequestEntityTooLarge
	case whisk.Denied:
		return http.StatusForbidden
	case whisk.Throttled:
		return http.StatusTooManyRequests
	case whisk.Timeout, whisk.Unavailable:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// defaultText is what OpenWhisk says where there is nothing more to say.
func defaultText(status int) string {
	switch status {
	case http.StatusBadRequest:
		return "The request contains bad syntax or cannot be fulfilled."
	case http.StatusUnauthorized:
		return "Authentication is possible but has failed or not yet been provided."
	case http.StatusForbidden:
		return "The supplied authentication is not authorized to access this resource."
	case http.StatusNotFound:
		return "The requested resource does not exist."
	case http.StatusConflict:
		return "The request could not be processed because of conflict in the request, such as an edit conflict."
	case http.StatusRequestEntityTooLarge:
		return "The request content is larger than the server is willing or able to process."
	case http.StatusTooManyRequests:
		return "The user has sent too many requests in a given amount of time."
	case http.StatusServiceUnavailable:
		return "The server is currently unavailable (because it is overloaded or down for maintenance)."
	}
	return "There was an internal server error."
}
