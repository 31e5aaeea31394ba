// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/whirl-faas/whirl/controller/apijson"
	"github.com/whirl-faas/whirl/whisk"
)

var (
	wholeParameter = regexp.MustCompile(`/\{([^/]+)\}(/|$)`)
	anyParameter   = regexp.MustCompile(`\{([^/]+)\}`)
)

// Check says, as Invalid, why the API of that namespace cannot be served.
func (d *Document) Check(namespace string) error {
	if err := d.checkBounds(); err != nil {
		return err
	}
	if path := textOf(d.fields["basePath"]); wholeParameter.MatchString(path) {
		return whisk.Errorf(whisk.Invalid, "The base path (%s) cannot have parameters. Only the relative path supports path parameters.", path)
	}
	assembly, err := d.assembly()
	if err != nil {
		return err
	}
	paths := d.paths()
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		if !wholeParameter.MatchString(path) {
			continue
		}
		if err := assembly.checkParameters(path, objectOf(paths[path])); err != nil {
			return err
		}
	}
	if err := d.checkShape(); err != nil {
		return err
	}
	if d.protected() {
		return refused("This gateway cannot check clients' credentials: securityDefinitions and security are not supported.")
	}
	return new(Routes).Add(namespace, d)
}

// checkBounds comes first, so that no check has much to do.
func (d *Document) checkBounds() error {
	total := 0
	for name, path := range d.paths() {
		if strings.Count(d.BasePath()+name, "/") > maxSegments {
			return refused("The path '%s' has more than %d segments.", d.BasePath()+name, maxSegments)
		}
		if total += len(objectOf(path)); total > maxOperations {
			return refused("An API can have %d operations, no more.", maxOperations)
		}
	}
	return nil
}

// checkParameters checks that each parameter of a path is one of each of its
// operations, and that their actions get the path.
func (a assembly) checkParameters(name string, path object) error {
	for _, operation := range operations(path) {
		url := textOf(objectOf(operation["x-openwhisk"])["url"])
		if url != "" && !strings.HasSuffix(url, ".http") {
			return whisk.Errorf(whisk.Invalid, "The action must use a response type of '.http' in order to receive the path parameters.")
		}
		id := textOf(operation["operationId"])
		inv, err := a.invocationOf(operation)
		if err != nil {
			return err
		}
		if inv.target != "" && !strings.HasSuffix(inv.target, ".http"+requestPath) {
			return whisk.Errorf(whisk.Invalid, "The target-url for operationId '%s' must end in '%s' in order for actions to receive the path parameters.", id, requestPath)
		}
		for _, wanted := range anyParameter.FindAllStringSubmatch(name, -1) {
			if !hasParameter(wanted[1], path["parameters"], operation["parameters"]) {
				return whisk.Errorf(whisk.Invalid, "The parameter '%s' defined in path '%s' does not match any of the parameters defined for the path in the swagger file.", wanted[1], name)
			}
		}
	}
	return nil
}

func hasParameter(name string, lists ...any) bool {
	for _, list := range lists {
		for _, parameter := range listOf(list) {
			if objectOf(parameter)["name"] == name {
				return true
			}
		}
	}
	return false
}

// checkShape checks what OpenWhisk's gateway checks.
func (d *Document) checkShape() error {
	switch {
	case d.Title() == "":
		return refused("Missing field 'name' in request body.")
	case textOf(d.fields["basePath"]) == "":
		return refused("Missing field 'basePath' in request body.")
	case strings.Contains(d.BasePath(), "'"):
		return refused(`basePath contains illegal character "'".`)
	case d.Empty():
		return refused("Empty resources object.")
	}
	for _, name := range slices.Sorted(maps.Keys(d.paths())) {
		switch {
		case strings.Contains(name, "'"):
			return refused(`resource path contains illegal character "'".`)
		case !strings.HasPrefix(name, "/"):
			return refused("Resource path must begin with '/'.")
		}
		if err := checkOperations(objectOf(d.paths()[name])); err != nil {
			return err
		}
	}
	return nil
}

func checkOperations(path object) error {
	some := false
	for _, verb := range slices.Sorted(maps.Keys(path)) {
		switch {
		case isNote(verb):
			continue
		case !slices.Contains(verbs, strings.ToLower(verb)):
			return refused("Resource verb '%s' not supported.", verb)
		case objectOf(path[verb]) == nil:
			return refused("The operation '%s' is not an object.", verb)
		}
		some = true
	}
	if !some {
		return refused("Missing or empty field 'operations' or in resource path object.")
	}
	return nil
}

// protected reports whether the document wants clients to show who they are. To
// serve it to everybody would be worse than not to serve it.
func (d *Document) protected() bool {
	return len(objectOf(d.fields["securityDefinitions"])) > 0 || len(listOf(d.fields["security"])) > 0
}

// refused is what is told of the gateway's refusal: its status, and its body.
func refused(format string, args ...any) error {
	text := fmt.Sprintf("Error: "+format, args...)
	body := apijson.AppendString([]byte(`{"status":400,"message":`), text)
	return whisk.Errorf(whisk.Invalid, "Unable to configure the API Gateway (status code 400): %s}", body)
}
