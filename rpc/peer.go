// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"encoding/json"

	"github.com/whirl-faas/whirl/rpc/proto"
	"github.com/whirl-faas/whirl/whisk"
)

// The messages of the peer protocol, from and to their wire form.

func outForward(f *fields, m whisk.Forward) frame {
	return &proto.PeerRequest{Kind: &proto.PeerRequest_Forward{Forward: &proto.Forward{
		Seq:         m.Seq,
		Controller:  f.name("controller", string(m.Controller)),
		Activation:  f.activation(string(m.Activation)),
		Key:         f.outKey(m.Key),
		StartByIn:   f.outTime("start by", m.StartBy),
		Timeout:     f.outDuration("timeout", m.Timeout),
		Logs:        f.outBytes("logs", m.Logs),
		ResultLimit: f.outBytes("result limit", m.ResultLimit),
		Sentinels:   m.Sentinels,
		Run:         f.body("run", m.Run),
	}}}
}

func inForward(f *fields, wire *proto.PeerRequest) whisk.Forward {
	forward, ok := wire.Kind.(*proto.PeerRequest_Forward)
	if !ok {
		f.refuse("message", "is a peer's request of unknown kind")
		return whisk.Forward{}
	}
	m := forward.Forward
	return whisk.Forward{
		Seq:         m.Seq,
		Controller:  whisk.ControllerID(f.name("controller", m.Controller)),
		Activation:  whisk.ActivationID(f.activation(m.Activation)),
		Key:         f.inKey(m.Key),
		StartBy:     f.inTime("start by", m.StartByIn),
		Timeout:     f.inDuration("timeout", m.Timeout),
		Logs:        f.inBytes("logs", m.Logs),
		ResultLimit: f.inBytes("result limit", m.ResultLimit),
		Sentinels:   m.Sentinels,
		Run:         f.body("run", m.Run),
	}
}

func outForwardReply(f *fields, message whisk.ForwardReply) frame {
	out := &proto.PeerReply{}
	switch m := message.(type) {
	case whisk.ForwardTaken:
		out.Kind = &proto.PeerReply_Taken{Taken: &proto.ForwardTaken{Seq: m.Seq, Container: f.container(string(m.Container))}}
	case whisk.ForwardRefused:
		out.Kind = &proto.PeerReply_Refused{Refused: &proto.ForwardRefused{Seq: m.Seq, Reason: legible(m.Reason)}}
	case whisk.ForwardEnded:
		out.Kind = &proto.PeerReply_Ended{Ended: &proto.ForwardEnded{
			Seq:      m.Seq,
			Status:   outEnum[proto.ActivationStatus](f, "status", f.status(m.Response.Status), uint8(whisk.WhiskError)),
			Result:   f.result(m.Response.Result),
			Size:     f.outBytes("size", whisk.Bytes(m.Response.Size)),
			StartIn:  f.outTime("start", m.Start),
			RunTime:  f.outDuration("run time", m.Run),
			TimedOut: m.TimedOut,
			Logs:     m.Logs,
		}}
	case whisk.ForwardLogged:
		out.Kind = &proto.PeerReply_Logged{Logged: &proto.ForwardLogged{
			Seq: m.Seq, Error: f.outError(m.Kind, m.Err), Logs: f.outSummary(m.Logs),
		}}
	default:
		f.refuse("message", "%T is no peer's reply", message)
	}
	return out
}

func inForwardReply(f *fields, wire *proto.PeerReply) whisk.ForwardReply {
	switch m := wire.Kind.(type) {
	case *proto.PeerReply_Taken:
		return whisk.ForwardTaken{Seq: m.Taken.Seq, Container: whisk.ContainerID(f.container(m.Taken.Container))}
	case *proto.PeerReply_Refused:
		return whisk.ForwardRefused{Seq: m.Refused.Seq, Reason: f.text("reason", m.Refused.Reason)}
	case *proto.PeerReply_Ended:
		return whisk.ForwardEnded{
			Seq: m.Ended.Seq,
			Response: whisk.Response{
				Status: whisk.Status(inEnum(f, "status", m.Ended.Status, uint8(whisk.WhiskError))),
				Result: f.result(m.Ended.Result),
				Size:   int(f.inBytes("size", m.Ended.Size)),
			},
			Start:    f.inTime("start", m.Ended.StartIn),
			Run:      f.inDuration("run time", m.Ended.RunTime),
			TimedOut: m.Ended.TimedOut,
			Logs:     m.Ended.Logs,
		}
	case *proto.PeerReply_Logged:
		in := whisk.ForwardLogged{Seq: m.Logged.Seq, Logs: f.inSummary(m.Logged.Logs)}
		in.Kind, in.Err = f.inError(m.Logged.Error)
		return in
	}
	f.refuse("message", "is a peer's reply of unknown kind")
	return nil
}

// status makes a status fit for outEnum.
func (f *fields) status(s whisk.Status) uint8 {
	if s < whisk.Success || s > whisk.WhiskError {
		f.refuse("status", "is %d, not between %d and %d", int(s), int(whisk.Success), int(whisk.WhiskError))
		return 0
	}
	return uint8(s)
}

// body checks what is not looked into, but must be there.
func (f *fields) body(field string, b []byte) []byte {
	if len(b) == 0 {
		f.refuse(field, "is missing")
	}
	return b
}

// result checks what ends up in a record, where garbage would spoil the whole.
func (f *fields) result(r json.RawMessage) json.RawMessage {
	if len(r) == 0 {
		return nil
	}
	if r[0] != '{' && r[0] != '[' || !json.Valid(r) {
		f.refuse("result", "is no JSON object or array")
	}
	return r
}
