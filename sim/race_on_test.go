// SPDX-License-Identifier: Apache-2.0

//go:build race

package sim_test

// everydayHistories is fewer under the race detector: each takes ten times as long.
const everydayHistories = 150
