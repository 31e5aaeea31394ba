// SPDX-License-Identifier: Apache-2.0

// Package lookout has what comes from a namespace that asks for little read soon,
// however much comes from others.
//
// Go looks at its connections when none of its goroutines has work left, or every
// 10 ms. In a process that is never without work, what a client sent or a container
// answered lies for milliseconds before it is read, and a call waits for that twice.
// Nobody shares these waits out: who asks for most at once gets most done.
//
// A [Lookout] looks for itself, at all connections that it watches, by an epoll of its
// own. It does so while the balancer names namespaces that crowd others, whenever
// anything is read or written and a tenth of a millisecond has passed; it needs no
// goroutine, and while there is no crowd it costs nothing that could be measured. Who waits for a connection that belongs to another namespace, or to
// none, is woken; those of the crowd are left for Go to come to.
//
// A goroutine that waits for a connection can be woken in two ways: by Go's own look,
// or by a deadline. So a connection that has something to say is given a read deadline
// that has passed, and [Conn.Read], which meets it, restores the one that was asked for
// and reads again. Users of the connection see nothing of that.
package lookout
