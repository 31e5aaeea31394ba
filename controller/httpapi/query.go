// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/whisk"
)

// query reads the parameters of a request; the first one that is wrong stays in
// err. Requests have few parameters, so each is looked for where it stands.
type query struct {
	raw string
	err error
}

func (x *exchange) query() query { return query{raw: x.r.URL.RawQuery} }

// malformed notes that a parameter is wrong.
func (q *query) malformed(name, format string, args ...any) {
	if q.err == nil {
		q.err = whisk.Errorf(whisk.Invalid, "The query parameter '"+name+"' was malformed:\n"+format, args...)
	}
}

// text returns a parameter, and whether it is there. Of several the first counts.
func (q *query) text(name string) (string, bool) {
	for pair := range strings.SplitSeq(q.raw, "&") {
		key, value, _ := strings.Cut(pair, "=")
		if q.unescape(key) == name {
			return q.unescape(value), true
		}
	}
	return "", false
}

func (q *query) unescape(s string) string {
	text, err := url.QueryUnescape(s)
	if err != nil && q.err == nil {
		q.err = whisk.Errorf(whisk.Invalid, "Illegal request-target: %s", err)
	}
	return text
}

func (q *query) boolean(name string, otherwise bool) bool {
	text, _ := q.text(name)
	switch text = strings.ToLower(text); text {
	case "":
		return otherwise
	case "true", "yes", "on", "1":
		return true
	case "false", "no", "off", "0":
		return false
	}
	q.malformed(name, "'%s' is not a valid Boolean value", text)
	return otherwise
}

// page reads skip and limit of a list.
func (q *query) page(collection string, limits whisk.Limits) controller.Page {
	page := controller.Page{Limit: limits.ListDefault}
	if text, given := q.text("skip"); given {
		n, err := integer(text)
		switch {
		case err != nil:
			q.malformed("skip", "The value '%s' is not an integer for %s.", text, collection)
		case n < 0:
			q.malformed("skip", "The value '%d' is not greater than or equal to 0 for %s.", n, collection)
		}
		page.Skip = n
	}
	if text, given := q.text("limit"); given {
		n, err := integer(text)
		switch {
		case err != nil:
			q.malformed("limit", "The value '%s' is not an integer for %s.", text, collection)
		case n < 0 || n > limits.ListMax:
			q.malformed("limit", "The value '%d' is not in the range of 0 to %d for %s.", n, limits.ListMax, collection)
		}
		page.Limit = n
		if n == 0 {
			page.Limit = limits.ListMax
		}
	}
	return page
}

// integer reads what OpenWhisk takes for an integer, which has 32 bits.
func integer(text string) (int, error) {
	n, err := strconv.ParseInt(text, 10, 32)
	return int(n), err
}

// timeout reads how long a blocking call may wait.
func (q *query) timeout(longest time.Duration) time.Duration {
	text, given := q.text("timeout")
	if !given {
		return longest
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 || n > longest.Milliseconds() {
		q.malformed("timeout", "Timeout must be number of milliseconds up to %d.", longest.Milliseconds())
		return longest
	}
	return time.Duration(n) * time.Millisecond
}

// filter reads which activations are wanted.
func (q *query) filter() controller.ActivationFilter {
	var filter controller.ActivationFilter
	if text, given := q.text("name"); given && text != "" {
		pkg, name, packaged := strings.Cut(text, "/")
		if !packaged {
			pkg, name = "", pkg
		}
		if whisk.CheckName(name) != nil || packaged && whisk.CheckName(pkg) != nil {
			q.malformed("name", "Parameter may be a 'simple' name or 'package-name/simple' name: %s", text)
		}
		filter.Package, filter.Action = pkg, name
	}
	filter.Since = q.moment("since")
	filter.Upto = q.moment("upto")
	return filter
}

// latest is the last moment whose milliseconds every store can hold in 64 bits.
const latest = 1 << 53

// moment reads a time in milliseconds, zero if it is not given. Any 64 bits are
// one; before the epoch and after latest there are no records to tell apart.
func (q *query) moment(name string) time.Time {
	text, given := q.text(name)
	if !given || text == "" {
		return time.Time{}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		q.malformed(name, "Parameter is not a valid value for epoch seconds: %s", text)
		return time.Time{}
	}
	return time.UnixMilli(min(max(n, -1), latest))
}
