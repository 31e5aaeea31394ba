// SPDX-License-Identifier: Apache-2.0

package whisk

import "time"

// Package groups actions of a namespace and gives them parameters. One with a
// binding has no actions of its own: it stands for the package that it is bound
// to, with parameters of its own over that one's.
type Package struct {
	Name        FullName // without a package
	Version     Version
	Publish     bool     // others may read it and run its actions; without effect on a binding
	Binding     FullName // the package that it stands for, zero for none
	Parameters  Parameters
	Annotations Parameters
	Updated     time.Time // set by the server at each write, to the millisecond
}

// IsBinding reports whether p stands for another package.
func (p Package) IsBinding() bool { return p.Binding != FullName{} }
