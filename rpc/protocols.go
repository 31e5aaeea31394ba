// SPDX-License-Identifier: Apache-2.0

package rpc

import (
	"google.golang.org/grpc"

	"github.com/whirl-faas/whirl/rpc/certs"
	"github.com/whirl-faas/whirl/whisk"
)

// service is one kind of session: who may open it and what it is called.
type service[Request, Reply any] struct {
	name     string
	client   certs.Role // that opens it
	server   certs.Role // that serves it
	requests protocol[Request]
	replies  protocol[Reply]
	// names returns the names under which a message's sender speaks, nil for
	// the kinds of messages that do not say. The first of a session must say.
	names func(Request) []string
}

// method is the gRPC method of every service.
const method = "Session"

var methodDesc = grpc.StreamDesc{StreamName: method, ServerStreams: true, ClientStreams: true}

func factoryService() service[whisk.FactoryRequest, whisk.FactoryEvent] {
	return service[whisk.FactoryRequest, whisk.FactoryEvent]{
		name:     "whirl.v1.ContainerFactory",
		client:   certs.Controller,
		server:   certs.Scheduler,
		requests: protocol[whisk.FactoryRequest]{outFactoryRequest, wired(inFactoryRequest)},
		replies:  protocol[whisk.FactoryEvent]{outFactoryEvent, wired(inFactoryEvent)},
		names: func(m whisk.FactoryRequest) []string {
			if register, ok := m.(whisk.Register); ok {
				return []string{string(register.Controller)}
			}
			return nil
		},
	}
}

func agentService() service[whisk.AgentReport, whisk.AgentCommand] {
	return service[whisk.AgentReport, whisk.AgentCommand]{
		name:     "whirl.v1.Agents",
		client:   certs.Agent,
		server:   certs.Scheduler,
		requests: protocol[whisk.AgentReport]{outAgentReport, wired(inAgentReport)},
		replies:  protocol[whisk.AgentCommand]{outAgentCommand, wired(inAgentCommand)},
		names: func(m whisk.AgentReport) []string {
			switch m := m.(type) {
			case whisk.NodeReport:
				names := []string{string(m.Node)}
				for _, hosted := range m.Containers {
					names = append(names, string(hosted.Container.Node))
				}
				return names
			case whisk.ContainerCreated:
				return []string{string(m.Container.Node)}
			}
			return nil
		},
	}
}

func peerService() service[whisk.Forward, whisk.ForwardReply] {
	return service[whisk.Forward, whisk.ForwardReply]{
		name:     "whirl.v1.Controllers",
		client:   certs.Controller,
		server:   certs.Controller,
		requests: protocol[whisk.Forward]{outForward, wired(inForward)},
		replies:  protocol[whisk.ForwardReply]{outForwardReply, wired(inForwardReply)},
		names:    func(m whisk.Forward) []string { return []string{string(m.Controller)} },
	}
}

func sandboxService() service[whisk.SandboxRequest, whisk.SandboxReply] {
	return service[whisk.SandboxRequest, whisk.SandboxReply]{
		name:     "whirl.v1.Sandboxes",
		client:   certs.Controller,
		server:   certs.Agent,
		requests: protocol[whisk.SandboxRequest]{outSandboxRequest, wired(inSandboxRequest)},
		replies:  protocol[whisk.SandboxReply]{outSandboxReply, wired(inSandboxReply)},
		names: func(m whisk.SandboxRequest) []string {
			if m.Op == whisk.Renew {
				return []string{string(m.Controller)}
			}
			return nil
		},
	}
}
