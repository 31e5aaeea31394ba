// SPDX-License-Identifier: Apache-2.0

package httpapi

import (
	"net/http"

	"github.com/whirl-faas/whirl/controller/apijson"
	"github.com/whirl-faas/whirl/whisk"
)

func (x *exchange) servePackage(name whisk.FullName) {
	switch x.r.Method {
	case http.MethodPut:
		if x.owns(name) {
			x.put(func(body []byte, overwrite bool) {
				x.answerPackage(x.api.PutPackage(x.r.Context(), x.caller, name, body, overwrite))
			})
		}
	case http.MethodGet:
		pkg, err := x.api.Package(x.r.Context(), x.caller, name)
		x.answerEntity(err, func(dst []byte) []byte {
			return apijson.AppendPackageContents(dst, pkg.Package, pkg.Actions, pkg.Feeds)
		})
	case http.MethodDelete:
		if x.owns(name) {
			x.deletePackage(name)
		}
	}
}

func (x *exchange) deletePackage(name whisk.FullName) {
	q := x.query()
	force := q.boolean("force", false)
	if q.err != nil {
		x.refuse(q.err)
		return
	}
	x.answerPackage(x.api.DeletePackage(x.r.Context(), x.caller, name, force))
}

func (x *exchange) answerPackage(pkg whisk.Package, err error) {
	x.answerEntity(err, func(dst []byte) []byte { return apijson.AppendPackage(dst, pkg) })
}
