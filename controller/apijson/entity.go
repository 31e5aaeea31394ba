// SPDX-License-Identifier: Apache-2.0

package apijson

import (
	"strconv"
	"time"

	"github.com/whirl-faas/whirl/whisk"
)

// AppendParameters appends parameters or annotations as an array of key/value objects.
func AppendParameters(dst []byte, parameters whisk.Parameters) []byte {
	dst = append(dst, '[')
	for i, p := range parameters {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(append(dst, `{"key":`...), p.Key)
		dst = append(append(dst, `,"value":`...), p.Value...)
		if p.Init {
			dst = append(dst, `,"init":true`...)
		}
		if p.Encryption != "" {
			dst = AppendString(append(dst, `,"encryption":`...), p.Encryption)
		}
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

// AppendLimits appends an action's limits, timeout in ms, memory and logs in MB,
// instances only if they are bounded.
func AppendLimits(dst []byte, limits whisk.ActionLimits) []byte {
	dst = AppendInt(append(dst, `{"concurrency":`...), int64(limits.Concurrency))
	if limits.Instances != nil {
		dst = AppendInt(append(dst, `,"instances":`...), int64(*limits.Instances))
	}
	dst = AppendInt(append(dst, `,"logs":`...), limits.Logs.Megabytes())
	dst = AppendInt(append(dst, `,"memory":`...), limits.Memory.Megabytes())
	dst = AppendInt(append(dst, `,"timeout":`...), limits.Timeout.Milliseconds())
	return append(dst, '}')
}

// AppendAction appends an action as GET, PUT and DELETE show it. A nil code
// leaves exec.code out, a zero binding the name of the binding that it was
// reached through.
func AppendAction(dst []byte, action whisk.Action, code []byte, binding whisk.FullName) []byte {
	dst = appendActionHead(dst, action)
	dst = append(dst, `,"exec":`...)
	dst = appendExec(dst, action.Exec, code)
	dst = AppendParameters(append(dst, `,"parameters":`...), action.Parameters)
	if binding != (whisk.FullName{}) {
		dst = AppendString(append(dst, `,"binding":`...), binding.Path())
	}
	return append(dst, '}')
}

func appendExec(dst []byte, exec whisk.Exec, code []byte) []byte {
	dst = AppendString(append(dst, `{"kind":`...), exec.Kind)
	if exec.Kind == whisk.Sequence {
		dst = append(dst, `,"components":`...)
		return append(AppendNames(dst, exec.Components), '}')
	}
	if exec.Image != "" {
		dst = AppendString(append(dst, `,"image":`...), exec.Image)
	}
	if code != nil {
		dst = AppendString(append(dst, `,"code":`...), code)
	}
	if exec.Main != "" {
		dst = AppendString(append(dst, `,"main":`...), exec.Main)
	}
	dst = strconv.AppendBool(append(dst, `,"binary":`...), exec.Binary)
	return append(dst, '}')
}

// AppendNames appends names as an array of the form in which users write them.
func AppendNames(dst []byte, names []whisk.FullName) []byte {
	dst = append(dst, '[')
	for i, name := range names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, name.String())
	}
	return append(dst, ']')
}

// AppendActionSummary appends an action as lists show it.
func AppendActionSummary(dst []byte, action whisk.Action) []byte {
	dst = appendActionHead(dst, action)
	dst = strconv.AppendBool(append(dst, `,"exec":{"binary":`...), action.Exec.Binary)
	return append(dst, "}}"...)
}

func appendActionHead(dst []byte, action whisk.Action) []byte {
	dst = appendHead(dst, action.Name, action.Version, action.Publish, action.Updated, action.Annotations)
	return AppendLimits(append(dst, `,"limits":`...), action.Limits)
}

// appendHead appends what the entities of all collections begin with.
func appendHead(dst []byte, name whisk.FullName, version whisk.Version, publish bool, updated time.Time, annotations whisk.Parameters) []byte {
	dst = appendNamespace(append(dst, `{"namespace":`...), name)
	dst = AppendString(append(dst, `,"name":`...), name.Name)
	dst = appendVersion(append(dst, `,"version":`...), version)
	dst = strconv.AppendBool(append(dst, `,"publish":`...), publish)
	dst = appendTime(append(dst, `,"updated":`...), updated)
	return AppendParameters(append(dst, `,"annotations":`...), annotations)
}

// appendNamespace appends "ns", or "ns/pkg" for what is in a package.
func appendNamespace(dst []byte, name whisk.FullName) []byte {
	if name.Package == "" {
		return AppendString(dst, name.Namespace)
	}
	return AppendString(dst, name.Namespace+"/"+name.Package)
}

func appendVersion(dst []byte, v whisk.Version) []byte {
	dst = AppendInt(append(dst, '"'), int64(v.Major))
	dst = AppendInt(append(dst, '.'), int64(v.Minor))
	dst = AppendInt(append(dst, '.'), int64(v.Patch))
	return append(dst, '"')
}

func appendTime(dst []byte, t time.Time) []byte { return AppendInt(dst, t.UnixMilli()) }
