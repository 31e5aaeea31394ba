// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"github.com/whirl-faas/whirl/rpc/proto"
	"github.com/whirl-faas/whirl/whisk"
)

// The messages of the agent protocol, from and to their wire form.

func outAgentCommand(f *fields, message whisk.AgentCommand) frame {
	out := &proto.AgentCommand{}
	switch m := message.(type) {
	case whisk.CreateContainer:
		out.Kind = &proto.AgentCommand_CreateContainer{CreateContainer: &proto.CreateContainer{
			Epoch:     m.Epoch,
			Container: f.container(string(m.Container)),
			Spec:      f.outSpec(m.Spec),
			Label:     f.optional("label", m.Label),
			Lessee:    f.optional("lessee", string(m.Lessee)),
		}}
	case whisk.GrantLease:
		out.Kind = &proto.AgentCommand_GrantLease{GrantLease: &proto.GrantLease{
			Epoch:     m.Epoch,
			Container: f.container(string(m.Container)),
			From:      f.optional("from", string(m.From)),
			To:        f.optional("to", string(m.To)),
			Order:     m.Order,
		}}
	case whisk.RemoveContainer:
		out.Kind = &proto.AgentCommand_RemoveContainer{RemoveContainer: &proto.RemoveContainer{
			Epoch:     m.Epoch,
			Container: f.container(string(m.Container)),
			Lessee:    f.optional("lessee", string(m.Lessee)),
		}}
	case whisk.DrainNode:
		out.Kind = &proto.AgentCommand_DrainNode{DrainNode: &proto.DrainNode{Epoch: m.Epoch, Drain: m.Drain}}
	case whisk.KeepAlive:
		out.Kind = &proto.AgentCommand_KeepAlive{KeepAlive: &proto.KeepAlive{Epoch: m.Epoch}}
	default:
		f.refuse("message", "%T is no agent command", message)
	}
	return out
}

func inAgentCommand(f *fields, wire *proto.AgentCommand) whisk.AgentCommand {
	switch m := wire.Kind.(type) {
	case *proto.AgentCommand_CreateContainer:
		return whisk.CreateContainer{
			Epoch:     m.CreateContainer.Epoch,
			Container: whisk.ContainerID(f.container(m.CreateContainer.Container)),
			Spec:      f.inSpec(m.CreateContainer.Spec),
			Label:     f.optional("label", m.CreateContainer.Label),
			Lessee:    whisk.ControllerID(f.optional("lessee", m.CreateContainer.Lessee)),
		}
	case *proto.AgentCommand_GrantLease:
		return whisk.GrantLease{
			Epoch:     m.GrantLease.Epoch,
			Container: whisk.ContainerID(f.container(m.GrantLease.Container)),
			From:      whisk.ControllerID(f.optional("from", m.GrantLease.From)),
			To:        whisk.ControllerID(f.optional("to", m.GrantLease.To)),
			Order:     m.GrantLease.Order,
		}
	case *proto.AgentCommand_RemoveContainer:
		return whisk.RemoveContainer{
			Epoch:     m.RemoveContainer.Epoch,
			Container: whisk.ContainerID(f.container(m.RemoveContainer.Container)),
			Lessee:    whisk.ControllerID(f.optional("lessee", m.RemoveContainer.Lessee)),
		}
	case *proto.AgentCommand_DrainNode:
		return whisk.DrainNode{Epoch: m.DrainNode.Epoch, Drain: m.DrainNode.Drain}
	case *proto.AgentCommand_KeepAlive:
		return whisk.KeepAlive{Epoch: m.KeepAlive.Epoch}
	}
	f.refuse("message", "is an agent command of unknown kind")
	return nil
}

func outAgentReport(f *fields, message whisk.AgentReport) frame {
	out := &proto.AgentReport{}
	switch m := message.(type) {
	case whisk.NodeReport:
		out.Kind = &proto.AgentReport_NodeReport{NodeReport: f.outNodeReport(m)}
	case whisk.ContainerCreated:
		out.Kind = &proto.AgentReport_ContainerCreated{ContainerCreated: &proto.ContainerCreated{
			Container: f.outContainer(m.Container),
			Took:      f.outDuration("took", m.Took),
		}}
	case whisk.CreationFailed:
		out.Kind = &proto.AgentReport_CreationFailed{CreationFailed: &proto.CreationFailed{
			Container: f.container(string(m.Container)),
			Fault:     outEnum[proto.Fault](f, "fault", m.Fault, whisk.UserFault),
			Message:   legible(m.Message),
		}}
	case whisk.LeaseGranted:
		out.Kind = &proto.AgentReport_LeaseGranted{LeaseGranted: &proto.LeaseGranted{
			Container: f.container(string(m.Container)),
			Lessee:    f.optional("lessee", string(m.Lessee)),
			Order:     m.Order,
		}}
	case whisk.LeaseRefused:
		out.Kind = &proto.AgentReport_LeaseRefused{LeaseRefused: &proto.LeaseRefused{
			Container: f.container(string(m.Container)),
			Lessee:    f.optional("lessee", string(m.Lessee)),
			Reason:    legible(m.Reason),
			Order:     m.Order,
		}}
	case whisk.ContainerGone:
		out.Kind = &proto.AgentReport_ContainerGone{ContainerGone: &proto.ContainerGone{
			Container: f.container(string(m.Container)),
			Expected:  m.Expected,
			Reason:    legible(m.Reason),
		}}
	case whisk.KeepAlive:
		out.Kind = &proto.AgentReport_KeepAlive{KeepAlive: &proto.KeepAlive{Epoch: m.Epoch}}
	default:
		f.refuse("message", "%T is no agent report", message)
	}
	return out
}

func inAgentReport(f *fields, wire *proto.AgentReport) whisk.AgentReport {
	switch m := wire.Kind.(type) {
	case *proto.AgentReport_NodeReport:
		return f.inNodeReport(m.NodeReport)
	case *proto.AgentReport_ContainerCreated:
		return whisk.ContainerCreated{
			Container: f.inContainer(m.ContainerCreated.Container),
			Took:      f.inDuration("took", m.ContainerCreated.Took),
		}
	case *proto.AgentReport_CreationFailed:
		return whisk.CreationFailed{
			Container: whisk.ContainerID(f.container(m.CreationFailed.Container)),
			Fault:     inEnum(f, "fault", m.CreationFailed.Fault, whisk.UserFault),
			Message:   f.text("message", m.CreationFailed.Message),
		}
	case *proto.AgentReport_LeaseGranted:
		return whisk.LeaseGranted{
			Container: whisk.ContainerID(f.container(m.LeaseGranted.Container)),
			Lessee:    whisk.ControllerID(f.optional("lessee", m.LeaseGranted.Lessee)),
			Order:     m.LeaseGranted.Order,
		}
	case *proto.AgentReport_LeaseRefused:
		return whisk.LeaseRefused{
			Container: whisk.ContainerID(f.container(m.LeaseRefused.Container)),
			Lessee:    whisk.ControllerID(f.optional("lessee", m.LeaseRefused.Lessee)),
			Reason:    f.text("reason", m.LeaseRefused.Reason),
			Order:     m.LeaseRefused.Order,
		}
	case *proto.AgentReport_ContainerGone:
		return whisk.ContainerGone{
			Container: whisk.ContainerID(f.container(m.ContainerGone.Container)),
			Expected:  m.ContainerGone.Expected,
			Reason:    f.text("reason", m.ContainerGone.Reason),
		}
	case *proto.AgentReport_KeepAlive:
		return whisk.KeepAlive{Epoch: m.KeepAlive.Epoch}
	}
	f.refuse("message", "is an agent report of unknown kind")
	return nil
}

func (f *fields) outNodeReport(m whisk.NodeReport) *proto.NodeReport {
	out := &proto.NodeReport{
		Node:     f.name("node", string(m.Node)),
		Epoch:    m.Epoch,
		Memory:   f.outBytes("memory", m.Memory),
		Problem:  legible(m.Problem),
		Draining: m.Draining,
		Address:  f.line("agent's address", m.Address, longestAddress),
		Probes:   f.line("address of the agent's probes", m.Probes, longestAddress),
	}
	for _, hosted := range m.Containers {
		out.Containers = append(out.Containers, &proto.HostedContainer{
			Container: f.outContainer(hosted.Container),
			Lessee:    f.optional("lessee", string(hosted.Lessee)),
			Used:      hosted.Used,
			Making:    hosted.Making,
		})
	}
	return out
}

func (f *fields) inNodeReport(m *proto.NodeReport) whisk.NodeReport {
	in := whisk.NodeReport{
		Node:     whisk.NodeID(f.name("node", m.Node)),
		Epoch:    m.Epoch,
		Memory:   f.inBytes("memory", m.Memory),
		Problem:  f.text("problem", m.Problem),
		Draining: m.Draining,
		Address:  f.line("agent's address", m.Address, longestAddress),
		Probes:   f.line("address of the agent's probes", m.Probes, longestAddress),
	}
	for _, hosted := range m.Containers {
		in.Containers = append(in.Containers, whisk.HostedContainer{
			Container: f.inContainer(hosted.Container),
			Lessee:    whisk.ControllerID(f.optional("lessee", hosted.Lessee)),
			Used:      hosted.Used,
			Making:    hosted.Making,
		})
		if f.err != nil {
			break
		}
	}
	return in
}
