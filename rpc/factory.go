// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"github.com/whirl-faas/whirl/rpc/proto"
	"github.com/whirl-faas/whirl/whisk"
)

// The messages of the Container Factory Protocol, from and to their wire form.

func outFactoryRequest(f *fields, message whisk.FactoryRequest) frame {
	out := &proto.FactoryRequest{}
	switch m := message.(type) {
	case whisk.Register:
		out.Kind = &proto.FactoryRequest_Register{Register: f.outRegister(m)}
	case whisk.Requisition:
		out.Kind = &proto.FactoryRequest_Requisition{Requisition: f.outRequisition(m)}
	case whisk.Withdraw:
		out.Kind = &proto.FactoryRequest_Withdraw{Withdraw: &proto.Withdraw{
			Id:    uint64(m.ID),
			Count: f.outCount("count", m.Count, 0),
		}}
	case whisk.StateReport:
		out.Kind = &proto.FactoryRequest_StateReport{StateReport: f.outStateReport(m)}
	case whisk.Release:
		out.Kind = &proto.FactoryRequest_Release{Release: &proto.Release{
			Container: f.container(string(m.Container)),
			Reason:    outEnum[proto.ReleaseReason](f, "release reason", m.Reason, whisk.ReleaseStale),
		}}
	case whisk.KeepAlive:
		out.Kind = &proto.FactoryRequest_KeepAlive{KeepAlive: &proto.KeepAlive{Epoch: m.Epoch}}
	default:
		f.refuse("message", "%T is no factory request", message)
	}
	return out
}

func inFactoryRequest(f *fields, wire *proto.FactoryRequest) whisk.FactoryRequest {
	switch m := wire.Kind.(type) {
	case *proto.FactoryRequest_Register:
		return f.inRegister(m.Register)
	case *proto.FactoryRequest_Requisition:
		return f.inRequisition(m.Requisition)
	case *proto.FactoryRequest_Withdraw:
		return whisk.Withdraw{
			ID:    whisk.RequisitionID(m.Withdraw.Id),
			Count: f.inCount("count", uint64(m.Withdraw.Count), 0),
		}
	case *proto.FactoryRequest_StateReport:
		return f.inStateReport(m.StateReport)
	case *proto.FactoryRequest_Release:
		return whisk.Release{
			Container: whisk.ContainerID(f.container(m.Release.Container)),
			Reason:    inEnum(f, "release reason", m.Release.Reason, whisk.ReleaseStale),
		}
	case *proto.FactoryRequest_KeepAlive:
		return whisk.KeepAlive{Epoch: m.KeepAlive.Epoch}
	}
	f.refuse("message", "is a factory request of unknown kind")
	return nil
}

func outFactoryEvent(f *fields, message whisk.FactoryEvent) frame {
	out := &proto.FactoryEvent{}
	switch m := message.(type) {
	case whisk.Allocation:
		out.Kind = &proto.FactoryEvent_Allocation{Allocation: &proto.Allocation{
			Requisition: uint64(m.Requisition),
			Container:   f.outContainer(m.Container),
			Agent:       f.line("agent's address", m.Agent, longestAddress),
			Origin:      outEnum[proto.Origin](f, "origin", m.Origin, whisk.Transferred),
			Creation:    f.outDuration("creation", m.Creation),
		}}
	case whisk.Redirect:
		out.Kind = &proto.FactoryEvent_Redirect{Redirect: &proto.Redirect{
			Requisition: uint64(m.Requisition),
			Controller:  f.name("controller", string(m.Controller)),
			Peers:       f.line("peers' address", m.Peers, longestAddress),
		}}
	case whisk.Rejection:
		out.Kind = &proto.FactoryEvent_Rejection{Rejection: &proto.Rejection{
			Requisition: uint64(m.Requisition),
			Reason:      outEnum[proto.RejectReason](f, "reject reason", m.Reason, whisk.Overloaded),
			Message:     legible(m.Message),
			RetryAfter:  f.outDuration("retry after", m.RetryAfter),
		}}
	case whisk.Reclaim:
		out.Kind = &proto.FactoryEvent_Reclaim{Reclaim: &proto.Reclaim{
			Container: f.container(string(m.Container)),
			Drain:     m.Drain,
		}}
	case whisk.Lost:
		out.Kind = &proto.FactoryEvent_Lost{Lost: &proto.Lost{
			Container: f.container(string(m.Container)),
			Reason:    legible(m.Reason),
		}}
	case whisk.Roster:
		out.Kind = &proto.FactoryEvent_Roster{Roster: f.outRoster(m)}
	case whisk.KeepAlive:
		out.Kind = &proto.FactoryEvent_KeepAlive{KeepAlive: &proto.KeepAlive{Epoch: m.Epoch}}
	default:
		f.refuse("message", "%T is no factory event", message)
	}
	return out
}

func inFactoryEvent(f *fields, wire *proto.FactoryEvent) whisk.FactoryEvent {
	switch m := wire.Kind.(type) {
	case *proto.FactoryEvent_Allocation:
		return whisk.Allocation{
			Requisition: whisk.RequisitionID(m.Allocation.Requisition),
			Container:   f.inContainer(m.Allocation.Container),
			Agent:       f.line("agent's address", m.Allocation.Agent, longestAddress),
			Origin:      inEnum(f, "origin", m.Allocation.Origin, whisk.Transferred),
			Creation:    f.inDuration("creation", m.Allocation.Creation),
		}
	case *proto.FactoryEvent_Redirect:
		return whisk.Redirect{
			Requisition: whisk.RequisitionID(m.Redirect.Requisition),
			Controller:  whisk.ControllerID(f.name("controller", m.Redirect.Controller)),
			Peers:       f.line("peers' address", m.Redirect.Peers, longestAddress),
		}
	case *proto.FactoryEvent_Rejection:
		return whisk.Rejection{
			Requisition: whisk.RequisitionID(m.Rejection.Requisition),
			Reason:      inEnum(f, "reject reason", m.Rejection.Reason, whisk.Overloaded),
			Message:     f.text("message", m.Rejection.Message),
			RetryAfter:  f.inDuration("retry after", m.Rejection.RetryAfter),
		}
	case *proto.FactoryEvent_Reclaim:
		return whisk.Reclaim{
			Container: whisk.ContainerID(f.container(m.Reclaim.Container)),
			Drain:     m.Reclaim.Drain,
		}
	case *proto.FactoryEvent_Lost:
		return whisk.Lost{
			Container: whisk.ContainerID(f.container(m.Lost.Container)),
			Reason:    f.text("reason", m.Lost.Reason),
		}
	case *proto.FactoryEvent_Roster:
		return f.inRoster(m.Roster)
	case *proto.FactoryEvent_KeepAlive:
		return whisk.KeepAlive{Epoch: m.KeepAlive.Epoch}
	}
	f.refuse("message", "is a factory event of unknown kind")
	return nil
}

func (f *fields) outRegister(m whisk.Register) *proto.Register {
	out := &proto.Register{
		Controller: f.name("controller", string(m.Controller)),
		Epoch:      m.Epoch,
		Peers:      f.line("peers' address", m.Peers, longestAddress),
	}
	for _, held := range m.Held {
		out.Held = append(out.Held, &proto.HeldContainer{
			Container:   f.container(string(held.Container)),
			Node:        f.name("node", string(held.Node)),
			Key:         f.outKey(held.Key),
			Concurrency: f.outCount("concurrency", held.Concurrency, 1),
			Instances:   f.outCount("instances", held.Instances, 0),
			State:       outEnum[proto.UseState](f, "use state", held.State, whisk.Free),
		})
	}
	return out
}

func (f *fields) inRegister(m *proto.Register) whisk.Register {
	in := whisk.Register{
		Controller: whisk.ControllerID(f.name("controller", m.Controller)),
		Epoch:      m.Epoch,
		Peers:      f.line("peers' address", m.Peers, longestAddress),
	}
	for _, held := range m.Held {
		in.Held = append(in.Held, whisk.HeldContainer{
			Container:   whisk.ContainerID(f.container(held.Container)),
			Node:        whisk.NodeID(f.name("node", held.Node)),
			Key:         f.inKey(held.Key),
			Concurrency: f.inCount("concurrency", uint64(held.Concurrency), 1),
			Instances:   f.inCount("instances", uint64(held.Instances), 0),
			State:       inEnum(f, "use state", held.State, whisk.Free),
		})
		if f.err != nil {
			break
		}
	}
	return in
}

func (f *fields) outRequisition(m whisk.Requisition) *proto.Requisition {
	return &proto.Requisition{
		Id:          uint64(m.ID),
		Key:         f.outKey(m.Key),
		Spec:        f.outSpec(m.Spec),
		Concurrency: f.outCount("concurrency", m.Concurrency, 1),
		Instances:   f.outCount("instances", m.Instances, 0),
		Count:       f.outCount("count", m.Count, 1),
		DeadlineIn:  f.outTime("deadline", m.Deadline),
		Label:       f.optional("label", m.Label),
		Own:         m.Own,
	}
}

func (f *fields) inRequisition(m *proto.Requisition) whisk.Requisition {
	return whisk.Requisition{
		ID:          whisk.RequisitionID(m.Id),
		Key:         f.inKey(m.Key),
		Spec:        f.inSpec(m.Spec),
		Concurrency: f.inCount("concurrency", uint64(m.Concurrency), 1),
		Instances:   f.inCount("instances", uint64(m.Instances), 0),
		Count:       f.inCount("count", uint64(m.Count), 1),
		Deadline:    f.inTime("deadline", m.DeadlineIn),
		Label:       f.optional("label", m.Label),
		Own:         m.Own,
	}
}

func (f *fields) outStateReport(m whisk.StateReport) *proto.StateReport {
	out := &proto.StateReport{}
	for _, use := range m.States {
		out.States = append(out.States, &proto.ContainerUse{
			Container: f.container(string(use.Container)),
			State:     outEnum[proto.UseState](f, "use state", use.State, whisk.Free),
			SinceIn:   f.outTime("since", use.Since),
		})
	}
	return out
}

func (f *fields) inStateReport(m *proto.StateReport) whisk.StateReport {
	in := whisk.StateReport{}
	for _, use := range m.States {
		in.States = append(in.States, whisk.ContainerUse{
			Container: whisk.ContainerID(f.container(use.Container)),
			State:     inEnum(f, "use state", use.State, whisk.Free),
			Since:     f.inTime("since", use.SinceIn),
		})
		if f.err != nil {
			break
		}
	}
	return in
}

func (f *fields) outRoster(m whisk.Roster) *proto.Roster {
	out := &proto.Roster{Controllers: f.outCount("controllers", m.Controllers, 0), Partial: m.Partial}
	for _, standing := range m.Nodes {
		out.Nodes = append(out.Nodes, &proto.NodeStanding{
			Node:  f.name("node", string(standing.Node)),
			State: outEnum[proto.NodeState](f, "node state", standing.State, whisk.NodeDrained),
		})
	}
	return out
}

func (f *fields) inRoster(m *proto.Roster) whisk.Roster {
	in := whisk.Roster{Controllers: f.inCount("controllers", uint64(m.Controllers), 0), Partial: m.Partial}
	for _, standing := range m.Nodes {
		in.Nodes = append(in.Nodes, whisk.NodeStanding{
			Node:  whisk.NodeID(f.name("node", standing.Node)),
			State: inEnum(f, "node state", standing.State, whisk.NodeDrained),
		})
		if f.err != nil {
			break
		}
	}
	return in
}
