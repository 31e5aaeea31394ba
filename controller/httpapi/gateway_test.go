// SPDX-License-Identifier: Apache-2.0

package httpapi_test

import (
	"fmt"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/whirl-faas/whirl/controller"
	"github.com/whirl-faas/whirl/controller/alarms"
	"github.com/whirl-faas/whirl/controller/apimgmt"
	"github.com/whirl-faas/whirl/controller/catalog"
	"github.com/whirl-faas/whirl/controller/controllertest"
	"github.com/whirl-faas/whirl/whisk"
)

const (
	management = root + "/web/whisk.system/apimgmt"
	served     = "/api/" + guestUUID
)

// withGateway is a platform with the package of API management.
func withGateway(t testing.TB, configure ...func(*controller.Config)) *platform {
	t.Helper()
	clock, err := alarms.New(alarms.Default(), controllertest.NewStore(), nil)
	if err != nil {
		t.Fatal(err)
	}
	builtins := clock.Builtins(catalog.Alarms) // for the catalog to be complete
	maps.Copy(builtins, apimgmt.Builtins(catalog.APIManagement, apimgmt.Config{}))
	p := newPlatformWith(t, func(deps *controller.Deps) { deps.Builtins = builtins }, configure...)
	err = p.store.PutSubject(t.Context(), whisk.Subject{Name: "whisk.system", Namespaces: []whisk.SubjectNamespace{
		{Name: "whisk.system", UUID: "system-uuid", Key: whisk.HashKey(guestKey)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	p.install(t)
	return p
}

// install brings the package of API management into the store as the catalog describes it.
func (p *platform) install(t testing.TB) {
	t.Helper()
	if err := catalog.Install(t.Context(), p.control, nil); err != nil {
		t.Fatal(err)
	}
}

// createAPI asks for an operation as wsk api create does.
func (p *platform) createAPI(base, path, verb, action, responseType string) reply {
	p.t.Helper()
	parameters := ""
	if strings.Contains(path, "{id}") {
		parameters = `"pathParameters":[{"name":"id","in":"path","required":true,"type":"string"}],`
	}
	return p.do("POST", management+"/createApi.http?accesstoken=DUMMY+TOKEN&responsetype="+responseType+"&spaceguid="+guestUUID, fmt.Sprintf(
		`{"apidoc":{"namespace":"_","gatewayBasePath":%q,"gatewayPath":%q,"gatewayMethod":%q,"id":"API:_:/b",%s
		"action":{"name":%q,"namespace":"_","backendMethod":%q,"backendUrl":"http://example.com/api/v1/web/_/default/x.http","authkey":"u:k"}}}`,
		base, path, verb, parameters, action, verb))
}

func (p *platform) mustCreateAPI(base, path, verb, action, responseType string) {
	p.t.Helper()
	if got := p.createAPI(base, path, verb, action, responseType); got.status != 200 {
		p.t.Fatalf("api create = %d %s", got.status, got.body)
	}
}

// apis returns what getApi answers, by base path.
func (p *platform) apis(query string, headers ...string) map[string]map[string]any {
	p.t.Helper()
	listed := p.must(200, "GET", management+"/getApi.http?accesstoken=DUMMY+TOKEN"+query, "", headers...).decode(p.t)["apis"].([]any)
	found := map[string]map[string]any{}
	for _, item := range listed {
		value := item.(map[string]any)["value"].(map[string]any)
		found[value["apidoc"].(map[string]any)["basePath"].(string)] = value
	}
	return found
}

func TestAPIIsMadeReadAndDeleted(t *testing.T) {
	p := withGateway(t)
	p.run()
	got := p.createAPI("/club", "/books/{id}", "GET", "getBooks", "http")
	if got.status != 200 || got.header.Get("Content-Type") != "application/json" {
		t.Fatalf("create = %d %v %s", got.status, got.header, got.body)
	}
	sameJSON(t, got.body, `{"namespace":"Not Used","gwApiUrl":"http://example.com/api/`+guestUUID+`/club","gwApiActivated":true,"tenantId":"Not Used","apidoc":{
		"swagger":"2.0","basePath":"/club","info":{"title":"/club","version":"1.0.0"},
		"paths":{"/books/{id}":{"get":{"operationId":"getBooksId","parameters":[{"name":"id","in":"path","required":true,"type":"string"}],
			"x-openwhisk":{"action":"getBooks","namespace":"guest","package":"","url":"http://example.com/api/v1/web/guest/default/getBooks.http"},
			"responses":{"default":{"description":"Default response"}}}}},
		"x-ibm-configuration":"<any>"}}`)
	p.mustCreateAPI("/club", "/books", "POST", "pkg/postBooks", "json")
	p.mustCreateAPI("/other", "/", "GET", "getBooks", "")

	if apis := p.apis(""); len(apis) != 2 || len(apis["/club"]["apidoc"].(map[string]any)["paths"].(map[string]any)) != 2 {
		t.Errorf("getApi has %v", apis)
	}
	for query, want := range map[string]int{
		"&basepath=/club": 1, "&basepath=/club/": 1, "&basepath=/clu": 0, "&basepath=%2Fother": 1, "&basepath=club": 0,
		"&limit=1": 1, "&limit=30&skip=0": 2, "&skip=1": 1, "&skip=3": 0, "&limit=1&skip=1": 1, "&limit=0": 2,
	} {
		if apis := p.apis(query); len(apis) != want {
			t.Errorf("getApi with %s has %d APIs, want %d", query, len(apis), want)
		}
	}
	if apis := p.apis("", asOther()); len(apis) != 0 {
		t.Errorf("another namespace sees %v", apis)
	}
	if url := p.apis("", "X-Forwarded-Proto: https", "X-Forwarded-Host: whirl.example:8443")["/club"]["gwApiUrl"]; url != "https://whirl.example:8443"+served+"/club" {
		t.Errorf("behind a proxy the URL is %v", url)
	}

	for _, deletion := range []struct {
		query string
		left  int // paths of /club, -1 if it is gone
	}{
		{"basepath=/club&relpath=/books&operation=POST", 1},
		{"basepath=/club&relpath=/books/%7Bid%7D", -1}, // the last path takes the API along
	} {
		sameJSON(t, p.must(200, "DELETE", management+"/deleteApi.http?"+deletion.query, "").body, `{}`)
		left := -1
		if api := p.apis("")["/club"]; api != nil {
			left = len(api["apidoc"].(map[string]any)["paths"].(map[string]any))
		}
		if left != deletion.left {
			t.Errorf("%s leaves %d paths, want %d", deletion.query, left, deletion.left)
		}
	}
	p.must(200, "DELETE", management+"/deleteApi?force=true&basepath=/other", "")
	if apis := p.apis(""); len(apis) != 0 {
		t.Errorf("left are %v", apis)
	}
}

func TestAPIByName(t *testing.T) {
	p := withGateway(t)
	p.run()
	const named = `{"apidoc":{"namespace":"_","apiName":"Book Club","gatewayBasePath":%q,"gatewayPath":%q,"gatewayMethod":"get",
		"action":{"name":"/guest/pkg/act","namespace":"guest","backendMethod":"GET","backendUrl":"http://h/api/v1/web/guest/pkg/act.http","authkey":"k"}}}`
	p.must(200, "POST", management+"/createApi", fmt.Sprintf(named, "/club", "/a"))
	p.must(200, "POST", management+"/createApi", fmt.Sprintf(named, "Book Club", "/b"))
	apis := p.apis("&basepath=Book+Club")
	if len(apis) != 1 || len(apis["/club"]["apidoc"].(map[string]any)["paths"].(map[string]any)) != 2 {
		t.Fatalf("by its name it is %v", apis)
	}
	p.must(200, "DELETE", management+"/deleteApi.http?basepath=Book+Club", "")
	if apis := p.apis(""); len(apis) != 0 {
		t.Errorf("left are %v", apis)
	}
}

func TestAPIManagementRefuses(t *testing.T) {
	p := withGateway(t)
	p.run()
	p.mustCreateAPI("/there", "/a", "GET", "act", "json")
	const action = `"action":{"name":"a","namespace":"_","backendMethod":"GET","backendUrl":"http://h/api/v1/web/_/default/a.http","authkey":"k"}`
	doc := func(fields string) string { return `{"apidoc":{"namespace":"_"` + fields + `}}` }
	const rest = `,"gatewayBasePath":"/x","gatewayPath":"/p","gatewayMethod":"GET"`
	for _, test := range []struct{ method, target, body, want string }{
		{"POST", "createApi.http", ``, "apidoc is required."},
		{"POST", "createApi.http", `{"apidoc":""}`, "apidoc is required."},
		{"POST", "createApi.http", `{"apidoc":7}`, "apidoc field is of type number and should be a JSON object or a JSON string."},
		{"POST", "createApi.http", `{"apidoc":"{"}`, "apidoc field cannot be parsed. Ensure it is valid JSON."},
		{"POST", "createApi.http", `{"apidoc":"7"}`, "apidoc is missing the namespace field"},
		{"POST", "createApi.http", `{"apidoc":[]}`, "apidoc is missing the namespace field"},
		{"POST", "createApi.http", doc(``), "apidoc is missing the gatewayBasePath field"},
		{"POST", "createApi.http", doc(`,"gatewayBasePath":"/x"`), "apidoc is missing the gatewayPath field"},
		{"POST", "createApi.http", doc(`,"gatewayBasePath":"/x","gatewayPath":"/p"`), "apidoc is missing the gatewayMethod field"},
		{"POST", "createApi.http", doc(rest), "apidoc is missing the action field."},
		{"POST", "createApi.http", doc(rest + `,"action":{}`), "action is missing the backendMethod field."},
		{"POST", "createApi.http", doc(rest + `,` + strings.Replace(action, `"authkey":"k"`, `"authkey":null`, 1)), "action is missing the authkey field."},
		{"POST", "createApi.http", doc(rest + `,` + strings.Replace(action, `/api/v1/web/`, `/`, 1)), "API creation failure: API swagger generation error: the backendUrl 'http://h/_/default/a.http' is not that of a web action."},
		{"POST", "createApi.http?responsetype=zip", doc(rest + `,` + action), "API creation failure: API swagger generation error: the response type 'zip' is none of html, http, json, svg, text."},
		{"POST", "createApi.http", doc(strings.Replace(rest, "GET", "FETCH", 1) + `,` + action), `API creation failure: Unable to configure the API Gateway (status code 400): {"status":400,"message":"Error: Resource verb 'fetch' not supported."}`},
		{"POST", "createApi.http", doc(strings.Replace(rest, "/p", "p", 1) + `,` + action), `API creation failure: Unable to configure the API Gateway (status code 400): {"status":400,"message":"Error: Resource path must begin with '/'."}`},
		{"POST", "createApi.http", doc(strings.Replace(rest, "/p", "/{p}", 1) + `,` + action), "API creation failure: The action must use a response type of '.http' in order to receive the path parameters."},
		{"POST", "createApi.http", doc(`,"swagger":"{","gatewayBasePath":"/x"`), "swagger and gatewayBasePath are mutually exclusive and cannot be specified together."},
		{"POST", "createApi.http", doc(`,"swagger":"{"`), "swagger field cannot be parsed. Ensure it is valid JSON."},
		{"POST", "createApi.http", doc(`,"swagger":true`), "swagger field is boolean and should be an object or a JSON string."},
		{"POST", "createApi.http", doc(`,"swagger":"{}"`), "swagger is missing the basePath field."},
		{"GET", "getApi.http?outputFormat=xml", ``, "Invalid outputFormat value. Valid values are: apigw, swagger"},
		{"GET", "getApi.http?limit=many", ``, "The value 'many' of limit is not a number of APIs."},
		{"DELETE", "deleteApi.http", ``, "basepath is required."},
		{"DELETE", "deleteApi.http?basepath=/x&operation=get", ``, "When specifying an operation, the path is required."},
		{"DELETE", "deleteApi.http?basepath=/x", ``, "API deletion failure: API '/x' does not exist."},
		{"DELETE", "deleteApi.http?basepath=/there&relpath=/b", ``, "API deletion failure: path '/b' does not exist in the API"},
		{"DELETE", "deleteApi.http?basepath=/there&relpath=/a&operation=PUT", ``, "API deletion failure: path '/a' with operation 'put' does not exist in the API"},
	} {
		got := p.must(502, test.method, management+"/"+test.target, test.body).decode(t)
		if len(got) != 1 || got["error"] != test.want {
			t.Errorf("%s %s %s:\ngot  %v\nwant %s", test.method, test.target, test.body, got["error"], test.want)
		}
	}
	for target, want := range map[string]string{
		"createApi.http": "A valid auth key is required.", "getApi.http?namespace=guest": "Invalid authentication.", "deleteApi.http?namespace=guest": "Invalid authentication.",
	} {
		sameJSON(t, p.must(502, "GET", management+"/"+target, "", noAuth).body, `{"error":"`+want+`"}`)
	}
	if apis := p.apis(""); len(apis) != 1 {
		t.Errorf("there are now %v", apis)
	}
	// Nobody says for himself who he is.
	p.must(400, "GET", management+"/getApi.http?__ow_user=other", "")
	const direct = root + "/namespaces/whisk.system/actions/apimgmt/getApi?blocking=true&result=true"
	p.must(403, "POST", direct, `{"__ow_user":"guest"}`, asOther())
	if _, err := p.control.PutPackage(t.Context(), controller.Itself("whisk.system"), catalog.APIManagement, []byte(`{"publish":true}`), true); err != nil {
		t.Fatal(err)
	}
	sameJSON(t, p.must(200, "POST", direct, `{"__ow_user":"guest"}`, asOther()).body, `{"apis":[]}`)
	if apis := p.must(200, "POST", direct, `{"__ow_user":"other"}`).decode(t)["apis"].([]any); len(apis) != 1 {
		t.Errorf("called in another way, getApi has %v", apis)
	}
}

// Operations that are added at the same time are all there in the end.
func TestAPIOperationsAreNotLost(t *testing.T) {
	p := withGateway(t)
	p.run()
	const operations = 24
	var wg sync.WaitGroup
	for i := range operations {
		wg.Go(func() {
			if got := p.createAPI("/many", fmt.Sprintf("/%d", i), "GET", "echo", "json"); got.status != 200 {
				t.Errorf("operation %d: %d %s", i, got.status, got.body)
			}
		})
	}
	wg.Wait()
	if paths := p.apis("")["/many"]["apidoc"].(map[string]any)["paths"].(map[string]any); len(paths) != operations {
		t.Errorf("of %d operations %d are there", operations, len(paths))
	}
}

func TestAPIsAreNotEndless(t *testing.T) {
	p := withGateway(t)
	p.run()
	for i := range 100 {
		p.mustCreateAPI(fmt.Sprintf("/%d", i), "/", "GET", "echo", "json")
	}
	p.mustCreateAPI("/99", "/more", "GET", "echo", "json")
	got := p.createAPI("/100", "/", "GET", "echo", "json")
	if got.status != 502 {
		t.Errorf("one more: %d", got.status)
	}
	sameJSON(t, got.body, `{"error":"API creation failure: The namespace has 100 APIs, as many as it may have."}`)
	long := fmt.Sprintf(`{"apidoc":{"namespace":"_","swagger":{"basePath":"/1","info":{"title":"t","description":%q},"paths":{"/":{"get":{}}}}}}`, strings.Repeat("x", 600<<10))
	if got := p.do("POST", management+"/createApi.http", long); got.status != 502 || !strings.Contains(got.body, "The API is larger than allowed: ") {
		t.Errorf("a long one: %d %.200s", got.status, got.body)
	}
}

// Calls of API management count for who makes them, and not for its owner.
func TestAPIManagementCountsForTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := withGateway(t, allowed(2, 100, 0))
		defer runInBubble(t, p)()
		const list = management + "/getApi.http"
		for range 2 {
			p.must(200, "GET", list, "")
		}
		p.refused(429, tooMany(3, 2), "GET", list, "")
		p.must(200, "GET", list, "", asOther())
		p.must(502, "GET", list, "", noAuth) // nobody's count for the owner
	})
}
