// SPDX-License-Identifier: Apache-2.0

package apijson

import (
	"strconv"

	"github.com/whirl-faas/whirl/whisk"
)

// AppendActivation appends a whole record, with the logs that it carries.
func AppendActivation(dst []byte, record *whisk.Activation) []byte {
	dst = appendRecordHead(dst, record)
	dst = AppendString(append(dst, `,"subject":`...), record.Subject)
	dst = append(dst, `,"response":`...)
	dst = AppendResponse(dst, record.Response)
	dst = append(dst, `,"logs":`...)
	dst = appendLines(dst, record.Logs)
	return append(dst, '}')
}

// AppendActivationSummary appends a record as lists show it.
func AppendActivationSummary(dst []byte, record *whisk.Activation) []byte {
	dst = appendRecordHead(dst, record)
	if !record.End.IsZero() {
		dst = AppendInt(append(dst, `,"statusCode":`...), int64(record.Response.Status))
	}
	return append(dst, '}')
}

// AppendResponse appends what an activation produced, as /result shows it.
func AppendResponse(dst []byte, response whisk.Response) []byte {
	dst = append(dst, '{')
	if response.Result != nil {
		dst = append(append(dst, `"result":`...), response.Result...)
		dst = AppendInt(append(dst, `,"size":`...), int64(response.Size))
		dst = append(dst, ',')
	}
	dst = append(dst, `"status":"`...)
	dst = append(append(dst, response.Status.String()...), `","success":`...)
	dst = strconv.AppendBool(dst, response.Status == whisk.Success)
	return append(dst, '}')
}

// AppendLogs appends the document of /logs.
func AppendLogs(dst []byte, lines []string) []byte {
	dst = appendLines(append(dst, `{"logs":`...), lines)
	return append(dst, '}')
}

func appendRecordHead(dst []byte, record *whisk.Activation) []byte {
	dst = append(dst, `{"activationId":"`...)
	dst = append(append(dst, record.ID...), `","namespace":`...)
	dst = AppendString(dst, record.Namespace)
	dst = AppendString(append(dst, `,"name":`...), record.Name)
	dst = appendVersion(append(dst, `,"version":`...), record.Version)
	dst = strconv.AppendBool(append(dst, `,"publish":`...), record.Publish)
	dst = append(dst, `,"annotations":`...)
	dst = AppendParameters(dst, record.Annotations)
	dst = appendTime(append(dst, `,"start":`...), record.Start)
	if !record.End.IsZero() {
		dst = appendTime(append(dst, `,"end":`...), record.End)
		dst = AppendInt(append(dst, `,"duration":`...), record.Duration.Milliseconds())
	}
	if record.Cause != "" {
		dst = AppendString(append(dst, `,"cause":`...), string(record.Cause))
	}
	return dst
}

func appendLines(dst []byte, lines []string) []byte {
	dst = append(dst, '[')
	for i, line := range lines {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = AppendString(dst, line)
	}
	return append(dst, ']')
}
