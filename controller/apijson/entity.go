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

// AppendLimits appends an action's limits, timeout in ms, memory and logs in MB.
func AppendLimits(dst []byte, limits whisk.ActionLimits) []byte {
	dst = AppendInt(append(dst, `{"concurrency":`...), int64(limits.Concurrency))
	dst = AppendInt(append(dst, `,"logs":`...), limits.Logs.Megabytes())
	dst = AppendInt(append(dst, `,"memory":`...), limits.Memory.Megabytes())
	dst = AppendInt(append(dst, `,"timeout":`...), limits.Timeout.Milliseconds())
	return append(dst, '}')
}

// AppendAction appends an action as GET, PUT and DELETE show it. A nil code
// leaves exec.code out.
func AppendAction(dst []byte, action whisk.Action, code []byte) []byte {
	dst = appendHead(dst, action)
	dst = append(dst, `,"exec":{"kind":`...)
	dst = AppendString(dst, action.Exec.Kind)
	if action.Exec.Image != "" {
		dst = AppendString(append(dst, `,"image":`...), action.Exec.Image)
	}
	if code != nil {
		dst = AppendString(append(dst, `,"code":`...), code)
	}
	if action.Exec.Main != "" {
		dst = AppendString(append(dst, `,"main":`...), action.Exec.Main)
	}
	dst = strconv.AppendBool(append(dst, `,"binary":`...), action.Exec.Binary)
	dst = append(dst, `},"parameters":`...)
	dst = AppendParameters(dst, action.Parameters)
	return append(dst, '}')
}

// AppendActionSummary appends an action as lists show it.
func AppendActionSummary(dst []byte, action whisk.Action) []byte {
	dst = appendHead(dst, action)
	dst = strconv.AppendBool(append(dst, `,"exec":{"binary":`...), action.Exec.Binary)
	return append(dst, "}}"...)
}

func appendHead(dst []byte, action whisk.Action) []byte {
	dst = append(dst, `{"namespace":`...)
	dst = appendNamespace(dst, action.Name)
	dst = AppendString(append(dst, `,"name":`...), action.Name.Name)
	dst = appendVersion(append(dst, `,"version":`...), action.Version)
	dst = strconv.AppendBool(append(dst, `,"publish":`...), action.Publish)
	dst = appendTime(append(dst, `,"updated":`...), action.Updated)
	dst = append(dst, `,"annotations":`...)
	dst = AppendParameters(dst, action.Annotations)
	dst = append(dst, `,"limits":`...)
	return AppendLimits(dst, action.Limits)
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
