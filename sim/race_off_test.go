// SPDX-License-Identifier: Apache-2.0

//go:build !race

package sim_test

// everydayHistories is how many random histories a plain go test plays.
const everydayHistories = 1000
