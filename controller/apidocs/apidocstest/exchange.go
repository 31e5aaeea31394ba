// SPDX-License-Identifier: Apache-2.0

package apidocstest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

// Exchange is a request and its answer.
type Exchange struct {
	Request *http.Request // the body may be read already
	Sent    []byte        // the request's body
	Status  int
	Header  http.Header // of the answer
	Answer  []byte
}

// Check returns what is not as described: of any answer, and of a request that
// was accepted.
func (d *Description) Check(x Exchange) error {
	if x.Header.Get("X-Request-Id") == "" {
		return fmt.Errorf("the answer has no X-Request-ID")
	}
	if isOfUsers(x.Request.URL.Path) {
		return nil
	}
	path, values, found := d.find(x.Request.URL.EscapedPath())
	var operation *openapi3.Operation
	if found {
		operation = path.operation(x.Request.Method)
	}
	switch {
	case operation == nil && x.Request.Method == http.MethodOptions && x.Status == http.StatusOK, x.Status == http.StatusRequestURITooLong:
		return nil
	case x.Status == http.StatusNotFound && strings.HasSuffix(x.Request.URL.EscapedPath(), "/"):
		return x.checkError() // not all paths may end so
	case operation == nil:
		if !slices.Contains([]int{400, 401, 403, 404, 405}, x.Status) {
			return fmt.Errorf("%s %s is not described, but answered %d", x.Request.Method, x.Request.URL.Path, x.Status)
		}
		return x.checkError()
	case answersError(x.Status, x.Header) && path.template != "/invokers/ready":
		if err := x.checkError(); err != nil {
			return err
		}
	}
	return x.checkOperation(&routers.Route{
		Spec: path.document, Path: path.template, PathItem: path.item, Method: x.Request.Method, Operation: operation,
	}, values)
}

// isOfUsers reports whether a path is that of an API which a user has made:
// its own document describes it.
func isOfUsers(path string) bool {
	return strings.HasPrefix(path, "/api/") && !strings.HasPrefix(path, "/api/v1/")
}

// checkError holds an answer to the form that all errors have.
func (x Exchange) checkError() error {
	if x.Request.Method == http.MethodHead {
		return nil
	}
	if given := x.Header.Get("Content-Type"); given != "application/json" {
		return fmt.Errorf("the error %d has the content type %q", x.Status, given)
	}
	var body map[string]any
	if err := json.Unmarshal(x.Answer, &body); err != nil {
		return fmt.Errorf("the error %d is no JSON object: %w", x.Status, err)
	}
	if _, isText := body["error"].(string); !isText || len(body) != 2 || body["code"] != x.Header.Get("X-Request-Id") {
		return fmt.Errorf("the error %d has another form: %s", x.Status, x.Answer)
	}
	return nil
}

func (x Exchange) checkOperation(route *routers.Route, values map[string]string) error {
	request := x.Request.Clone(context.Background())
	request.Body, request.ContentLength = io.NopCloser(bytes.NewReader(x.Sent)), int64(len(x.Sent))
	options := &openapi3filter.Options{
		IncludeResponseStatus: true, SkipSettingDefaults: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
		ExcludeRequestBody: len(x.Sent) == 0 && !isRequired(route.Operation),
		// Of pages and the like only the type is described.
		ExcludeResponseBody: !slices.ContainsFunc([]string{"application/json", "text/plain"}, func(kind string) bool {
			return strings.HasPrefix(x.Header.Get("Content-Type"), kind)
		}),
	}
	input := &openapi3filter.RequestValidationInput{
		Request: request, PathParams: values, QueryParams: plainQuery(request.URL, route.Operation.Parameters), Route: route, Options: options,
	}
	if x.Status/100 == 2 {
		if err := openapi3filter.ValidateRequest(context.Background(), input); err != nil {
			return fmt.Errorf("%s was accepted (%d), but is not as described: %w", route.Operation.OperationID, x.Status, err)
		}
	}
	answer := &openapi3filter.ResponseValidationInput{RequestValidationInput: input, Status: x.Status, Header: x.Header, Options: options}
	if err := openapi3filter.ValidateResponse(context.Background(), answer.SetBodyBytes(x.Answer)); err != nil {
		return fmt.Errorf("the answer of %s is not as described: %d: %w", route.Operation.OperationID, x.Status, err)
	}
	return nil
}

func isRequired(operation *openapi3.Operation) bool {
	return operation.RequestBody != nil && operation.RequestBody.Value.Required
}

// plainQuery returns a query as a strict client would write it: of several values
// the first, none that are empty, and one word for each truth.
func plainQuery(address *url.URL, parameters openapi3.Parameters) url.Values {
	query := address.Query()
	for name, given := range query {
		value := given[0]
		parameter := parameters.GetByInAndName(openapi3.ParameterInQuery, name)
		switch {
		case parameter == nil || value == "" && parameter.Schema.Value.AllowEmptyValue:
			delete(query, name)
			continue
		case parameter.Schema.Value.Type.Is(openapi3.TypeBoolean):
			value = plainBoolean(value)
		}
		query[name] = []string{value}
	}
	return query
}

func plainBoolean(text string) string {
	switch text = strings.ToLower(text); text {
	case "yes", "on", "1":
		return "true"
	case "no", "off", "0":
		return "false"
	}
	return text
}
