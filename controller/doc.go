// SPDX-License-Identifier: Apache-2.0

// Package controller holds the platform's use cases: authenticate a caller, keep
// actions, packages, triggers and rules, run actions and compositions of them, fire
// triggers, and keep the records of what ran. The REST API of controller/httpapi
// is one way in.
//
// The entities of each collection have a file of use cases (actions.go, write.go,
// packages.go, triggers.go, rules.go); body.go reads what clients send, stored.go
// says how it is kept, access.go who may do what. A call goes from invoke.go,
// or fire.go, through resolve.go, which finds the action, to activation.go, which
// brings it to its record.
//
// Actions of the kind builtin are part of the platform: builtin.go runs their code where
// for others the balancer finds a container. All else about them is as usual.
//
// It owns an activation from the request to the stored record. A blocking call
// waits for it, but does not own it: a client that goes away changes nothing.
//
// What it promises:
//   - A warm call does no store I/O before its answer: identities, packages,
//     triggers and actions are cached, and the caches follow the change feed of
//     the entity store (own writes at once, others' within a quarter of a second).
//   - A non-blocking activation that was accepted ends in exactly one record,
//     whatever is killed when (accepted.go has the argument). So do a trigger's,
//     with all that its record tells of (fire.go), and what is composed (composed.go).
//   - Entities that depend on each other change together or not at all.
//   - A blocking activation's record is queued for the store as soon as its logs
//     are collected, and readers of this process see it from the answer on.
//   - Parameters and results are never decoded: they pass byte for byte.
//
// All methods of [Controller] may be called concurrently. Their errors follow one
// rule: a bare [whisk.Error] is written for the user, an error wrapped around
// another one is for the operator, who finds it in the log.
//
// docs/architecture.md shows where it stands among the roles.
package controller
