// SPDX-License-Identifier: Apache-2.0

// Package growth says how costs grow with work, from measured points: it fits
// cost = factor * work^exponent to each cost along each dimension, tells how sure
// the exponent is, and writes a table and a plot.
//
// An exponent of 0 is a cost that does not depend on the work, 1 one that is
// proportional to it; what is beyond 1 gets dearer by itself.
//
// It computes and draws, and measures nothing: cmd/whirl does that, by package
// bench and by bench/schedulerload. Nothing here keeps state.
package growth
