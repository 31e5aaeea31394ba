// SPDX-License-Identifier: Apache-2.0

package controllertest

import (
	"cmp"
	"context"
	"slices"

	"github.com/whirl-faas/whirl/whisk"
)

// apiName tells APIs apart.
type apiName struct{ namespace, basePath string }

// APIs implements [whisk.APIStore].
func (s *Store) APIs(ctx context.Context, namespace string) (found []whisk.API, err error) {
	err = s.do(ctx, "APIs", func() error {
		for name, api := range s.apis {
			if name.namespace == namespace {
				found = append(found, api)
			}
		}
		slices.SortFunc(found, func(a, b whisk.API) int { return cmp.Compare(a.BasePath, b.BasePath) })
		return nil
	})
	return found, err
}

// PutAPI implements [whisk.APIStore].
func (s *Store) PutAPI(ctx context.Context, api whisk.API) (revision whisk.Revision, err error) {
	err = s.do(ctx, "PutAPI", func() error {
		name := apiName{api.Namespace, api.BasePath}
		if former := s.apis[name]; former.Revision != api.Revision {
			return whisk.Errorf(whisk.Conflict, "revision is %d", former.Revision)
		}
		revision = s.changed(whisk.Change{APIs: api.Namespace})
		api.Revision = revision
		s.apis[name] = api
		return nil
	})
	return revision, err
}

// DeleteAPI implements [whisk.APIStore].
func (s *Store) DeleteAPI(ctx context.Context, namespace, basePath string, revision whisk.Revision) error {
	return s.do(ctx, "DeleteAPI", func() error {
		name := apiName{namespace, basePath}
		former, found := s.apis[name]
		switch {
		case !found:
			return whisk.Errorf(whisk.NotFound, "no API %s", basePath)
		case former.Revision != revision:
			return whisk.Errorf(whisk.Conflict, "revision is %d", former.Revision)
		}
		delete(s.apis, name)
		s.changed(whisk.Change{APIs: namespace})
		return nil
	})
}
