// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"github.com/whirl-faas/whirl/rpc/proto"
	"github.com/whirl-faas/whirl/whisk"
)

// The messages of the sandbox protocol, from and to their wire form. A request
// carries only what its operation needs.

func outSandboxRequest(f *fields, m whisk.SandboxRequest) frame {
	out := &proto.SandboxRequest{Seq: m.Seq}
	of := func() *proto.OfContainer { return &proto.OfContainer{Container: f.container(string(m.Container))} }
	switch m.Op {
	case whisk.Renew:
		out.Op = &proto.SandboxRequest_Renew{Renew: &proto.Renew{Controller: f.name("controller", string(m.Controller))}}
	case whisk.Suspend:
		out.Op = &proto.SandboxRequest_Suspend{Suspend: of()}
	case whisk.Resume:
		out.Op = &proto.SandboxRequest_Resume{Resume: of()}
	case whisk.CollectLogs:
		out.Op = &proto.SandboxRequest_CollectLogs{CollectLogs: &proto.CollectLogs{
			Container:  f.container(string(m.Container)),
			Activation: f.activation(string(m.Logs.Activation)),
			Namespace:  f.name("namespace", m.Logs.Namespace),
			Run:        m.Logs.Run,
			Limit:      f.outBytes("limit", m.Logs.Limit),
			Sentinels:  m.Logs.Sentinels,
			Failed:     m.Logs.Failed,
		}}
	case whisk.Inspect:
		out.Op = &proto.SandboxRequest_Inspect{Inspect: of()}
	default:
		f.refuse("operation", "is of unknown kind %d", uint8(m.Op))
	}
	return out
}

func inSandboxRequest(f *fields, wire *proto.SandboxRequest) whisk.SandboxRequest {
	in := whisk.SandboxRequest{Seq: wire.Seq}
	of := func(m *proto.OfContainer) whisk.ContainerID { return whisk.ContainerID(f.container(m.Container)) }
	switch m := wire.Op.(type) {
	case *proto.SandboxRequest_Renew:
		in.Op, in.Controller = whisk.Renew, whisk.ControllerID(f.name("controller", m.Renew.Controller))
	case *proto.SandboxRequest_Suspend:
		in.Op, in.Container = whisk.Suspend, of(m.Suspend)
	case *proto.SandboxRequest_Resume:
		in.Op, in.Container = whisk.Resume, of(m.Resume)
	case *proto.SandboxRequest_CollectLogs:
		in.Op, in.Container = whisk.CollectLogs, whisk.ContainerID(f.container(m.CollectLogs.Container))
		in.Logs = whisk.LogRequest{
			Activation: whisk.ActivationID(f.activation(m.CollectLogs.Activation)),
			Namespace:  f.name("namespace", m.CollectLogs.Namespace),
			Run:        m.CollectLogs.Run,
			Limit:      f.inBytes("limit", m.CollectLogs.Limit),
			Sentinels:  m.CollectLogs.Sentinels,
			Failed:     m.CollectLogs.Failed,
		}
	case *proto.SandboxRequest_Inspect:
		in.Op, in.Container = whisk.Inspect, of(m.Inspect)
	default:
		f.refuse("operation", "is of unknown kind")
	}
	return in
}

// activation checks an activation's id.
func (f *fields) activation(s string) string {
	if err := whisk.CheckActivationID(s); err != nil {
		f.refuse("activation", "%w", err)
	}
	return s
}

func outSandboxReply(f *fields, m whisk.SandboxReply) frame {
	out := &proto.SandboxReply{Seq: m.Seq, Frozen: m.Frozen, Error: f.outError(m.Kind, m.Err), Logs: f.outSummary(m.Logs)}
	if m.Exit != nil {
		out.Exit = &proto.Exit{Code: f.outCode(m.Exit.Code), OutOfMemory: m.Exit.OutOfMemory}
	}
	return out
}

func inSandboxReply(f *fields, wire *proto.SandboxReply) whisk.SandboxReply {
	in := whisk.SandboxReply{Seq: wire.Seq, Frozen: wire.Frozen, Logs: f.inSummary(wire.Logs)}
	in.Kind, in.Err = f.inError(wire.Error)
	if wire.Exit != nil {
		in.Exit = &whisk.Exit{Code: int(wire.Exit.Code), OutOfMemory: wire.Exit.OutOfMemory}
	}
	return in
}

// outError converts an error that is there if it has a text.
func (f *fields) outError(kind whisk.Kind, text string) *proto.Error {
	if text == "" {
		return nil
	}
	return &proto.Error{Kind: outEnum[proto.ErrorKind](f, "error kind", kind, whisk.Unavailable), Text: legible(text)}
}

func (f *fields) inError(m *proto.Error) (kind whisk.Kind, text string) {
	if m == nil {
		return 0, ""
	}
	kind = inEnum(f, "error kind", m.Kind, whisk.Unavailable)
	if text = f.text("error text", m.Text); text == "" {
		f.refuse("error text", "is missing")
	}
	return kind, text
}

func (f *fields) outSummary(s whisk.LogSummary) *proto.LogSummary {
	if s == (whisk.LogSummary{}) {
		return nil
	}
	return &proto.LogSummary{
		Lines:     uint64(f.outCount("lines", s.Lines, 0)),
		Bytes:     f.outBytes("bytes", s.Bytes),
		Truncated: s.Truncated,
		Missing:   s.Missing,
	}
}

func (f *fields) inSummary(m *proto.LogSummary) whisk.LogSummary {
	if m == nil {
		return whisk.LogSummary{}
	}
	return whisk.LogSummary{
		Lines:     f.inCount("lines", m.Lines, 0),
		Bytes:     f.inBytes("bytes", m.Bytes),
		Truncated: m.Truncated,
		Missing:   m.Missing,
	}
}

func (f *fields) outCode(code int) int32 {
	if int(int32(code)) != code {
		f.refuse("exit code", "%d is too large", code)
	}
	return int32(code)
}
