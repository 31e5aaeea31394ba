// SPDX-License-Identifier: Apache-2.0

// Package apimgmt is OpenWhisk's API management: the three actions of the package
// /whisk.system/apimgmt that clients call for wsk api and its likes. They are builtin
// actions, which change the APIs of whoever calls them; controller/gateway
// knows what these are, and controller/httpapi serves them.
//
// What the actions take, and the texts of what is wrong with it, are OpenWhisk's. Of the
// caller nothing counts but the key: the space and the token that clients
// send are for gateways that know users of their own.
package apimgmt
